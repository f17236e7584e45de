// Package tidy makes the house rules executable: what may import what, how long
// a function and a file may be, where goroutines start, what must be documented,
// and that generated code is current. Its tables hold every exception with its
// reason; a rule that fights a good design is changed here, in the open.
//
//	go test ./test/tidy -v    also prints the longest function and file
package tidy
