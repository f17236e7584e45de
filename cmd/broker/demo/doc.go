// Package demo runs three real brokers in one process, with traffic, and kills
// their leader again and again: own data directories, real gRPC on loopback,
// real fdatasync. It keeps books of every message and ends with a verdict.
//
// Goroutines, all in the errgroup of demo.Run:
//
//	broker      one per running broker     its Run; ends with Kill or at the end
//	publisher   one per producer           gives messages out at its rate
//	collector   one per producer           waits for acknowledgements, in order
//	reader      one                        consumes all queues to the end
//	killer      one                        kills and restarts leaders
//	display     one                        redraws the table or prints lines
package demo
