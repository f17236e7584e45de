package state

// Index is an entry's number in the ledger. The first entry has index 0.
type Index int64

// NoIndex is the index before the first entry.
const NoIndex Index = -1

// Term numbers leaderships.
type Term int64

// NoTerm is the term of the entry before the first one.
const NoTerm Term = -1

// Offset is a message's number in its queue, from 0.
type Offset int64

// NoOffset stands where an offset is not known.
const NoOffset Offset = -1

// QueueID is the broker's number of one queue of one topic, from 1. A number is
// never given out twice, so a topic that was deleted and made again has others.
type QueueID uint32

// The types of entries, as in the commit log.
const (
	EntryBatch   uint8 = 1
	EntryNoop    uint8 = 2
	EntryCommand uint8 = 4
)

// Entry is one committed entry of the ledger. Its body was checked against its
// CRC where it was read.
type Entry struct {
	Index              Index
	Term               Term
	Type               uint8
	AppendTimeUnixNano int64
	Body               []byte
}

// The limits of the state. They are constants, not configuration: members that
// disagreed about one would apply the same entry differently.
const (
	MaxTopics            = 10_000
	MaxQueuesPerTopic    = 1_024
	MaxQueues            = 100_000
	MaxProducers         = 1 << 20
	MaxProducerNameBytes = 255
	MaxTopicNameBytes    = 127
	MaxRequestIDBytes    = 128
	// RequestMemory is how many commands with a request id are remembered.
	RequestMemory = 4_096
	// WindowBatches is how many batches of a producer on a queue are remembered.
	WindowBatches = 5
)

// Topic is a name and its queues. A *Topic that a Store handed out never changes
// and must not be changed.
type Topic struct {
	Name string
	// Queues are in queue order: Queues[2] is the number of the topic's queue 2.
	Queues []QueueID
	// CreatedUnixMs is the leader's clock when it proposed the topic.
	CreatedUnixMs int64
}

// Location is where a batch of a queue is in the ledger.
type Location struct {
	BaseOffset Offset // of the batch's first record
	Count      uint32 // of records
	Index      Index
}
