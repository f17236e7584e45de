package batch

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func addSeeds(f *testing.F) {
	f.Helper()
	for _, how := range compressions {
		f.Add(bytes.Clone(build(f, how, Stamp{Queue: 3, ProducerID: 9, ProducerEpoch: 1, FirstSequence: 77}, sampleRecords()...)))
	}
	f.Add(make([]byte, HeaderBytes))
	f.Add([]byte{})
}

// FuzzParseHeader: what is accepted is written again as the same bytes.
func FuzzParseHeader(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		again := make([]byte, h.Length)
		h.put(again)
		if !bytes.Equal(again[offMagic:HeaderBytes], b[offMagic:HeaderBytes]) {
			t.Fatalf("header %+v is written as\n%x, it was\n%x", h, again[:HeaderBytes], b[:HeaderBytes])
		}
	})
}

// FuzzVerify: a frame of anything is cut without a panic, and what Verify accepts
// has the CRC that a writer would give it.
func FuzzVerify(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, frame []byte) {
		for rest := frame; len(rest) > 0; {
			_, b, after, err := Next(rest)
			if err != nil {
				return
			}
			if len(b)+len(after) != len(rest) {
				t.Fatalf("%d bytes cut into %d and %d", len(rest), len(b), len(after))
			}
			if h, err := Verify(b); err == nil && h.CRC != checksum(b) {
				t.Fatal("verified a wrong CRC")
			}
			rest = after
		}
	})
}

// FuzzRecords: any records under a right header are read without a panic, and what
// is read can be written and read again the same.
func FuzzRecords(f *testing.F) {
	for _, how := range compressions {
		b := build(f, how, Stamp{Queue: 1}, sampleRecords()...)
		h, err := ParseHeader(b)
		require.NoError(f, err)
		f.Add(bytes.Clone(b[HeaderBytes:]), uint8(how), h.Count, h.RecordsBytes, h.FirstTimestamp)
	}
	codec := NewCodec()
	f.Fuzz(func(t *testing.T, records []byte, how uint8, count, size uint32, first int64) {
		h := Header{
			Queue: 1, Compression: Compression(how & 3), Count: count, RecordsBytes: size % (1 << 20),
			FirstTimestamp: first, MaxTimestamp: MaxTimestamp, Length: uint32(HeaderBytes + len(records)),
		}
		if len(records) > 1<<20 || h.check() != nil {
			return
		}
		once, ok := rewrite(t, codec, sealed(h, records))
		if !ok {
			return
		}
		twice, ok := rewrite(t, codec, once)
		if !ok || !bytes.Equal(once, twice) {
			t.Fatalf("written again differently:\n%x\n%x", once, twice)
		}
	})
}

// rewrite reads all records of b and builds a batch of them; false if they cannot
// be read, or hold text that only a foreign writer would write.
func rewrite(t *testing.T, codec *Codec, b []byte) ([]byte, bool) {
	t.Helper()
	builder, err := NewBuilder(BuilderConfig{MaxBytes: MaxBatchBytes, Codec: codec})
	require.NoError(t, err)
	for rec, err := range codec.Records(b) {
		if err != nil {
			require.ErrorIs(t, err, ErrInvalid)
			return nil, false
		}
		if err := builder.Append(&rec); err != nil {
			return nil, false
		}
	}
	out, err := builder.Build(Stamp{Queue: 1})
	require.NoError(t, err)
	return out, true
}
