package state

import "fmt"

// The codes of outcomes; the broker's table of errors (docs/errors.md) says what
// each means to a client.
const (
	CodeOK                 = ""
	CodeUnknownQueue       = "UNKNOWN_QUEUE"
	CodeUnknownProducer    = "UNKNOWN_PRODUCER"
	CodeProducerFenced     = "PRODUCER_FENCED"
	CodeOutOfOrderSequence = "OUT_OF_ORDER_SEQUENCE"
	CodeSequenceConflict   = "SEQUENCE_CONFLICT"
	CodeUnknownTopic       = "UNKNOWN_TOPIC"
	CodeTopicExists        = "TOPIC_EXISTS"
	CodeInvalidTopicName   = "INVALID_TOPIC_NAME"
	CodeLimitExceeded      = "LIMIT_EXCEEDED"
)

// Outcome is what became of one entry. It is the same on every member.
type Outcome struct {
	// Code is empty when the entry had its effect, or had it before.
	Code    string
	Message string

	// Of a batch. BaseOffset is NoOffset when it is not known: nothing was stored, or
	// the batch is a duplicate that is older than its producer's window.
	Queue      QueueID
	BaseOffset Offset
	Count      uint32
	// Duplicate is set when an earlier entry had the effect: the batch was stored
	// before, or the request was answered before.
	Duplicate bool

	// Topic is what CreateTopic made, or what was there under its name.
	Topic *Topic

	// Of RegisterProducer.
	ProducerID uint64
	Epoch      uint32
}

// refuse makes an outcome that says no.
func refuse(code, format string, args ...any) Outcome {
	return Outcome{Code: code, Message: fmt.Sprintf(format, args...), BaseOffset: NoOffset}
}
