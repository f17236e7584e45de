package batch

// Verify checks that b is exactly one batch, complete and undamaged: header,
// length and CRC. It does not look into the records.
// Errors are ErrInvalid, ErrTooLarge or ErrCorrupt.
func Verify(b []byte) (Header, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return Header{}, err
	}
	if int(h.Length) != len(b) {
		return Header{}, invalid("length is %d, but there are %d bytes", h.Length, len(b))
	}
	if crc := checksum(b); crc != h.CRC {
		return Header{}, &CorruptError{Stored: h.CRC, Computed: crc}
	}
	return h, nil
}

// Next cuts the first batch off a frame of batches that stand one after the
// other. It checks the header and that the batch is complete, not its CRC: call
// Verify on what it returns. A frame is done when rest is empty.
func Next(frame []byte) (h Header, b, rest []byte, err error) {
	h, err = ParseHeader(frame)
	if err != nil {
		return Header{}, nil, nil, err
	}
	if int(h.Length) > len(frame) {
		return Header{}, nil, nil, invalid("length is %d, but only %d bytes are left in the frame", h.Length, len(frame))
	}
	n := int(h.Length)
	return h, frame[:n:n], frame[n:], nil
}

// Stamp is what a producer decides when it sends a batch.
type Stamp struct {
	Queue         uint32 // the broker's number of the queue; never 0
	ProducerID    uint64 // 0: not idempotent
	ProducerEpoch uint32
	FirstSequence int64 // of the first record; the records of a batch are numbered on from it
	// DeliverAt is when all the records may be delivered, Unix ms; 0: at once. Brokers
	// look at this, not into the records.
	DeliverAt int64
	// TransactionGroup makes the batch a half message; 0: no transaction.
	TransactionGroup uint32
	// Grouped says that every record has a message group, as topics of type FIFO want it.
	Grouped bool
}

// Restamp gives a batch that was built, and never sent anywhere where it might
// have been stored, another stamp: header and CRC are written anew in place.
func Restamp(b []byte, s Stamp) error {
	h, err := ParseHeader(b)
	if err != nil {
		return err
	}
	if int(h.Length) != len(b) {
		return invalid("length is %d, but there are %d bytes", h.Length, len(b))
	}
	h.Queue, h.ProducerID, h.ProducerEpoch, h.FirstSequence = s.Queue, s.ProducerID, s.ProducerEpoch, s.FirstSequence
	h.DeliverAt, h.TransactionGroup, h.Grouped = s.DeliverAt, s.TransactionGroup, s.Grouped
	if err := h.check(); err != nil {
		return err
	}
	h.put(b)
	return nil
}
