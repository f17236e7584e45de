package state

import "fmt"

// The codes of outcomes; the broker's table of errors (docs/errors.md) says what
// each means to a client.
const (
	CodeOK                      = ""
	CodeUnknownQueue            = "UNKNOWN_QUEUE"
	CodeUnknownProducer         = "UNKNOWN_PRODUCER"
	CodeProducerFenced          = "PRODUCER_FENCED"
	CodeOutOfOrderSequence      = "OUT_OF_ORDER_SEQUENCE"
	CodeSequenceConflict        = "SEQUENCE_CONFLICT"
	CodeUnknownTopic            = "UNKNOWN_TOPIC"
	CodeTopicExists             = "TOPIC_EXISTS"
	CodeInvalidTopicName        = "INVALID_TOPIC_NAME"
	CodeTopicDeleted            = "TOPIC_DELETED"
	CodeTopicNotDeleted         = "TOPIC_NOT_DELETED"
	CodeInvalidTopicSettings    = "INVALID_TOPIC_SETTINGS"
	CodeInvalidTopicChange      = "INVALID_TOPIC_CHANGE"
	CodeMessageTypeMismatch     = "MESSAGE_TYPE_MISMATCH"
	CodeMessageTooLarge         = "MESSAGE_TOO_LARGE"
	CodeLimitExceeded           = "LIMIT_EXCEEDED"
	CodeInvalidGroupName        = "INVALID_GROUP_NAME"
	CodeUnknownGroup            = "UNKNOWN_GROUP"
	CodeGroupExists             = "GROUP_EXISTS"
	CodeStaleGeneration         = "STALE_GENERATION"
	CodeGroupMismatch           = "GROUP_MISMATCH"
	CodeOffsetTooHigh           = "OFFSET_TOO_HIGH"
	CodeTooManyProducers        = "TOO_MANY_PRODUCERS"
	CodeTooManyDelayed          = "TOO_MANY_DELAYED"
	CodeNotWaiting              = "NOT_WAITING"
	CodeTooManyOpen             = "TOO_MANY_TRANSACTIONS"
	CodeUnknownTransaction      = "UNKNOWN_TRANSACTION"
	CodeTransactionEnded        = "TRANSACTION_ENDED"
	CodeUnknownTransactionGroup = "UNKNOWN_TRANSACTION_GROUP"
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

	// Waits is set when the batch was stored but has no offsets yet; Handle names it,
	// for as long as it waits: the index of the entry that brought it.
	Waits  bool
	Handle Index
	// Transaction is set on a batch that waits for the end of its transaction.
	Transaction bool

	// AboutWaiting is set on a command about batches that wait, or about producers: it
	// changed no queues but those in Delivered.
	AboutWaiting bool
	// Delivered are the queues in which batches that had waited got their offsets (one
	// may stand there more than once), and how many batches and records that were.
	Delivered        []QueueID
	DeliveredBatches int
	DeliveredRecords int64
	Digest           uint32 // of which batch got which offset, or of what became of topics

	// Moved is how many records MoveWork gave offsets in other queues, which are in Delivered.
	Moved int64

	// GivenUp is how many batches that waited were dropped because they are lost.
	GivenUp int

	// Topic is what CreateTopic made, or what was there under its name.
	// Topic is what a command about a topic made of it, or what was there under its name.
	Topic *Topic

	// TopicGone is set when the entry deleted a topic, for good or with a grace.
	TopicGone bool

	// Group is the consumer group as the entry left it, or as it was when it was deleted.
	Group *Group
	// Progress is what became of the commits of an entry, in their order, or of the
	// queues of a reset; of the items of SettleWork and the moves of MoveWork likewise.
	Progress []CommitResult

	// Of RegisterProducer. RegisterTransactionGroup gives its number as ProducerID.
	ProducerID uint64
	Epoch      uint32
}

// refuse makes an outcome that says no.
func refuse(code, format string, args ...any) Outcome {
	return Outcome{Code: code, Message: fmt.Sprintf(format, args...), BaseOffset: NoOffset}
}
