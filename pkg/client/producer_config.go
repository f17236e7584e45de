package client

import (
	"time"
	"unicode/utf8"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// Compression says how the records of a batch are packed.
type Compression = batch.Compression

// The compressions that brokers take.
const (
	NoCompression   = batch.None
	S2Compression   = batch.S2
	ZstdCompression = batch.Zstd
)

// ParseCompression reads none, s2 or zstd.
func ParseCompression(name string) (Compression, error) { return batch.ParseCompression(name) }

// dedupWindow is how many batches per producer and queue the brokers remember.
// More in flight could not be told from new ones when they are sent again.
const dedupWindow = 5

// maxNameBytes bounds a producer's name: with its topic's it is one that brokers take.
const maxNameBytes = 127

// DefaultBatchBytes is where a batch is closed unless told otherwise: a mebibyte but for
// 2 KiB, so that batch and headers do not end a few bytes into an HTTP/2 frame of 16 KiB.
// Brokers copy a batch that does.
const DefaultBatchBytes = 1<<20 - 2<<10

// ProducerConfig says what to publish to, and how.
type ProducerConfig struct {
	// Topic must exist.
	Topic string
	// Name, 1 to 127 bytes of UTF-8, makes this the topic's only producer of that name; default
	// none, as most producers need. A process that is started again under its name fences the
	// one before: once Client.Producer has returned, nothing more of that is stored, and
	// its caller gets ErrProducerFenced. So what the older process published without
	// seeing the outcome is decided by then, and the queue's end tells: see the example.
	// Sequences begin anew with each start; messages of one start are stored at most
	// once, and a message that two starts publish is two messages.
	Name string
	// MaxBatchBytes closes a batch that has grown to it; default DefaultBatchBytes, at most
	// 16 MiB - 4 KiB.
	MaxBatchBytes int
	// MaxMessageBytes bounds one message with all its fields; default and at most
	// 16 MiB - 4 KiB. The brokers may be configured to less and refuse with MESSAGE_TOO_LARGE.
	MaxMessageBytes int
	// MaxInFlightBatches is how many batches of one queue are under way before
	// messages gather for the next one; default and at most 5, which the brokers
	// remember. Batches that are not full gather while two requests are unanswered, but no
	// longer than those that were when they were begun; so
	// they grow by themselves with the rate, and a lonely message is sent at once.
	MaxInFlightBatches int
	// MaxInFlightBytes is the same for all queues together; default 8 MiB.
	MaxInFlightBytes int
	// MaxBufferedBytes bounds all messages not yet acknowledged; Publish waits for
	// room. Default 32 MiB.
	MaxBufferedBytes int
	// Linger lets a batch wait for company before it is sent; default 0, send at once.
	Linger time.Duration
	// Compression of batches; default none.
	Compression Compression
	// DeliveryTimeout is how long a message may take from Publish to its
	// acknowledgement, over all tries; default 2 min.
	DeliveryTimeout time.Duration
	// TopicRefresh is how often the topic is looked at again: queues that were added are used
	// from then on, and its type and size limit. 100 ms or more; default 10 s.
	TopicRefresh time.Duration
	// AckTimeout is how long a leader may be silent with messages unanswered before
	// the connection is made anew; default 3 s.
	AckTimeout time.Duration
}

func (cfg ProducerConfig) withDefaults() ProducerConfig {
	setDefault(&cfg.MaxBatchBytes, DefaultBatchBytes)
	setDefault(&cfg.MaxMessageBytes, batch.MaxPublishedBytes)
	setDefault(&cfg.MaxInFlightBatches, dedupWindow)
	setDefault(&cfg.MaxInFlightBytes, 8<<20)
	setDefault(&cfg.MaxBufferedBytes, 32<<20)
	setDefault(&cfg.DeliveryTimeout, 2*time.Minute)
	setDefault(&cfg.AckTimeout, 3*time.Second)
	setDefault(&cfg.TopicRefresh, 10*time.Second)
	return cfg
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (cfg ProducerConfig) validate() error {
	switch {
	case cfg.Topic == "":
		return errorf(CodeInvalidConfig, "no topic given")
	case len(cfg.Name) > maxNameBytes || !utf8.ValidString(cfg.Name):
		return errorf(CodeInvalidConfig, "Name has %d bytes, want UTF-8 of at most %d", len(cfg.Name), maxNameBytes)
	case cfg.MaxBatchBytes < 2*batch.HeaderBytes || cfg.MaxBatchBytes > batch.MaxPublishedBytes:
		return errorf(CodeInvalidConfig, "MaxBatchBytes is %d, want %d to %d", cfg.MaxBatchBytes, 2*batch.HeaderBytes, batch.MaxPublishedBytes)
	case cfg.MaxMessageBytes < 1 || cfg.MaxMessageBytes > batch.MaxPublishedBytes:
		return errorf(CodeInvalidConfig, "MaxMessageBytes is %d, want 1 to %d", cfg.MaxMessageBytes, batch.MaxPublishedBytes)
	case cfg.MaxInFlightBatches < 1 || cfg.MaxInFlightBatches > dedupWindow:
		return errorf(CodeInvalidConfig, "MaxInFlightBatches is %d, want 1 to %d", cfg.MaxInFlightBatches, dedupWindow)
	case cfg.MaxInFlightBytes < 1 || cfg.MaxBufferedBytes < 1:
		return errorf(CodeInvalidConfig, "MaxInFlightBytes and MaxBufferedBytes must be positive")
	case cfg.Linger < 0 || cfg.DeliveryTimeout < 0 || cfg.AckTimeout < 0:
		return errorf(CodeInvalidConfig, "a timeout is negative")
	case cfg.TopicRefresh < 100*time.Millisecond:
		return errorf(CodeInvalidConfig, "TopicRefresh is %v, want 100ms or more", cfg.TopicRefresh)
	case cfg.Compression > batch.Zstd:
		return errorf(CodeInvalidConfig, "compression %d is unknown", cfg.Compression)
	}
	return nil
}
