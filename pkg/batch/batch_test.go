package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var compressions = []Compression{None, S2, Zstd}

// build makes one batch of the records.
func build(t testing.TB, how Compression, s Stamp, records ...Record) []byte {
	t.Helper()
	b, err := NewBuilder(BuilderConfig{MaxBytes: MaxBatchBytes, Compression: how})
	require.NoError(t, err)
	for i := range records {
		require.NoError(t, b.Append(&records[i]))
	}
	out, err := b.Build(s)
	require.NoError(t, err)
	return out
}

// read returns the records of a batch.
func read(t testing.TB, b []byte) []Record {
	t.Helper()
	var out []Record
	for r, err := range NewCodec().Records(b) {
		require.NoError(t, err)
		out = append(out, r)
	}
	return out
}

// sameRecords compares; nil and empty are the same but for the key.
func sameRecords(t testing.TB, want, got []Record) {
	t.Helper()
	for i := range min(len(want), len(got)) {
		require.Equal(t, want[i].Key == nil, got[i].Key == nil, "key of record %d", i)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("records differ (-want +got):\n%s", diff)
	}
}

func sampleRecords() []Record {
	return []Record{
		{Timestamp: 1_700_000_000_000, Value: []byte("plain")},
		{
			Timestamp: 1_700_000_000_005, Key: []byte{}, Value: nil, Type: Delay, DeliverAt: 1_700_000_060_000,
			Tag: "paid", MessageID: "01ABCDEF", MessageGroup: "order-7",
			Headers:    []RecordHeader{{Key: "trace", Value: []byte{0, 1, 2}}, {Key: "", Value: nil}},
			Properties: []Property{{ID: 1, Value: []byte("x")}, {ID: 1 << 40, Value: nil}},
		},
		{Timestamp: 1_699_999_999_000, Key: []byte("k"), Value: bytes.Repeat([]byte("abc"), 100), Type: FIFO, DeliverAt: 5},
		{Timestamp: 9, Key: []byte("same time"), DeliverAt: 9},
	}
}

func recordGenerator() *rapid.Generator[Record] {
	blob := rapid.SliceOfN(rapid.Byte(), 0, 300)
	text := rapid.StringN(-1, 20, 60)
	moment := rapid.Int64Range(0, MaxTimestamp)
	return rapid.Custom(func(t *rapid.T) Record {
		r := Record{
			Value: blob.Draw(t, "value"), Tag: text.Draw(t, "tag"), MessageID: text.Draw(t, "id"), MessageGroup: text.Draw(t, "group"),
			Timestamp: moment.Draw(t, "timestamp"), Type: MessageType(rapid.IntRange(0, 7).Draw(t, "type")),
		}
		if rapid.Bool().Draw(t, "has key") {
			r.Key = blob.Draw(t, "key")
		}
		if rapid.Bool().Draw(t, "is delayed") {
			r.DeliverAt = moment.Draw(t, "deliver at")
		}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			r.Headers = append(r.Headers, RecordHeader{Key: text.Draw(t, "header"), Value: blob.Draw(t, "header value")})
		}
		for range rapid.IntRange(0, 2).Draw(t, "properties") {
			r.Properties = append(r.Properties, Property{ID: rapid.Uint64().Draw(t, "property"), Value: blob.Draw(t, "property value")})
		}
		return r
	})
}

