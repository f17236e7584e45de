package batch

import (
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var rewriteGolden = flag.Bool("rewrite", false, "write the golden files anew")

// TestGolden holds version 1 still: files of it must be readable for ever, and
// without compression they are also what is written.
func TestGolden(t *testing.T) {
	for _, how := range compressions {
		t.Run(how.String(), func(t *testing.T) {
			path := filepath.Join("testdata", "batch-v1-"+how.String()+".hex")
			b := build(t, how, Stamp{Queue: 0x01020304, ProducerID: 0x1112131415161718, ProducerEpoch: 0x21222324, FirstSequence: 0x3132}, sampleRecords()...)
			if *rewriteGolden {
				require.NoError(t, os.WriteFile(path, []byte(dump(b)), 0o644))
			}
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			golden, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
			require.NoError(t, err)
			h, err := Verify(golden)
			require.NoError(t, err)
			require.Equal(t, how, h.Compression)
			require.Equal(t, uint32(0x01020304), h.Queue)
			require.Equal(t, int64(0x3132+3), h.LastSequence())
			sameRecords(t, sampleRecords(), read(t, golden))
			if how == None {
				require.Equal(t, string(text), dump(b), "the encoding of version 1 has changed")
			}
		})
	}
}

// dump writes 16 bytes a line.
func dump(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		n := min(16, len(b))
		out.WriteString(hex.EncodeToString(b[:n]) + "\n")
		b = b[n:]
	}
	return out.String()
}

// TestGoldenDelayed holds version 2 still, and that a batch says version 2 only if it
// must.
func TestGoldenDelayed(t *testing.T) {
	path := filepath.Join("testdata", "batch-v2-delayed.hex")
	stamp := Stamp{Queue: 7, ProducerID: 8, DeliverAt: 1_700_000_060_000}
	record := Record{Timestamp: 1_700_000_000_000, DeliverAt: stamp.DeliverAt, Type: Delay, Value: []byte("later")}
	b := build(t, None, stamp, record)
	if *rewriteGolden {
		require.NoError(t, os.WriteFile(path, []byte(dump(b)), 0o644))
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(text), dump(b), "the encoding of version 2 has changed")
	h, err := Verify(b)
	require.NoError(t, err)
	require.Equal(t, stamp.DeliverAt, h.DeliverAt)
	require.Equal(t, uint8(2), b[offVersion])
	sameRecords(t, []Record{record}, read(t, b))

	stamp.DeliverAt, stamp.TransactionGroup = 0, 0x01020304
	require.NoError(t, Restamp(b, stamp))
	h, err = Verify(b)
	require.NoError(t, err)
	require.Equal(t, uint32(0x01020304), h.TransactionGroup)
	require.Equal(t, uint8(2), b[offVersion])
	require.Equal(t, uint8(attrHalf), b[offAttributes])

	stamp.TransactionGroup = 0
	require.NoError(t, Restamp(b, stamp))
	require.Equal(t, uint8(1), b[offVersion])
	h, err = Verify(b)
	require.NoError(t, err)
	require.Zero(t, h.DeliverAt)
}

// TestDelayedHeaders that say two things are refused.
func TestDelayedHeaders(t *testing.T) {
	for name, change := range map[string]func(h []byte){
		"a delivery time in version 1":        func(h []byte) { h[offVersion] = 1; h[offAttributes] = 0 },
		"the attribute in version 1":          func(h []byte) { h[offVersion] = 1; clear(h[offDeliverAt:HeaderBytes]) },
		"version 2 without the attribute":     func(h []byte) { h[offAttributes] = 0 },
		"version 2 with nothing to say":       func(h []byte) { h[offAttributes] = 0; clear(h[offDeliverAt:HeaderBytes]) },
		"the attribute without time":          func(h []byte) { clear(h[offDeliverAt:HeaderBytes]) },
		"a time that is too far for everyone": func(h []byte) { h[offDeliverAt+7] = 0x7f },
		"a negative time":                     func(h []byte) { h[offDeliverAt+7] = 0xff },
		"a group without the attribute":       func(h []byte) { h[offGroup] = 1 },
		"the other attribute without a group": func(h []byte) { h[offAttributes] |= attrHalf },
		"delayed and half":                    func(h []byte) { h[offAttributes] |= attrHalf; h[offGroup] = 1 },
		"an unknown attribute":                func(h []byte) { h[offAttributes+1] = 1 },
		"version 3 without its attribute":     func(h []byte) { h[offVersion] = 3 },
		"message groups in version 2":         func(h []byte) { h[offAttributes] |= attrGrouped },
		"version 3 that waits":                func(h []byte) { h[offVersion] = 3; h[offAttributes] = attrGrouped },
		"version 4":                           func(h []byte) { h[offVersion] = 4 },
	} {
		b := build(t, None, Stamp{Queue: 7, DeliverAt: 5}, Record{Value: []byte("x")})
		_, err := ParseHeader(b)
		require.NoError(t, err)
		change(b)
		_, err = ParseHeader(b)
		require.ErrorIs(t, err, ErrInvalid, name)
	}
}

// TestGroupedHeaders: message groups are one bit of version 3, and nothing else is.
func TestGroupedHeaders(t *testing.T) {
	record := Record{Timestamp: 1_700_000_000_000, Type: FIFO, MessageGroup: "customer-7", Value: []byte("x")}
	b := build(t, None, Stamp{Queue: 7, ProducerID: 8, Grouped: true}, record)
	h, err := Verify(b)
	require.NoError(t, err)
	require.True(t, h.Grouped)
	require.Equal(t, uint8(3), b[offVersion])
	require.Equal(t, uint8(attrGrouped), b[offAttributes])
	sameRecords(t, []Record{record}, read(t, b))
	require.ErrorIs(t, Restamp(b, Stamp{Queue: 7, Grouped: true, DeliverAt: 5}), ErrInvalid)

	require.NoError(t, Restamp(b, Stamp{Queue: 7, ProducerID: 8}))
	require.Equal(t, uint8(1), b[offVersion])
	h, err = Verify(b)
	require.NoError(t, err)
	require.False(t, h.Grouped)
}
