// Command producer publishes lines, JSON or raw bytes to a topic.
//
//	echo hello | producer orders --server 127.0.0.1:10911
//
// Goroutines: the input is read by one, which an interrupt leaves behind when it
// hangs in a read; acknowledgements are collected by one in the order of
// publishing; a third draws the progress. All belong to the errgroup of one run.
package main
