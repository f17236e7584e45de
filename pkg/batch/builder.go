package batch

// DefaultBatchBytes is where a Builder stops unless told otherwise: large enough
// that a batch costs nothing per message, small enough to stay in the cache.
const DefaultBatchBytes = 64 << 10

// BuilderConfig says how batches are built.
type BuilderConfig struct {
	// MaxBytes bounds a batch with its records uncompressed; default
	// DefaultBatchBytes, at most MaxBatchBytes. Only a record that is larger by
	// itself may exceed it, up to RecordBytes.
	MaxBytes int
	// RecordBytes bounds a batch that holds one record; default and at least
	// MaxBytes, at most MaxBatchBytes. Set it to what the broker takes.
	RecordBytes int
	// Compression of the records; a batch that it does not make smaller stays as it is.
	Compression Compression
	// Codec is shared by any number of builders; nil makes one.
	Codec *Codec
}

func (cfg BuilderConfig) withDefaults() BuilderConfig {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = DefaultBatchBytes
	}
	cfg.RecordBytes = max(cfg.RecordBytes, cfg.MaxBytes)
	if cfg.Codec == nil {
		cfg.Codec = NewCodec()
	}
	return cfg
}

func (cfg BuilderConfig) validate() error {
	switch {
	case cfg.MaxBytes < 2*HeaderBytes:
		return invalid("batch limit of %d bytes is below %d", cfg.MaxBytes, 2*HeaderBytes)
	case cfg.RecordBytes > MaxBatchBytes:
		return &LimitError{What: "batch limit in bytes", Size: cfg.RecordBytes, Max: MaxBatchBytes}
	case cfg.Compression > Zstd:
		return invalid("compression %d is reserved", uint8(cfg.Compression))
	}
	return nil
}

// Builder gathers records and turns them into a batch. One goroutine at a time.
type Builder struct {
	cfg    BuilderConfig
	buf    []byte // header room and the records so far; nil before the first
	count  int
	first  int64 // timestamp of the first record
	newest int64 // highest timestamp
}

// NewBuilder returns an empty builder, or an error about cfg.
func NewBuilder(cfg BuilderConfig) (*Builder, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Builder{cfg: cfg}, nil
}

// Append encodes r at the end of the batch; it keeps nothing of r's memory.
// ErrFull says that the batch must be built first, ErrTooLarge and ErrInvalid
// that r can never be sent. After an error the builder is as it was.
func (b *Builder) Append(r *Record) error {
	if err := r.check(); err != nil {
		return err
	}
	size := RecordSize(r)
	if b.count == 0 {
		if HeaderBytes+size > b.cfg.RecordBytes {
			return &LimitError{What: "record bytes", Size: HeaderBytes + size, Max: b.cfg.RecordBytes}
		}
		b.buf = b.cfg.Codec.buffer(HeaderBytes + size)[:HeaderBytes] // grows as it needs to
		b.first, b.newest = r.Timestamp, r.Timestamp
	} else if len(b.buf)+size > b.cfg.MaxBytes || b.count == MaxRecords {
		return b.full(size)
	}
	if need := len(b.buf) + size; need > cap(b.buf) {
		b.buf = b.cfg.Codec.grow(b.buf, need, b.cfg.MaxBytes)
	}
	b.buf = appendRecord(b.buf, r, size, b.first)
	b.newest = max(b.newest, r.Timestamp)
	b.count++
	return nil
}

// full tells a record that only the next batch can take from one that none can.
func (b *Builder) full(size int) error {
	if HeaderBytes+size > b.cfg.RecordBytes {
		return &LimitError{What: "record bytes", Size: HeaderBytes + size, Max: b.cfg.RecordBytes}
	}
	return ErrFull
}

// Len is the number of records so far.
func (b *Builder) Len() int { return b.count }

// Size is the length of the batch so far, in bytes, before compression; 0 when empty.
func (b *Builder) Size() int { return len(b.buf) }

// Build finishes the batch and empties the builder. The bytes belong to the
// caller; Codec.Release takes them back when nobody reads them any more, which
// is optional.
func (b *Builder) Build(s Stamp) ([]byte, error) {
	if b.count == 0 {
		return nil, invalid("no records")
	}
	h := Header{
		Queue: s.Queue, Count: uint32(b.count),
		ProducerID: s.ProducerID, ProducerEpoch: s.ProducerEpoch, FirstSequence: s.FirstSequence,
		FirstTimestamp: b.first, MaxTimestamp: b.newest, DeliverAt: s.DeliverAt, TransactionGroup: s.TransactionGroup, Grouped: s.Grouped,
		RecordsBytes: uint32(len(b.buf) - HeaderBytes), Length: uint32(len(b.buf)),
	}
	if err := h.check(); err != nil {
		return nil, err
	}
	out := b.buf
	if packed := b.cfg.Codec.compress(b.cfg.Compression, b.buf); packed != nil {
		out, h.Compression = packed, b.cfg.Compression
		b.cfg.Codec.Release(b.buf)
	}
	out = b.cfg.Codec.fit(out)
	b.buf, b.count = nil, 0
	h.put(out)
	return out, nil
}

// Reset drops the records gathered so far.
func (b *Builder) Reset() {
	if b.buf != nil {
		b.cfg.Codec.Release(b.buf)
	}
	b.buf, b.count = nil, 0
}
