// Package mixed kills leaders of real brokers, one after the other, while clients of every
// kind are at work, and has the judge of pkg/history say what became of it:
//
//	make mixed KILLS=50      # ends with: mixed: 50 leader kills, A acknowledged, 0 lost, …
//	go test ./test/mixed     # three kills; part of make test
//
// Before each kill every kind of client has had something done by the leader that is to
// die, and after it every kind has something done by the next one; when exactly a leader
// dies is drawn at random. Clients may see no error. At the end every queue of every topic is
// read from each member's copy.
package mixed