func TestEncodeDecodeProperty(t *testing.T) {
	codec := NewCodec()
	builders := map[Compression]*Builder{}
	for _, how := range compressions {
		b, err := NewBuilder(BuilderConfig{MaxBytes: 1 << 20, Compression: how, Codec: codec})
		require.NoError(t, err)
		builders[how] = b
	}
	rapid.Check(t, func(rt *rapid.T) {
		how := rapid.SampledFrom(compressions).Draw(rt, "compression")
		records := rapid.SliceOfN(recordGenerator(), 1, 20).Draw(rt, "records")
		stamp := Stamp{Queue: rapid.Uint32Min(1).Draw(rt, "queue")}
		if rapid.Bool().Draw(rt, "idempotent") {
			stamp.ProducerID, stamp.ProducerEpoch = rapid.Uint64Min(1).Draw(rt, "producer"), rapid.Uint32().Draw(rt, "epoch")
			stamp.FirstSequence = rapid.Int64Range(0, MaxSequence-100).Draw(rt, "sequence")
		}
		b := builders[how]
		newest, size := int64(0), HeaderBytes
		for i := range records {
			require.NoError(rt, b.Append(&records[i]))
			newest = max(newest, records[i].Timestamp)
			size += RecordSize(&records[i])
			require.LessOrEqual(rt, b.Size(), size)
		}
		require.Equal(rt, len(records), b.Len())
		size = b.Size()
		out, err := b.Build(stamp)
		require.NoError(rt, err)

		h, err := Verify(out)
		require.NoError(rt, err)
		require.Equal(rt, Header{
			CRC: h.CRC, Length: uint32(len(out)), Compression: h.Compression, Queue: stamp.Queue, Count: uint32(len(records)),
			ProducerID: stamp.ProducerID, ProducerEpoch: stamp.ProducerEpoch, FirstSequence: stamp.FirstSequence,
			FirstTimestamp: records[0].Timestamp, MaxTimestamp: newest, RecordsBytes: uint32(size - HeaderBytes),
		}, h)
		require.LessOrEqual(rt, len(out), size)
		sameRecords(t, records, read(t, out))
		codec.Release(out)
	})
}

func TestSampleInEachCompression(t *testing.T) {
	for _, how := range compressions {
		t.Run(how.String(), func(t *testing.T) {
			b := build(t, how, Stamp{Queue: 1}, sampleRecords()...)
			h, err := Verify(b)
			require.NoError(t, err)
			require.Equal(t, how, h.Compression)
			sameRecords(t, sampleRecords(), read(t, b))
		})
	}
}

func TestCompressionThatDoesNotPayIsLeftOut(t *testing.T) {
	for _, how := range compressions {
		b := build(t, how, Stamp{Queue: 1}, Record{Value: []byte{1, 2, 3}})
		h, err := Verify(b)
		require.NoError(t, err)
		require.Equal(t, None, h.Compression)
	}
}

func TestUncompressedRecordsShareTheBatch(t *testing.T) {
	b := build(t, None, Stamp{Queue: 1}, Record{Value: []byte("value")})
	r := read(t, b)[0]
	at := bytes.Index(b, []byte("value"))
	require.Same(t, &b[at], &r.Value[0])
	require.Equal(t, len(r.Value), cap(r.Value), "an append to a value must not write into the batch")
}

// TestCloneSharesNothing: a copy is equal, and stays so when the batch's bytes change.
func TestCloneSharesNothing(t *testing.T) {
	record := func() Record {
		return Record{
			Key: []byte("key"), Value: []byte("value"), Tag: "tag", MessageID: "id", MessageGroup: "group", Timestamp: 5, DeliverAt: 7,
			Headers: []RecordHeader{{"name", []byte("text")}, {"empty", []byte{}}}, Type: FIFO, Properties: []Property{{3, []byte("property")}},
		}
	}
	builder, err := NewBuilder(BuilderConfig{})
	require.NoError(t, err)
	r := record()
	require.NoError(t, builder.Append(&r))
	require.NoError(t, builder.Append(&Record{Timestamp: 5, Key: []byte{}}))
	b, err := builder.Build(Stamp{Queue: 1})
	require.NoError(t, err)
	reader, read := NewReader(nil), Record{}
	require.NoError(t, reader.Reset(b))
	require.True(t, reader.Next(&read))
	first := read.Clone()
	require.True(t, reader.Next(&read), "which writes into the lists of read")
	second := read.Clone()
	require.NoError(t, reader.Err())
	clear(b)
	require.Equal(t, record(), first)
	noKey := (&Record{}).Clone()
	require.NotNil(t, second.Key, "empty is not none")
	require.Nil(t, noKey.Key)
}

