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
	EntryBatch        uint8 = 1
	EntryNoop         uint8 = 2
	EntryConfigChange uint8 = 3
	EntryCommand      uint8 = 4
	EntryCarried      uint8 = 5
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
	MaxGroups            = 10_000
	MaxGroupNameBytes    = 127
	// MaxProgress bounds the queues in which consumer groups have progress, group by group.
	MaxProgress       = 1 << 20
	MaxRequestIDBytes = 128
	// RequestMemory is how many commands with a request id are remembered.
	RequestMemory = 4_096
	// MaxDelayed is how many batches may wait for their delivery time.
	MaxDelayed = 1_000_000
	// MaxTransactions is how many transactions may be open, MaxTransactionGroups how
	// many groups there may be; TransactionMemory is how many ended ones are remembered.
	MaxTransactions      = 100_000
	MaxTransactionGroups = 10_000
	TransactionMemory    = 65_536
	// MaxDeliver is how many batches one command may deliver, or carry forward.
	MaxDeliver = 4_096
	// WorkWindow is how far above its progress in a queue a work-queue group may be done.
	WorkWindow = 65_536
	// MaxTries is how many messages, over all work-queue groups, may have been tried and
	// not be done; MaxAttempts is how often one may be, MaxBackoffMs how long it may wait.
	MaxTries     = 1 << 20
	MaxAttempts  = 10_000
	MaxBackoffMs = 12 * 3_600_000
	// WindowBatches is how many batches of a producer on a queue are remembered.
	WindowBatches = 5
)

// Location is where a batch of a queue is in the ledger.
type Location struct {
	BaseOffset Offset // of the batch's first record
	Count      uint32 // of records
	Index      Index  // of the entry that holds the batch
	// Given is the entry that gave the batch its offsets: Index itself, or a later one
	// for a batch that had to wait. It never falls from one batch to the next.
	Given Index
}

// late says whether the batch got its offsets by another entry than its own.
func (l Location) late() bool { return l.Given != l.Index }
