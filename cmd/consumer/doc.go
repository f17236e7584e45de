// Command consumer prints the messages of a topic.
//
//	consumer orders --server 127.0.0.1:10911 --from earliest
//
// It reads committed messages by offset and commits nothing itself; as a member of a
// group (-g) it commits what was written out. One goroutine
// waits for signals, one reads and prints; both belong to the errgroup of one run.
package main
