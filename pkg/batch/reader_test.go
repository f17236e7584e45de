package batch

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// sealed makes a batch with a right header and CRC around any records bytes.
func sealed(h Header, records []byte) []byte {
	b := append(make([]byte, HeaderBytes), records...)
	if h.Queue == 0 {
		h.Queue = 1
	}
	if h.Count == 0 {
		h.Count = 1
	}
	h.Length = uint32(len(b))
	h.put(b)
	return b
}

func readErr(b []byte) error {
	r, rec := NewReader(nil), Record{}
	for err := r.Reset(b); err == nil && r.Next(&rec); {
	}
	return r.Err()
}

func TestReaderRefusesMalformedRecords(t *testing.T) {
	u := binary.AppendUvarint
	// body of an empty record: time, flags, five fields, delivery, headers
	empty := []byte{9, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	with := func(at int, v byte) []byte {
		b := append([]byte(nil), empty...)
		b[at] = v
		return b
	}
	bad := map[string][]byte{
		"length beyond the batch":    with(0, 10),
		"length too short":           with(0, 8),
		"length is no varint":        {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255},
		"bytes behind the last":      append(append([]byte(nil), empty...), 0),
		"unknown flag":               with(2, 16),
		"key without its flag":       {10, 0, 0, 1, 'k', 0, 0, 0, 0, 0, 0},
		"negative time":              with(1, 1),
		"negative delivery":          with(8, 1),
		"more headers than bytes":    with(9, 200),
		"field beyond the record":    with(4, 200),
		"property without its id":    {10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
		"tag above its limit":        append(append(u([]byte{}, 9+1+300), 0, 0, 0, 0xac, 0x02), make([]byte, 305)...),
		"record of nothing":          {0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"properties above the limit": append(u([]byte{}, 10+2*65), append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 65}, make([]byte, 130)...)...),
	}
	for name, records := range bad {
		b := sealed(Header{RecordsBytes: uint32(len(records))}, records)
		_, err := Verify(b)
		require.NoError(t, err, name)
		require.ErrorIs(t, readErr(b), ErrInvalid, name)
	}
	require.NoError(t, readErr(sealed(Header{RecordsBytes: 10}, empty)))
	require.ErrorIs(t, readErr(sealed(Header{RecordsBytes: 20, Count: 2}, append(with(0, 19), empty...))), ErrInvalid, "fewer than counted")
	require.ErrorIs(t, readErr(sealed(Header{RecordsBytes: 20, Count: 1}, append(empty, empty...))), ErrInvalid, "more than counted")
}

func TestReaderKeepsUnknownProperties(t *testing.T) {
	want := []Record{{Value: []byte("v"), Properties: []Property{{ID: 1 << 50, Value: []byte("from the future")}, {ID: 0}}}}
	sameRecords(t, want, read(t, build(t, None, Stamp{Queue: 1}, want...)))
}

func TestRecordsStopsAtTheCallersWord(t *testing.T) {
	b := build(t, None, Stamp{Queue: 1}, sampleRecords()...)
	n := 0
	for range NewCodec().Records(b) {
		n++
		break
	}
	require.Equal(t, 1, n)

	b[HeaderBytes] ^= 1
	n = 0
	for _, err := range NewCodec().Records(b) {
		require.ErrorIs(t, err, ErrCorrupt)
		n++
	}
	require.Equal(t, 1, n)

	records := []byte{9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 16, 0, 0, 0, 0, 0, 0, 0}
	n = 0
	for _, err := range NewCodec().Records(sealed(Header{Count: 2, RecordsBytes: 20}, records)) {
		if n++; n == 2 {
			require.ErrorIs(t, err, ErrInvalid)
			require.ErrorContains(t, err, "record 1 of 2")
		}
	}
	require.Equal(t, 2, n)
}

// TestSmallCompressedBatches: a zstd frame of less than 256 bytes states its size
// only if the encoder is told to; such a batch was stored and could not be read.
func TestSmallCompressedBatches(t *testing.T) {
	for _, how := range []Compression{S2, Zstd} {
		for size := range 600 {
			b, err := NewBuilder(BuilderConfig{MaxBytes: MaxBatchBytes, Compression: how})
			require.NoError(t, err)
			value := bytes.Repeat([]byte("a"), size)
			require.NoError(t, b.Append(&Record{Value: value}))
			out, err := b.Build(Stamp{Queue: 1})
			require.NoError(t, err)
			r, rec := NewReader(nil), Record{}
			require.NoError(t, r.Reset(out), "%v, %d bytes", how, size)
			require.True(t, r.Next(&rec), "%v, %d bytes", how, size)
			require.Equal(t, len(value), len(rec.Value))
		}
	}
}

func TestDecompressionIsBounded(t *testing.T) {
	zeroes := make([]byte, 100<<20)
	encoder, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	bomb := encoder.EncodeAll(zeroes, nil)
	sizeless, err := zstd.NewWriter(nil, zstd.WithSingleSegment(false))
	require.NoError(t, err)
	short := sizeless.EncodeAll(zeroes[:1_000], nil)

	cases := map[string][]byte{
		"zstd bomb, honest header of little": sealed(Header{Compression: Zstd, RecordsBytes: 1_000}, bomb),
		"zstd bomb, header at the limit":     sealed(Header{Compression: Zstd, RecordsBytes: MaxBatchBytes - HeaderBytes}, bomb),
		"zstd shorter than its header":       sealed(Header{Compression: Zstd, RecordsBytes: 5_000}, short),
		"zstd of two frames":                 sealed(Header{Compression: Zstd, RecordsBytes: 1_000}, append(append([]byte(nil), short...), short...)),
		"zstd of garbage":                    sealed(Header{Compression: Zstd, RecordsBytes: 1_000}, []byte("no zstd at all")),
		"s2 bomb":                            sealed(Header{Compression: S2, RecordsBytes: 1_000}, s2.Encode(nil, zeroes)),
		"s2 that claims 4 GiB":               sealed(Header{Compression: S2, RecordsBytes: 1_000}, binary.AppendUvarint(nil, 1<<32-1)),
		"s2 of garbage":                      sealed(Header{Compression: S2, RecordsBytes: 10}, []byte{10, 255, 255, 255}),
	}
	for name, b := range cases {
		r := NewReader(nil)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := r.Reset(b)
		runtime.ReadMemStats(&after)
		require.ErrorIs(t, err, ErrInvalid, name)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20), name)
		require.False(t, r.Next(&Record{}), name)
		require.ErrorIs(t, r.Err(), ErrInvalid, name)
	}
}
