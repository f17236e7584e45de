package batch

import (
	"encoding/binary"
	"iter"
	"unsafe"
)

// Reader goes through the records of batches, one batch after the other. One
// goroutine at a time.
//
//	for err := r.Reset(b); err == nil && r.Next(&rec); {
//		use(rec)
//	}
//	err := r.Err()
type Reader struct {
	codec *Codec
	h     Header
	data  []byte // records, uncompressed
	at    int    // where the next one begins; an index is written for less than a pointer
	left  uint32 // records not yet read
	err   error
}

// NewReader returns a reader; a nil codec makes one.
func NewReader(codec *Codec) *Reader {
	if codec == nil {
		codec = NewCodec()
	}
	return &Reader{codec: codec}
}

// Reset verifies the batch b, CRC included, and stands before its first record.
// Its error is kept for Err, too.
func (r *Reader) Reset(b []byte) error {
	h, err := Verify(b)
	if err != nil {
		*r = Reader{codec: r.codec, err: err}
		return err
	}
	return r.open(h, b)
}

// open is Reset for a batch that was verified.
func (r *Reader) open(h Header, b []byte) error {
	data, err := r.codec.decompress(h.Compression, b[HeaderBytes:], int(h.RecordsBytes))
	*r = Reader{codec: r.codec, h: h, data: data, left: h.Count, err: err}
	if err != nil {
		r.left = 0
	}
	return err
}

// Header is that of the batch.
func (r *Reader) Header() Header { return r.h }

// Err is what ended Next before its time; nil after the last record.
func (r *Reader) Err() error { return r.err }

// Next reads the next record into rec and says whether there was one. It reuses
// the memory of rec.Headers and rec.Properties, but not that of what they hold.
func (r *Reader) Next(rec *Record) bool {
	if r.err != nil || r.left == 0 {
		return false
	}
	d := decoder{b: r.data[r.at:]}
	body := d.bytes()
	if d.bad {
		return r.fail("its length is wrong")
	}
	r.at = len(r.data) - len(d.b)
	d = decoder{b: body}
	d.record(rec, r.h.FirstTimestamp)
	if d.bad || len(d.b) != 0 {
		return r.fail("its fields do not fill its length, or break a limit")
	}
	r.left--
	if r.left == 0 && r.at != len(r.data) {
		return r.fail("bytes follow it, the last one")
	}
	return true
}

func (r *Reader) fail(why string) bool {
	r.err = invalid("record %d of %d: %s", r.h.Count-r.left, r.h.Count, why)
	r.left = 0
	return false
}

// Records verifies the batch b and yields its records. An error is the last thing
// that it yields, if any. Each record owns its lists.
func (c *Codec) Records(b []byte) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		r := NewReader(c)
		if err := r.Reset(b); err != nil {
			yield(Record{}, err)
			return
		}
		for {
			var rec Record
			if !r.Next(&rec) {
				break
			}
			if !yield(rec, nil) {
				return
			}
		}
		if r.err != nil {
			yield(Record{}, r.err)
		}
	}
}

// decoder reads fields off the front of b. After a bad one it reads only zeroes.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) record(rec *Record, first int64) {
	rec.Timestamp = d.timestamp(first, d.varint())
	flags := d.uvarint()
	if flags&^(flagType|flagKey) != 0 {
		d.bad = true
	}
	rec.Type = MessageType(flags & flagType)
	if flags&flagKey == 0 && d.skipEmpty() {
		rec.Key, rec.Tag, rec.MessageID, rec.MessageGroup = nil, "", "", ""
	} else {
		d.names(rec, flags)
	}
	rec.Value = d.bytes()
	rec.DeliverAt = d.delivery(rec.Timestamp)
	d.headers(rec)
	d.properties(rec)
}

// skipEmpty skips key, tag, message id and message group if all are empty, as most are.
func (d *decoder) skipEmpty() bool {
	if len(d.b) < len(noNames) || [len(noNames)]byte(d.b) != noNames {
		return false
	}
	d.b = d.b[len(noNames):]
	return true
}

func (d *decoder) names(rec *Record, flags uint64) {
	rec.Key = d.field(MaxKeyBytes)
	if flags&flagKey == 0 {
		d.bad = d.bad || len(rec.Key) != 0
		rec.Key = nil
	}
	rec.Tag = d.text(MaxTagBytes)
	rec.MessageID = d.text(MaxMessageIDBytes)
	rec.MessageGroup = d.text(MaxMessageGroupBytes)
}

func (d *decoder) timestamp(base, delta int64) int64 {
	t := base + delta
	if delta < -MaxTimestamp || delta > MaxTimestamp || t < 0 || t > MaxTimestamp {
		d.bad = true
		return 0
	}
	return t
}

// delivery undoes deliveryDelta.
func (d *decoder) delivery(timestamp int64) int64 {
	delta := d.varint()
	if delta == 0 {
		return 0
	}
	if delta > 0 {
		delta--
	}
	t := d.timestamp(timestamp, delta)
	d.bad = d.bad || t == 0
	return t
}

func (d *decoder) headers(rec *Record) {
	rec.Headers = rec.Headers[:0]
	n := d.count(MaxHeaders)
	if n == 0 {
		return
	}
	if cap(rec.Headers) < n {
		rec.Headers = make([]RecordHeader, 0, n)
	}
	total := 0
	for range n {
		h := RecordHeader{Key: d.text(MaxHeaderKeyBytes), Value: d.field(MaxHeadersBytes)}
		total += len(h.Key) + len(h.Value)
		rec.Headers = append(rec.Headers, h)
	}
	d.bad = d.bad || total > MaxHeadersBytes
}

func (d *decoder) properties(rec *Record) {
	rec.Properties = rec.Properties[:0]
	if len(d.b) == 0 {
		return
	}
	n := d.count(MaxProperties)
	if n == 0 {
		return
	}
	if cap(rec.Properties) < n {
		rec.Properties = make([]Property, 0, n)
	}
	total := 0
	for range n {
		p := Property{ID: d.uvarint(), Value: d.field(MaxPropertiesBytes)}
		total += len(p.Value)
		rec.Properties = append(rec.Properties, p)
	}
	d.bad = d.bad || total > MaxPropertiesBytes
}

func (d *decoder) uvarint() uint64 {
	// One byte is the rule: lengths of ids, tags and keys, deltas, flags.
	if len(d.b) > 0 && d.b[0] < 0x80 {
		v := d.b[0]
		d.b = d.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v := d.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// count reads a number of items, each of which takes at least two bytes.
func (d *decoder) count(limit int) int {
	n := d.uvarint()
	if n > uint64(limit) || n > uint64(len(d.b)/2) {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.b, d.bad = nil, true
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) field(limit int) []byte {
	v := d.bytes()
	d.bad = d.bad || len(v) > limit
	return v
}

// text shares the batch's memory like the other fields: a copy per record would
// cost more than all the rest of decoding it.
func (d *decoder) text(limit int) string {
	v := d.field(limit)
	return unsafe.String(unsafe.SliceData(v), len(v))
}
