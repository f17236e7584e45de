// Package groups consumes as a group from brokers in one process while leaders are killed
// and members come and go, and has the history checker judge what was seen.
//
// One goroutine per consumer reads, one publishes; all belong to the test's errgroup.
package groups
