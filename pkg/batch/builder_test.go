package batch

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBuilderLimits(t *testing.T) {
	_, err := NewBuilder(BuilderConfig{MaxBytes: 10})
	require.ErrorIs(t, err, ErrInvalid)
	_, err = NewBuilder(BuilderConfig{MaxBytes: MaxBatchBytes + 1})
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = NewBuilder(BuilderConfig{Compression: 3})
	require.ErrorIs(t, err, ErrInvalid)

	b, err := NewBuilder(BuilderConfig{MaxBytes: 1_000, RecordBytes: 5_000})
	require.NoError(t, err)
	_, err = b.Build(Stamp{Queue: 1})
	require.ErrorIs(t, err, ErrInvalid, "no records")

	require.ErrorIs(t, b.Append(&Record{Value: make([]byte, 5_000)}), ErrTooLarge)
	require.NoError(t, b.Append(&Record{Value: make([]byte, 4_800)}), "a large record is alone in its batch")
	require.ErrorIs(t, b.Append(&Record{}), ErrFull)
	require.ErrorIs(t, b.Append(&Record{Value: make([]byte, 5_000)}), ErrTooLarge, "never, not later")
	out, err := b.Build(Stamp{Queue: 1})
	require.NoError(t, err)
	require.Zero(t, b.Size())
	require.Len(t, read(t, out), 1)

	n := 0
	for b.Append(&Record{Value: make([]byte, 90)}) == nil {
		n++
	}
	require.Equal(t, n, b.Len())
	require.LessOrEqual(t, b.Size(), 1_000)
	_, err = b.Build(Stamp{Queue: 0})
	require.ErrorIs(t, err, ErrInvalid)
	require.Equal(t, n, b.Len(), "a refused stamp leaves the records where they are")
	b.Reset()
	require.Zero(t, b.Len())
	require.Zero(t, b.Size())
}

func TestBuilderStopsAtMaxRecords(t *testing.T) {
	b, err := NewBuilder(BuilderConfig{MaxBytes: MaxBatchBytes})
	require.NoError(t, err)
	for range MaxRecords {
		require.NoError(t, b.Append(&Record{}))
	}
	require.ErrorIs(t, b.Append(&Record{}), ErrFull)
	out, err := b.Build(Stamp{Queue: 1})
	require.NoError(t, err)
	require.Len(t, read(t, out), MaxRecords)
}

func TestRecordLimits(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	headers := make([]RecordHeader, MaxHeaders+1)
	cases := []struct {
		name string
		is   error
		r    Record
	}{
		{"key", ErrTooLarge, Record{Key: make([]byte, MaxKeyBytes+1)}},
		{"tag", ErrTooLarge, Record{Tag: long(MaxTagBytes + 1)}},
		{"message id", ErrTooLarge, Record{MessageID: long(MaxMessageIDBytes + 1)}},
		{"message group", ErrTooLarge, Record{MessageGroup: long(MaxMessageGroupBytes + 1)}},
		{"headers", ErrTooLarge, Record{Headers: headers}},
		{"header key", ErrTooLarge, Record{Headers: []RecordHeader{{Key: long(MaxHeaderKeyBytes + 1)}}}},
		{"headers' bytes", ErrTooLarge, Record{Headers: []RecordHeader{{Value: make([]byte, MaxHeadersBytes+1)}}}},
		{"properties", ErrTooLarge, Record{Properties: make([]Property, MaxProperties+1)}},
		{"properties' bytes", ErrTooLarge, Record{Properties: []Property{{Value: make([]byte, MaxPropertiesBytes+1)}}}},
		{"timestamp", ErrInvalid, Record{Timestamp: -1}},
		{"late timestamp", ErrInvalid, Record{Timestamp: MaxTimestamp + 1}},
		{"delivery", ErrInvalid, Record{DeliverAt: -1}},
		{"late delivery", ErrInvalid, Record{DeliverAt: MaxTimestamp + 1}},
		{"type", ErrInvalid, Record{Type: 8}},
		{"tag text", ErrInvalid, Record{Tag: "\xff"}},
		{"id text", ErrInvalid, Record{MessageID: "\xff"}},
		{"group text", ErrInvalid, Record{MessageGroup: "\xff"}},
		{"header text", ErrInvalid, Record{Headers: []RecordHeader{{Key: "\xff"}}}},
	}
	b, err := NewBuilder(BuilderConfig{MaxBytes: 1 << 20})
	require.NoError(t, err)
	for _, c := range cases {
		require.ErrorIs(t, b.Append(&c.r), c.is, c.name)
		require.Zero(t, b.Len(), c.name)
	}
	most := Record{
		Key: make([]byte, MaxKeyBytes), Tag: long(MaxTagBytes), MessageID: long(MaxMessageIDBytes), MessageGroup: long(MaxMessageGroupBytes),
		Headers: headers[:MaxHeaders], Properties: make([]Property, MaxProperties), Timestamp: MaxTimestamp, DeliverAt: MaxTimestamp, Type: 7,
	}
	require.NoError(t, b.Append(&most))
	out, err := b.Build(Stamp{Queue: 1})
	require.NoError(t, err)
	sameRecords(t, []Record{most}, read(t, out))
}