func TestNextCutsAFrame(t *testing.T) {
	var frame []byte
	var want [][]byte
	for i := range 5 {
		b := build(t, None, Stamp{Queue: uint32(i + 1)}, Record{Value: fmt.Append(nil, i)})
		frame, want = append(frame, b...), append(want, b)
	}
	var got [][]byte
	for rest := frame; len(rest) > 0; {
		h, b, after, err := Next(rest)
		require.NoError(t, err)
		require.Equal(t, uint32(len(got)+1), h.Queue)
		_, err = Verify(b)
		require.NoError(t, err)
		got, rest = append(got, b), after
	}
	require.Equal(t, want, got)

	for cut := 1; cut < len(want[0]); cut++ {
		_, _, _, err := Next(frame[:cut])
		require.ErrorIs(t, err, ErrInvalid, "cut at %d", cut)
	}
}

func TestRestamp(t *testing.T) {
	b := build(t, S2, Stamp{Queue: 1, ProducerID: 4, FirstSequence: 9}, sampleRecords()...)
	require.NoError(t, Restamp(b, Stamp{Queue: 2, ProducerID: 5, ProducerEpoch: 3, FirstSequence: 0}))
	h, err := Verify(b)
	require.NoError(t, err)
	require.Equal(t, [4]uint64{2, 5, 3, 0}, [4]uint64{uint64(h.Queue), h.ProducerID, uint64(h.ProducerEpoch), uint64(h.FirstSequence)})
	sameRecords(t, sampleRecords(), read(t, b))

	require.ErrorIs(t, Restamp(b, Stamp{Queue: 0}), ErrInvalid)
	require.ErrorIs(t, Restamp(b[:len(b)-1], Stamp{Queue: 1}), ErrInvalid)
	require.ErrorIs(t, Restamp(b[:10], Stamp{Queue: 1}), ErrInvalid)
	_, err = Verify(b)
	require.NoError(t, err, "a refused stamp leaves the batch alone")
}

func TestEveryBitFlipIsNoticed(t *testing.T) {
	b := build(t, None, Stamp{Queue: 1, ProducerID: 7}, sampleRecords()...)
	for bit := range len(b) * 8 {
		b[bit/8] ^= 1 << (bit % 8)
		_, err := Verify(b)
		require.Error(t, err, "bit %d", bit)
		b[bit/8] ^= 1 << (bit % 8)
	}
	for n := range len(b) {
		_, err := Verify(b[:n])
		require.ErrorIs(t, err, ErrInvalid, "first %d bytes", n)
	}
	_, err := Verify(append(bytes.Clone(b), 0))
	require.ErrorIs(t, err, ErrInvalid)
	b[len(b)-1] ^= 1
	_, err = Verify(b)
	var corrupt *CorruptError
	require.ErrorAs(t, err, &corrupt)
	require.ErrorIs(t, err, ErrCorrupt)
}

