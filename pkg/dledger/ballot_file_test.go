package dledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

var testOwner = ballotOwner{clusterID: "test", group: "g0", id: "n1"}

func TestBallotSurvives(t *testing.T) {
	dir := t.TempDir()
	b, err := openOrCreateBallot(dir, true, testOwner)
	require.NoError(t, err)
	require.Equal(t, member.Ballot{}, b.load())
	for _, want := range []member.Ballot{{Term: 1}, {Term: 1, VotedFor: "n2"}, {Term: 1, VotedFor: "n2", Proven: true}, {Term: 8, Proven: true}} {
		require.NoError(t, b.save(want))
		require.NoError(t, b.close())
		b, err = openOrCreateBallot(dir, false, testOwner)
		require.NoError(t, err)
		require.Equal(t, want, b.load())
	}
	require.NoError(t, b.close())
	info, err := os.Stat(filepath.Join(dir, ballotFileName))
	require.NoError(t, err)
	require.EqualValues(t, 2*ballotSlotBytes, info.Size(), "the file never grows")
}

func TestBallotIsNeverTakenBack(t *testing.T) {
	b := newMemoryBallot(t, &memoryDisk{})
	require.NoError(t, b.save(member.Ballot{Term: 5, VotedFor: "n2"}))
	for _, bad := range []member.Ballot{{Term: 4}, {Term: 5}, {Term: 5, VotedFor: "n3"}, {Term: 6 + maxTermJump}} {
		require.ErrorContains(t, b.save(bad), "refused to go from")
	}
	require.Equal(t, member.Ballot{Term: 5, VotedFor: "n2"}, b.load())
	require.NoError(t, b.save(member.Ballot{Term: 5 + maxTermJump, Proven: true}))
	require.ErrorContains(t, b.save(member.Ballot{Term: 6 + maxTermJump}), "refused to go from", "proven stays")
}

// A ballot of before members could be unproven: whoever had a term had the right to
// vote. What is read is written again as it was, until there is something new to say.
func TestBallotOfVersion1(t *testing.T) {
	for want, ballot := range map[bool]member.Ballot{true: {Term: 3, VotedFor: "n2"}, false: {}} {
		disk := &memoryDisk{}
		newMemoryBallot(t, disk)
		for sequence := uint64(2); sequence < 4; sequence++ {
			slot := encodeBallotSlot(ballotSlot{owner: testOwner, sequence: sequence, ballot: ballot, version: 1})
			_, err := disk.WriteAt(slot, slotOffset(sequence))
			require.NoError(t, err)
		}
		before := bytes.Clone(disk.bytes)
		b, err := resumeBallot(disk, "ballot", testOwner)
		require.NoError(t, err)
		require.Equal(t, want, b.load().Proven)
		require.Equal(t, before, disk.bytes, "a torn write of other bytes could cost the newest ballot")

		next := b.load()
		next.Term++
		require.NoError(t, b.save(next))
		b, err = resumeBallot(disk, "ballot", testOwner)
		require.NoError(t, err)
		require.Equal(t, next, b.load())
	}
}

// A crash at any byte of a write leaves the ballot before it or the new one.
func TestBallotTornWrite(t *testing.T) {
	before, after := member.Ballot{Term: 3, VotedFor: "n2"}, member.Ballot{Term: 4, VotedFor: "n3"}
	disk := &memoryDisk{}
	b := newMemoryBallot(t, disk)
	require.NoError(t, b.save(before))
	old := bytes.Clone(disk.bytes)
	require.NoError(t, b.save(after))
	for cut := range 2 * ballotSlotBytes {
		torn := append(bytes.Clone(disk.bytes[:cut]), old[cut:]...)
		got, err := loadBallot(&memoryDisk{bytes: torn}, "ballot", testOwner)
		require.NoError(t, err, "torn at %d", cut)
		require.Contains(t, []member.Ballot{before, after}, got.load(), "torn at %d", cut)
	}
}

func TestBallotOneDamagedSlot(t *testing.T) {
	disk := &memoryDisk{}
	b := newMemoryBallot(t, disk)
	require.NoError(t, b.save(member.Ballot{Term: 1}))
	require.NoError(t, b.save(member.Ballot{Term: 2}))
	for slot, want := range map[int]member.Term{0: 2, 1: 1} {
		damaged := &memoryDisk{bytes: bytes.Clone(disk.bytes)}
		damaged.bytes[slot*ballotSlotBytes+17] ^= 1
		got, err := loadBallot(damaged, "ballot", testOwner)
		require.NoError(t, err)
		require.Equal(t, want, got.load().Term)
		// The next write must not hit the only good slot.
		damaged.failAt = 1
		require.Error(t, got.save(member.Ballot{Term: 9}))
		got, err = loadBallot(damaged, "ballot", testOwner)
		require.NoError(t, err)
		require.Equal(t, want, got.load().Term)
	}
}

