package batch

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of one record, in bytes unless said otherwise. Its value is bounded by
// the batch alone.
const (
	MaxKeyBytes          = 65_535
	MaxTagBytes          = 255
	MaxMessageIDBytes    = 255
	MaxMessageGroupBytes = 255
	MaxHeaders           = 256 // count
	MaxHeaderKeyBytes    = 1_024
	MaxHeadersBytes      = 65_535 // keys and values of all headers together
	MaxProperties        = 64     // count
	MaxPropertiesBytes   = 65_535 // values of all properties together
)

// MessageType is what the sender meant a message to be.
type MessageType uint8

// The message types. They are stored; what they cause is the broker's business.
const (
	Normal MessageType = iota
	FIFO
	Delay
	Transaction

	maxMessageType = 7 // three bits
)

// RecordHeader is one of a record's user headers.
type RecordHeader struct {
	Key   string
	Value []byte
}

// Property is a system property by its number (docs/format/batch.md). Those that
// a reader does not know it keeps as they are.
type Property struct {
	ID    uint64
	Value []byte
}

// Record is one message.
//
// The slices and strings of a record that was read share the memory of the batch
// (or, if that is compressed, of one buffer made for it): they stay valid for as
// long as nobody writes to the batch's bytes, and keep all of it in memory.
type Record struct {
	// Key is nil when there is none, which differs from an empty one.
	Key   []byte
	Value []byte
	// Tag, MessageID and MessageGroup are UTF-8; empty means none.
	Tag          string
	MessageID    string
	MessageGroup string
	Headers      []RecordHeader
	// Timestamp is the sender's clock, Unix ms, 0 to MaxTimestamp.
	Timestamp int64
	// DeliverAt is when the message may be delivered, Unix ms; 0 means at once.
	DeliverAt  int64
	Type       MessageType
	Properties []Property
}

// Clone returns a copy that keeps no other memory than its own, each of its fields: of one
// that was read from a batch, what is kept for long.
func (r *Record) Clone() Record {
	c := *r
	c.Key, c.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
	c.Tag, c.MessageID, c.MessageGroup = strings.Clone(r.Tag), strings.Clone(r.MessageID), strings.Clone(r.MessageGroup)
	c.Headers, c.Properties = slices.Clone(r.Headers), slices.Clone(r.Properties)
	for i, h := range c.Headers {
		c.Headers[i] = RecordHeader{Key: strings.Clone(h.Key), Value: bytes.Clone(h.Value)}
	}
	for i, p := range c.Properties {
		c.Properties[i].Value = bytes.Clone(p.Value)
	}
	return c
}

// check refuses what cannot be encoded.
func (r *Record) check() error {
	switch {
	case len(r.Key) > MaxKeyBytes:
		return &LimitError{What: "key", Size: len(r.Key), Max: MaxKeyBytes}
	case len(r.Tag) > MaxTagBytes:
		return &LimitError{What: "tag", Size: len(r.Tag), Max: MaxTagBytes}
	case len(r.MessageID) > MaxMessageIDBytes:
		return &LimitError{What: "message id", Size: len(r.MessageID), Max: MaxMessageIDBytes}
	case len(r.MessageGroup) > MaxMessageGroupBytes:
		return &LimitError{What: "message group", Size: len(r.MessageGroup), Max: MaxMessageGroupBytes}
	case len(r.Headers) > MaxHeaders:
		return &LimitError{What: "header count", Size: len(r.Headers), Max: MaxHeaders}
	case len(r.Properties) > MaxProperties:
		return &LimitError{What: "property count", Size: len(r.Properties), Max: MaxProperties}
	case r.Timestamp < 0 || r.Timestamp > MaxTimestamp:
		return invalid("timestamp %d is not between 0 and %d ms", r.Timestamp, int64(MaxTimestamp))
	case r.DeliverAt < 0 || r.DeliverAt > MaxTimestamp:
		return invalid("delivery time %d is not between 0 and %d ms", r.DeliverAt, int64(MaxTimestamp))
	case r.Type > maxMessageType:
		return invalid("message type %d is unknown", r.Type)
	case !utf8.ValidString(r.Tag):
		return invalid("tag is not UTF-8")
	case !utf8.ValidString(r.MessageID):
		return invalid("message id is not UTF-8")
	case !utf8.ValidString(r.MessageGroup):
		return invalid("message group is not UTF-8")
	}
	if len(r.Headers) == 0 && len(r.Properties) == 0 {
		return nil
	}
	return r.checkLists()
}

func (r *Record) checkLists() error {
	total := 0
	for i := range r.Headers {
		h := &r.Headers[i]
		if len(h.Key) > MaxHeaderKeyBytes {
			return &LimitError{What: "header key", Size: len(h.Key), Max: MaxHeaderKeyBytes}
		}
		if !utf8.ValidString(h.Key) {
			return invalid("header key is not UTF-8")
		}
		total += len(h.Key) + len(h.Value)
	}
	if total > MaxHeadersBytes {
		return &LimitError{What: "headers", Size: total, Max: MaxHeadersBytes}
	}
	total = 0
	for i := range r.Properties {
		total += len(r.Properties[i].Value)
	}
	if total > MaxPropertiesBytes {
		return &LimitError{What: "properties", Size: total, Max: MaxPropertiesBytes}
	}
	return nil
}