func TestParseHeaderRefuses(t *testing.T) {
	le := binary.LittleEndian
	cases := []struct {
		name  string
		is    error
		spoil func(b []byte)
	}{
		{"magic", ErrInvalid, func(b []byte) { b[offMagic]++ }},
		{"version 0", ErrInvalid, func(b []byte) { b[offVersion] = 0 }},
		{"version 2", ErrInvalid, func(b []byte) { b[offVersion] = 2 }},
		{"reserved 7", ErrInvalid, func(b []byte) { b[offReserved7] = 1 }},
		{"reserved 14", ErrInvalid, func(b []byte) { b[offReserved14+1] = 1 }},
		{"reserved 36", ErrInvalid, func(b []byte) { b[offReserved36+3] = 1 }},
		{"reserved 68", ErrInvalid, func(b []byte) { b[offDeliverAt] = 1 }},
		{"reserved 79", ErrInvalid, func(b []byte) { b[79] = 1 }},
		{"reserved attribute", ErrInvalid, func(b []byte) { b[offAttributes] |= 16 }},
		{"lz4", ErrInvalid, func(b []byte) { b[offAttributes] |= 3 }},
		{"length 0", ErrInvalid, func(b []byte) { le.PutUint32(b[offLength:], 0) }},
		{"length of a header", ErrInvalid, func(b []byte) { le.PutUint32(b[offLength:], HeaderBytes) }},
		{"length not that of the records", ErrInvalid, func(b []byte) { b[offLength]++ }},
		{"length beyond the limit", ErrTooLarge, func(b []byte) { le.PutUint32(b[offLength:], MaxBatchBytes+1) }},
		{"records beyond the limit", ErrTooLarge, func(b []byte) { le.PutUint32(b[offRecords:], 1<<32-1) }},
		{"queue 0", ErrInvalid, func(b []byte) { le.PutUint32(b[offQueue:], 0) }},
		{"count 0", ErrInvalid, func(b []byte) { le.PutUint32(b[offCount:], 0) }},
		{"count beyond the bytes", ErrInvalid, func(b []byte) { le.PutUint32(b[offCount:], 100) }},
		{"count beyond the limit", ErrTooLarge, func(b []byte) { le.PutUint32(b[offCount:], MaxRecords+1) }},
		{"sequence below 0", ErrInvalid, func(b []byte) { le.PutUint64(b[offSequence:], 1<<63) }},
		{"sequence too high", ErrInvalid, func(b []byte) { le.PutUint64(b[offSequence:], MaxSequence) }},
		{"epoch without producer", ErrInvalid, func(b []byte) { le.PutUint64(b[offProducer:], 0) }},
		{"first timestamp below 0", ErrInvalid, func(b []byte) { le.PutUint64(b[offFirstTime:], 1<<63) }},
		{"max timestamp below first", ErrInvalid, func(b []byte) { le.PutUint64(b[offMaxTime:], 1) }},
		{"max timestamp too high", ErrInvalid, func(b []byte) { le.PutUint64(b[offMaxTime:], MaxTimestamp+1) }},
	}
	good := build(t, None, Stamp{Queue: 1, ProducerID: 7, ProducerEpoch: 1}, sampleRecords()...)
	for _, c := range cases {
		b := bytes.Clone(good)
		c.spoil(b)
		_, err := ParseHeader(b)
		require.ErrorIs(t, err, c.is, c.name)
		_, err = Verify(b)
		require.ErrorIs(t, err, c.is, c.name)
	}
	_, err := ParseHeader(good[:HeaderBytes])
	require.NoError(t, err)
}

func TestErrorsSayWhat(t *testing.T) {
	var limit *LimitError
	err := error(&LimitError{What: "key", Size: 70_000, Max: MaxKeyBytes})
	require.True(t, errors.As(err, &limit))
	require.Equal(t, "batch: key of 70000 is above the limit of 65535", err.Error())
	require.NotErrorIs(t, err, ErrInvalid)
	require.Equal(t, "batch: queue id is 0: invalid batch", invalid("queue id is 0").Error())
}

func TestCompressionNames(t *testing.T) {
	for _, how := range compressions {
		got, err := ParseCompression(how.String())
		require.NoError(t, err)
		require.Equal(t, how, got)
	}
	_, err := ParseCompression("lz4")
	require.ErrorIs(t, err, ErrInvalid)
	require.Equal(t, "reserved", Compression(3).String())
}

func TestVarintLength(t *testing.T) {
	for bit := range 64 {
		for _, v := range []uint64{1<<bit - 1, 1 << bit, 1<<bit + 1} {
			require.Equal(t, len(binary.AppendUvarint(nil, v)), uvarintLen(v), "%#x", v)
		}
	}
}
