package commitlog_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// seedEntries is a few valid entries to mutate.
func seedEntries(f *testing.F) []byte {
	f.Helper()
	l := mustOpen(f, config(newFS()))
	appendN(f, l, 1, 2, 30)
	l.BecomeMaster(2)
	require.NoError(f, l.AppendMaster(2, 2, []commitlog.Body{{Type: commitlog.TypeNoop}}))
	return bytes.Join(mustEntries(f, l), nil)
}

func FuzzParseHeader(f *testing.F) {
	seed := seedEntries(f)
	f.Add(seed[:commitlog.HeaderBytes])
	f.Add(seed[len(seed)-commitlog.HeaderBytes:])
	f.Add(make([]byte, commitlog.HeaderBytes))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		fixEntry(b)
		h, err := commitlog.ParseHeader(b)
		if err != nil {
			require.ErrorIs(t, err, commitlog.ErrInvalidEntry)
			return
		}
		require.LessOrEqual(t, h.BodyLen, uint32(commitlog.MaxBodyBytes))
		require.GreaterOrEqual(t, h.Index, Index(0))
		require.GreaterOrEqual(t, h.Term, Term(1))
		require.GreaterOrEqual(t, h.Type, commitlog.TypeBatch)
		require.LessOrEqual(t, h.Type, commitlog.TypeCommand)
	})
}

func FuzzNextEntry(f *testing.F) {
	seed := seedEntries(f)
	f.Add(seed)
	f.Add(seed[:len(seed)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		fixEntry(b)
		h, body, rest, err := commitlog.NextEntry(b)
		if err != nil {
			require.ErrorIs(t, err, commitlog.ErrInvalidEntry)
			return
		}
		require.Equal(t, len(b), commitlog.HeaderBytes+len(body)+len(rest))
		require.Equal(t, int(h.BodyLen), len(body))
	})
}

func FuzzVerify(f *testing.F) {
	seed := seedEntries(f)
	f.Add(seed)
	f.Add(seed[:len(seed)-48])
	f.Fuzz(func(t *testing.T, b []byte) {
		fixEntry(b)
		s, err := commitlog.Verify(b)
		if err != nil {
			return
		}
		require.Equal(t, s.Count, int(s.Last-s.First)+1)
		require.Equal(t, s.First, s.Runs[0].First)
		require.GreaterOrEqual(t, len(b), s.Count*commitlog.HeaderBytes)
		// What verifies continues the history that it claims.
		again, err := commitlog.Verify(b)
		require.NoError(t, err)
		require.Equal(t, s, again)
	})
}

// fixEntry gives the header at the front a valid CRC, so that mutations get
// past it.
func fixEntry(b []byte) {
	if len(b) >= commitlog.HeaderBytes {
		binary.LittleEndian.PutUint32(b[40:], checksum(b[:40]))
	}
}

func checksum(b []byte) uint32 {
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
}

const fuzzSegmentBytes = 32 << 10

// FuzzRecover opens a segment whose frames are arbitrary bytes. If fix is odd,
// the CRCs of frame headers and of the entries behind them are made right
// first. Whatever the bytes, Open neither panics nor allocates more than the
// file is worth, and what it accepts holds together and is found again.
func FuzzRecover(f *testing.F) {
	header, frames := seedSegment(f)
	f.Add(pack(frames), byte(0))
	f.Add(pack(frames), byte(1))
	f.Add(pack(frames[:8192]), byte(1))
	f.Add([]byte{}, byte(0))
	f.Add(pack(bytes.Repeat([]byte("LMGF\x01\x01\x00\x00"), 512)), byte(1))
	f.Fuzz(func(t *testing.T, packed []byte, fix byte) {
		segment := make([]byte, fuzzSegmentBytes)
		copy(segment, header)
		unpack(segment[4096:], packed)
		if fix&1 == 1 {
			fixFrames(segment)
		}
		fs := newFS()
		fs.WriteFile(dir+"/00000000000000000000.seg", segment)
		l, err := commitlog.Open(config(fs))
		if err != nil {
			require.True(t, refusal(err), "%v", err)
			return
		}
		all := mustEntries(t, l)
		l.Abandon()
		l, err = commitlog.Open(config(fs))
		require.NoError(t, err)
		require.Zero(t, l.Recovery().TornBytes)
		require.True(t, equalEntries(all, mustEntries(t, l)))
		_, term := l.End()
		appendN(t, l, max(term, 1), 1, 100)
		require.NoError(t, l.Close())
		l, err = commitlog.Open(config(fs))
		require.NoError(t, err)
		requireCount(t, l, len(all)+1)
		l.Abandon()
	})
}

// pack makes blocks shorter for the fuzzer: each is its length without the
// zeros at its end, and so many bytes.
func pack(blocks []byte) (packed []byte) {
	for len(blocks) > 0 {
		block := bytes.TrimRight(blocks[:4096], "\x00")
		packed = binary.LittleEndian.AppendUint16(packed, uint16(len(block)))
		packed = append(packed, block...)
		blocks = blocks[4096:]
	}
	return packed
}

func unpack(blocks, packed []byte) {
	for len(blocks) >= 4096 && len(packed) >= 2 {
		n := min(int(binary.LittleEndian.Uint16(packed)%4097), len(packed)-2)
		copy(blocks[:4096], packed[2:2+n])
		packed, blocks = packed[2+n:], blocks[4096:]
	}
}

// seedSegment is the header block and the frames of a segment that has groups,
// a truncation and seals.
func seedSegment(f *testing.F) (header, frames []byte) {
	f.Helper()
	fs := newFS()
	cfg := config(fs)
	cfg.SegmentID = func() uint64 { return 0x5EED } // the corpus depends on it
	l := mustOpen(f, cfg)
	appendN(f, l, 1, 2, 30)
	mustSync(f, l)
	appendN(f, l, 2, 3, 100)
	mustSync(f, l)
	require.NoError(f, l.Seal())
	mustTruncate(f, l, 3)
	appendN(f, l, 3, 1, 10)
	require.NoError(f, l.Close())
	data, err := fs.ReadFile(fs.Files()[0])
	require.NoError(f, err)
	return data[:4096], data[4096 : 4096*7]
}

// fixFrames makes frame header and entry header CRCs right, and the segment id.
func fixFrames(segment []byte) {
	for pos := 4096; pos+4096 <= len(segment); pos += 4096 {
		block := segment[pos:]
		if string(block[:4]) != "LMGF" {
			continue
		}
		copy(block[8:16], segment[16:24])
		binary.LittleEndian.PutUint32(block[60:], checksum(block[:60]))
		chain := binary.LittleEndian.Uint32(block[52:])
		for at := 64; at+48 <= len(block) && block[at] == 0x45 && block[at+1] == 0x4C; {
			e := block[at:]
			var prev [4]byte
			binary.LittleEndian.PutUint32(prev[:], chain)
			chain = crc32.Update(checksum(prev[:]), crc32.MakeTable(crc32.Castagnoli), e[:36])
			binary.LittleEndian.PutUint32(e[36:], chain)
			fixEntry(e)
			at += 48 + int(binary.LittleEndian.Uint32(e[4:])%fuzzSegmentBytes)
		}
	}
}
