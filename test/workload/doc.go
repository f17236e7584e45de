// Package workload is clients of every kind of message, for tests that break brokers:
// producers with and without names, delayed messages that are recalled now and then,
// transactions that are committed, rolled back or left to a check, and members of consumer
// groups that come and go. Each writes down what it asked for and what came back, as
// docs/format/history.md says; what becomes of it is for the judge of pkg/history.
//
// A client lives many short lives, each with a connection of its own. Some end in order,
// some in the middle of what they do.
//
// Goroutines: a client's Work runs in its caller's; a life that publishes has a second one
// that awaits outcomes, in an errgroup of its own that it waits for.
package workload
