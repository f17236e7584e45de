// Package passthrough finds, in the bytes of a protobuf message, the one bytes field that holds
// batches or entries. Codecs hand it on as it lies and give protobuf the rest: decoding
// it would copy it.
//
// All of it are pure functions, safe for concurrent use. They trust nothing about the bytes.
package passthrough
