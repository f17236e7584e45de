// Package e2e tests the three programs together, as processes: real input
// through a cluster whose leaders are killed and paused, and input that no
// program should have to expect.
//
// With -short the real input is a tenth as large.
package e2e
