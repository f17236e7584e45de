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
