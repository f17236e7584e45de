// Package cluster starts real `broker serve` processes on loopback for tests,
// and kills, pauses and restarts them.
//
// The programs are built when a test first needs them, or taken from the
// directory that the environment variable PROGRAMS names. A test package that
// uses this one calls Main from its TestMain, which cleans up:
//
//	func TestMain(m *testing.M) { cluster.Main(m) }
package cluster