func TestBallotRefusesToStart(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, ballotFileName)
	_, err := openOrCreateBallot(dir, false, testOwner)
	require.ErrorContains(t, err, "ballot file "+path+" is missing from a data directory that is not new")

	require.NoError(t, os.Mkdir(filepath.Join(dir, logDirName), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, logDirName, "00000000000000000000.seg"), nil, 0o600))
	_, err = openOrCreateBallot(dir, true, testOwner)
	require.ErrorContains(t, err, "ballot file "+path+" is missing, but there is a commit log beside it")

	require.NoError(t, createBallot(dir, testOwner))
	for _, other := range []ballotOwner{{"other", "g0", "n1"}, {"test", "g1", "n1"}, {"test", "g0", "n2"}} {
		_, err = openBallot(dir, other)
		require.ErrorContains(t, err, "belongs to member n1 of group g0 in cluster test")
	}

	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	raw[0] ^= 1
	raw[ballotSlotBytes+100] ^= 1
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	_, err = openBallot(dir, testOwner)
	require.ErrorContains(t, err, "ballot file "+path+": both slots are damaged")

	for size, want := range map[int64]string{
		100:                     "slot 0: it has 100 bytes instead of 4096",
		ballotSlotBytes:         "slot 1: it has 0 bytes instead of 4096",
		2*ballotSlotBytes - 100: "slot 1: it has 3996 bytes instead of 4096",
	} {
		require.NoError(t, os.Remove(path))
		require.NoError(t, createBallot(dir, testOwner))
		require.NoError(t, os.Truncate(path, size))
		_, err = openBallot(dir, testOwner)
		require.ErrorContains(t, err, want, "both slots are there from the beginning")
	}
}

// A ballot that is read may be in the page cache only. It must be on disk before
// anyone is told that the vote is given already.
func TestBallotFoundInTheCacheIsMadeDurable(t *testing.T) {
	for name, failAt := range map[string]int{"killed before the sync": 0, "failed sync": 2} {
		t.Run(name, func(t *testing.T) {
			disk := &memoryDisk{}
			b := newMemoryBallot(t, disk)
			require.NoError(t, b.save(member.Ballot{Term: 4}))
			vote := member.Ballot{Term: 5, VotedFor: "n2"}
			if failAt == 0 {
				slot := ballotSlot{owner: testOwner, sequence: b.newest.sequence + 1, ballot: vote}
				_, err := disk.WriteAt(encodeBallotSlot(slot), slotOffset(slot.sequence))
				require.NoError(t, err)
			} else {
				disk.calls, disk.failAt = 0, failAt
				require.ErrorIs(t, b.save(vote), errDisk)
				disk.failAt = 0
			}
			again, err := resumeBallot(disk, "ballot", testOwner)
			require.NoError(t, err)
			require.Equal(t, vote, again.load())
			found, err := loadBallot(&memoryDisk{bytes: disk.durable}, "ballot", testOwner)
			require.NoError(t, err)
			require.Equal(t, vote, found.load(), "after a power cut")
			require.Equal(t, disk.bytes, disk.durable)

			// A disk that does not take it: the member does not start.
			disk.calls, disk.failAt = 0, 2
			_, err = resumeBallot(disk, "ballot", testOwner)
			require.ErrorIs(t, err, errDisk)
		})
	}
}

// One damaged slot is what a crash leaves, and is told.
func TestBallotDamagedSlotIsTold(t *testing.T) {
	cfg := lonerConfig(t)
	require.NoError(t, createBallot(cfg.Dir, testOwner))
	path := filepath.Join(cfg.Dir, ballotFileName)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	raw[100] ^= 1
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	var out bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&out, nil))
	s, err := Open(cfg)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.Contains(t, out.String(), "one slot is damaged")
}

// A log that is gone beside a ballot that has voted is a log lost, also when the
// start is tried twice.
func TestLostLogIsRefused(t *testing.T) {
	c := newCluster(t, 1, nil)
	l, _ := c.publish("x")
	c.shutDown(l.id)
	dir := filepath.Join(c.dirs[l.id], logDirName)
	require.NoError(t, os.RemoveAll(dir))
	for range 2 {
		_, err := Open(c.config(l.id, false))
		require.EqualError(t, err, "commit log "+dir+" is missing or empty, but the ballot file "+filepath.Join(c.dirs[l.id], ballotFileName)+
			" beside it is of term 1: this member cannot know which entries it acknowledged and must not start; "+
			"restore the directory, or remove the whole data directory so that the member comes back as a new one")
		require.NoError(t, os.MkdirAll(dir, 0o700)) // an empty directory is no log either
	}
}