// testRecords are n messages of size bytes that compress about as well as JSON does.
func testRecords(n, size int) []Record {
	rng := rand.New(rand.NewPCG(1, 2))
	words := []byte("the quick brown fox jumps over a lazy dog 0123456789")
	records := make([]Record, n)
	for i := range records {
		value := make([]byte, size)
		for at := 0; at < size; {
			w := rng.IntN(len(words) - 8)
			at += copy(value[at:], words[w:w+8])
		}
		records[i] = Record{Value: value, Key: value[:8], MessageID: "01A0B1C2D3E4F5", Timestamp: 1_700_000_000_000 + int64(i)}
	}
	return records
}

func TestNoAllocationPerRecord(t *testing.T) {
	records := testRecords(500, 100)
	for i := range records {
		records[i].Headers = []RecordHeader{{Key: "h", Value: []byte("v")}}
		records[i].Properties = []Property{{ID: 3, Value: []byte("v")}}
	}
	codec := NewCodec()
	b, err := NewBuilder(BuilderConfig{Compression: None, Codec: codec, MaxBytes: 256 << 10})
	require.NoError(t, err)
	r := NewReader(codec)
	rec := Record{Headers: make([]RecordHeader, 0, 1), Properties: make([]Property, 0, 1)}
	encode := func() []byte {
		for i := range records {
			if err := b.Append(&records[i]); err != nil {
				t.Fatal(err)
			}
		}
		out, err := b.Build(Stamp{Queue: 1})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	allocs := testing.AllocsPerRun(20, func() {
		out := encode()
		n := 0
		for err := r.Reset(out); err == nil && r.Next(&rec); n++ {
		}
		if r.Err() != nil || n != len(records) {
			t.Fatal(n, r.Err())
		}
		codec.Release(out)
	})
	// The garbage collector may empty the pool on the way, and the race detector
	// does so on purpose: a few, but none per record.
	require.LessOrEqual(t, allocs, float64(len(records)/20))
}

func TestSmallBatchesHoldNoLargeBuffers(t *testing.T) {
	for _, how := range compressions {
		b, err := NewBuilder(BuilderConfig{Compression: how, MaxBytes: 256 << 10})
		require.NoError(t, err)
		for round := range 20 {
			for range map[bool]int{true: 1_500, false: 2}[round%2 == 0] {
				require.NoError(t, b.Append(&Record{Value: bytes.Repeat([]byte("ab"), 50)}))
			}
			out, err := b.Build(Stamp{Queue: 1})
			require.NoError(t, err)
			require.LessOrEqual(t, cap(out), max(4*len(out), minBufferBytes+HeaderBytes))
			if round%2 == 0 {
				b.cfg.Codec.Release(out)
			}
		}
	}
}

func TestReleaseKeepsNoHugeBuffer(t *testing.T) {
	c := NewCodec()
	for _, size := range []int{maxPooledBytes + 1, 4 * maxPooledBytes, minBufferBytes - 1, HeaderBytes - 1, 0} {
		c.Release(make([]byte, size))
	}
	for i := range c.buffers {
		require.Nil(t, c.buffers[i].Get())
	}
	_, largest := bufferSize(maxPooledBytes)
	require.Equal(t, maxPooledBytes, largest)
}

func BenchmarkBuild(b *testing.B)  { forEachSize(b, benchmarkBuild) }
func BenchmarkRead(b *testing.B)   { forEachSize(b, benchmarkRead) }
func BenchmarkVerify(b *testing.B) { forEachSize(b, benchmarkVerify) }

// forEachSize runs a benchmark with 64 KiB batches; ns/op are per message.
func forEachSize(b *testing.B, run func(b *testing.B, how Compression, records []Record)) {
	for _, size := range []int{128, 1024} {
		records := testRecords(60<<10/(size+40), size)
		for _, how := range compressions {
			b.Run(strings.Join([]string{map[int]string{128: "128B", 1024: "1KiB"}[size], how.String()}, "/"), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				run(b, how, records)
			})
		}
	}
}

func benchmarkBuild(b *testing.B, how Compression, records []Record) {
	codec := NewCodec()
	builder, err := NewBuilder(BuilderConfig{Compression: how, Codec: codec})
	require.NoError(b, err)
	for n := 0; n < b.N; {
		for i := range records {
			if err := builder.Append(&records[i]); err != nil {
				b.Fatal(err)
			}
		}
		out, err := builder.Build(Stamp{Queue: 1})
		if err != nil {
			b.Fatal(err)
		}
		codec.Release(out)
		n += len(records)
	}
}

func benchmarkRead(b *testing.B, how Compression, records []Record) {
	out := bytes.Clone(build(b, how, Stamp{Queue: 1}, records...))
	r := NewReader(nil)
	var rec Record
	for n := 0; n < b.N; n += len(records) {
		for err := r.Reset(out); err == nil && r.Next(&rec); {
		}
		if r.Err() != nil {
			b.Fatal(r.Err())
		}
	}
}

func benchmarkVerify(b *testing.B, how Compression, records []Record) {
	out := build(b, how, Stamp{Queue: 1}, records...)
	for n := 0; n < b.N; n += len(records) {
		if _, err := Verify(out); err != nil {
			b.Fatal(err)
		}
	}
}
