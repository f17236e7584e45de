// Package batch is the record batch: the bundle of messages that one producer
// sends to one queue, and the unit in which they are stored, replicated and
// delivered. The producer encodes and checksums it once; nobody after it decodes
// or re-encodes it but the consumer. docs/format/batch.md draws the bytes.
//
//	producer   Builder.Append … Builder.Build   → bytes
//	broker     Next (cut a frame) · Verify (CRC and every length) · ParseHeader
//	consumer   Reader.Reset … Reader.Next, or Codec.Records
//
// Nothing here trusts a length that it read: a batch that Verify accepts can be
// stored, and decoding one that lies inside its records ends with an error, not
// with a panic or with memory beyond MaxBatchBytes.
//
// What ParseHeader accepts is part of the replicated state machine (pkg/state
// answers INVALID_BATCH for the rest), so it must never become stricter or laxer
// for version 1: a change of it is a new version of the format.
//
// Header, Record and the functions are safe from any goroutine; a Codec is too.
// A Builder or a Reader belongs to one goroutine at a time.
package batch
