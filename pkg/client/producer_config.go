package client

import (
	"time"

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

// ProducerConfig says what to publish to, and how.
type ProducerConfig struct {
	// Topic must exist.
	Topic string
	// MaxBatchBytes closes a batch that has grown to it; default 1 MiB, at most 16 MiB.
	MaxBatchBytes int
	// MaxMessageBytes bounds one message with all its fields; default and at most
	// 16 MiB. The brokers may be configured to less and refuse with MESSAGE_TOO_LARGE.
	MaxMessageBytes int
	// MaxInFlightBatches is how many batches of one queue are under way before
	// messages gather for the next one; default and at most 5, which the brokers
	// remember. 0 Linger and small batches make the lowest latency at low rates; at
	// high rates batches grow by themselves.
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
	// AckTimeout is how long a leader may be silent with messages unanswered before
	// the connection is made anew; default 3 s.
	AckTimeout time.Duration
}

func (cfg ProducerConfig) withDefaults() ProducerConfig {
	setDefault(&cfg.MaxBatchBytes, 1<<20)
	setDefault(&cfg.MaxMessageBytes, batch.MaxBatchBytes)
	setDefault(&cfg.MaxInFlightBatches, dedupWindow)
	setDefault(&cfg.MaxInFlightBytes, 8<<20)
	setDefault(&cfg.MaxBufferedBytes, 32<<20)
	setDefault(&cfg.DeliveryTimeout, 2*time.Minute)
	setDefault(&cfg.AckTimeout, 3*time.Second)
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
	case cfg.MaxBatchBytes < 2*batch.HeaderBytes || cfg.MaxBatchBytes > batch.MaxBatchBytes:
		return errorf(CodeInvalidConfig, "MaxBatchBytes is %d, want %d to %d", cfg.MaxBatchBytes, 2*batch.HeaderBytes, batch.MaxBatchBytes)
	case cfg.MaxMessageBytes < 1 || cfg.MaxMessageBytes > batch.MaxBatchBytes:
		return errorf(CodeInvalidConfig, "MaxMessageBytes is %d, want 1 to %d", cfg.MaxMessageBytes, batch.MaxBatchBytes)
	case cfg.MaxInFlightBatches < 1 || cfg.MaxInFlightBatches > dedupWindow:
		return errorf(CodeInvalidConfig, "MaxInFlightBatches is %d, want 1 to %d", cfg.MaxInFlightBatches, dedupWindow)
	case cfg.MaxInFlightBytes < 1 || cfg.MaxBufferedBytes < 1:
		return errorf(CodeInvalidConfig, "MaxInFlightBytes and MaxBufferedBytes must be positive")
	case cfg.Linger < 0 || cfg.DeliveryTimeout < 0 || cfg.AckTimeout < 0:
		return errorf(CodeInvalidConfig, "a timeout is negative")
	case cfg.Compression > batch.Zstd:
		return errorf(CodeInvalidConfig, "compression %d is unknown", cfg.Compression)
	}
	return nil
}
