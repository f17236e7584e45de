// Package cluster starts real `broker serve` processes on loopback for tests,
// and kills, pauses and restarts them.
//
// A test package that uses it calls Main from its TestMain, so that the programs
// are built once:
//
//	func TestMain(m *testing.M) { cluster.Main(m) }
package cluster
