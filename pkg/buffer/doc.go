// Package buffer is memory for bytes on their way: what gRPC receives and what
// its codecs put together. It is used again and never cleared.
//
// A Pool is safe for concurrent use; one per process or client is enough. It
// starts no goroutines. Memory that nobody has asked for during two garbage
// collections is given up.
package buffer