// A whole slot that this program does not understand may be the newest one.
func TestBallotOfNewerProgram(t *testing.T) {
	disk := &memoryDisk{}
	newMemoryBallot(t, disk)
	slot := disk.bytes[ballotSlotBytes:]
	slot[4] = ballotVersion + 1
	copy(slot, sealSlot(slot[:ballotCRCOffset]))
	_, err := loadBallot(disk, "ballot", testOwner)
	require.EqualError(t, err, "ballot file ballot: slot 1: format version is 4, this program knows 1 to 3")
}

func TestBallotDiskFaults(t *testing.T) {
	t.Run("read", func(t *testing.T) {
		disk := &memoryDisk{}
		newMemoryBallot(t, disk)
		disk.failReads = true
		_, err := loadBallot(disk, "ballot", testOwner)
		require.ErrorIs(t, err, errDisk, "a read error is not a torn slot")
	})
	for name, failAt := range map[string]int{"write": 1, "sync": 2} {
		t.Run(name, func(t *testing.T) {
			disk := &memoryDisk{}
			b := newMemoryBallot(t, disk)
			disk.calls, disk.failAt = 0, failAt
			require.ErrorIs(t, b.save(member.Ballot{Term: 1}), errDisk)
			disk.failAt = 0
			require.ErrorIs(t, b.save(member.Ballot{Term: 1}), errDisk, "an error is final")
			require.Equal(t, member.Ballot{}, b.load())
		})
	}
}

func TestBallotOlderThanLog(t *testing.T) {
	c := newCluster(t, 1, nil)
	l, _ := c.publish("x")
	c.shutDown(l.id)
	require.NoError(t, os.Remove(filepath.Join(c.dirs[l.id], ballotFileName)))
	require.NoError(t, createBallot(c.dirs[l.id], testOwner))
	_, err := Open(c.config(l.id, false))
	require.ErrorContains(t, err, "ballot: term 0 is below the ledger's last term 1")
}

func FuzzDecodeBallotSlot(f *testing.F) {
	f.Add(encodeBallotSlot(ballotSlot{owner: testOwner, sequence: 3, ballot: member.Ballot{Term: 9, VotedFor: "n2"}}))
	f.Add(make([]byte, ballotSlotBytes))
	f.Add([]byte("BLLT"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		slot, err := decodeBallotSlot(sealSlot(raw))
		if err != nil {
			return
		}
		again, err := decodeBallotSlot(encodeBallotSlot(slot))
		require.NoError(t, err)
		require.Equal(t, slot, again)
	})
}

// sealSlot gives raw the right length and CRC, so that the fuzzer gets past them.
func sealSlot(raw []byte) []byte {
	slot := make([]byte, ballotSlotBytes)
	copy(slot, raw)
	binary.LittleEndian.PutUint32(slot[ballotCRCOffset:], crc32.Checksum(slot[:ballotCRCOffset], castagnoli))
	return slot
}

var errDisk = errors.New("input/output error")

// memoryDisk is a ballot file in memory. Its failAt-th call to write or sync fails.
// As on a real one a sync writes only what was written since the last one, whether
// that succeeded or not.
type memoryDisk struct {
	bytes     []byte
	durable   []byte
	dirty     [2]bool // slots
	calls     int
	failAt    int
	failReads bool
}

func newMemoryBallot(t *testing.T, disk *memoryDisk) *ballotFile {
	t.Helper()
	require.NoError(t, writeFirstBallot(disk, testOwner))
	disk.calls = 0
	b, err := loadBallot(disk, "ballot", testOwner)
	require.NoError(t, err)
	return b
}

func (d *memoryDisk) fails() bool {
	d.calls++
	return d.calls == d.failAt
}

func (d *memoryDisk) ReadAt(p []byte, off int64) (int, error) {
	if d.failReads {
		return 0, errDisk
	}
	if off >= int64(len(d.bytes)) {
		return 0, io.EOF
	}
	n := copy(p, d.bytes[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (d *memoryDisk) WriteAt(p []byte, off int64) (int, error) {
	if d.fails() {
		n := len(p) / 2
		copy(d.bytes[off:], p[:n])
		return n, errDisk
	}
	if need := int(off) + len(p); need > len(d.bytes) {
		d.bytes = append(d.bytes, make([]byte, need-len(d.bytes))...)
	}
	d.dirty[off/ballotSlotBytes] = true
	return copy(d.bytes[off:], p), nil
}

func (d *memoryDisk) Datasync() error {
	dirty := d.dirty
	d.dirty = [2]bool{}
	if d.fails() {
		return errDisk
	}
	if len(d.durable) < len(d.bytes) {
		d.durable = append(d.durable, make([]byte, len(d.bytes)-len(d.durable))...)
	}
	for slot, is := range dirty {
		if is {
			at := slot * ballotSlotBytes
			copy(d.durable[at:], d.bytes[at:at+ballotSlotBytes])
		}
	}
	return nil
}

func (d *memoryDisk) Close() error { return nil }
