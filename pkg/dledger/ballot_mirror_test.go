package dledger

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

var (
	oldVote = member.Ballot{Term: 3, VotedFor: "n2", Proven: true}
	newVote = member.Ballot{Term: 4, VotedFor: "n3", Proven: true}
)

// mirroredBallot is a file whose newest ballot is newVote; first, 0 or 1, decides in
// which slot the newer copy is.
func mirroredBallot(t *testing.T, first int) *memoryDisk {
	t.Helper()
	disk := &memoryDisk{}
	b := newMemoryBallot(t, disk)
	for term := range member.Term(first) {
		require.NoError(t, b.save(member.Ballot{Term: term + 1}))
	}
	require.NoError(t, b.save(oldVote))
	require.NoError(t, b.mirror())
	require.NoError(t, b.save(newVote))
	require.NoError(t, b.mirror())
	return disk
}

// One flipped bit in any byte of either slot costs nothing once the ballot was
// mirrored, and a start mends it.
func TestBallotRotOfEitherSlot(t *testing.T) {
	for _, first := range []int{0, 1} {
		disk := mirroredBallot(t, first)
		for at := range disk.bytes {
			damaged := &memoryDisk{bytes: bytes.Clone(disk.bytes)}
			damaged.bytes[at] ^= 1 << (at % 8)
			b, err := resumeBallot(damaged, "ballot", testOwner)
			require.NoError(t, err, "byte %d", at)
			require.Equal(t, newVote, b.load(), "byte %d", at)
			require.ErrorIs(t, b.torn, errTornSlot, "byte %d", at)
			damaged.bytes[(at+ballotSlotBytes)%len(disk.bytes)] ^= 1 // the other slot, after the start
			b, err = loadBallot(damaged, "ballot", testOwner)
			require.NoError(t, err, "byte %d", at)
			require.Equal(t, newVote, b.load(), "byte %d", at)
		}
	}
}

// A start after which both slots hold the ballot again does not write over it.
func TestBallotMirroredAlready(t *testing.T) {
	disk := mirroredBallot(t, 0)
	before := bytes.Clone(disk.bytes)
	b, err := resumeBallot(disk, "ballot", testOwner)
	require.NoError(t, err)
	require.NoError(t, b.mirror())
	require.Equal(t, before, disk.bytes)
}

// crashDisk notes what a crash could leave at each step: before each write, torn at
// every 64 bytes of it in either order, and after it.
type crashDisk struct {
	memoryDisk
	images [][]byte
}

func (d *crashDisk) WriteAt(p []byte, off int64) (int, error) {
	old := bytes.Clone(d.bytes)
	n, err := d.memoryDisk.WriteAt(p, off)
	if len(old) < len(d.bytes) {
		return n, err // the file is being created under another name
	}
	for cut := 0; cut <= len(p); cut += 64 {
		at := int(off) + cut
		d.images = append(d.images, append(bytes.Clone(d.bytes[:at]), old[at:]...), append(bytes.Clone(old[:at]), d.bytes[at:]...))
	}
	return n, err
}

// A crash at every step of saves, mirrors and a start leaves at least the newest
// ballot whose save had returned, and at most the one being saved; and what is
// started on it is mirrored.
func TestBallotCrashAtEveryStep(t *testing.T) {
	disk := &crashDisk{}
	require.NoError(t, writeFirstBallot(disk, testOwner))
	b, err := loadBallot(disk, "ballot", testOwner)
	require.NoError(t, err)
	step := func(what string, do func() error, may ...member.Ballot) {
		disk.images = [][]byte{bytes.Clone(disk.bytes)}
		require.NoError(t, do(), what)
		for i, image := range append(disk.images, disk.bytes) {
			again, err := resumeBallot(&memoryDisk{bytes: bytes.Clone(image)}, "ballot", testOwner)
			require.NoError(t, err, "%s, image %d", what, i)
			require.Contains(t, may, again.load(), "%s, image %d", what, i)
			require.True(t, again.mirrored)
		}
		require.Equal(t, may[len(may)-1], b.load(), what)
	}
	last := member.Ballot{}
	for term := range member.Term(6) {
		next := member.Ballot{Term: term + 1, VotedFor: "n2"}
		step(fmt.Sprint("save ", term+1), func() error { return b.save(next) }, last, next)
		if term%3 > 0 { // sometimes the next save comes first
			step("mirror", b.mirror, next)
		}
		if term%2 > 0 {
			step("start", func() (err error) { b, err = resumeBallot(disk, "ballot", testOwner); return err }, next)
		}
		last = next
	}
}

// A mirror that fails is as final as a save that fails.
func TestBallotMirrorFails(t *testing.T) {
	for name, failAt := range map[string]int{"write": 1, "sync": 2} {
		t.Run(name, func(t *testing.T) {
			disk := &memoryDisk{}
			b := newMemoryBallot(t, disk)
			require.NoError(t, b.save(newVote))
			disk.calls, disk.failAt = 0, failAt
			require.ErrorIs(t, b.mirror(), errDisk)
			disk.failAt = 0
			require.ErrorIs(t, b.mirror(), errDisk)
			require.ErrorIs(t, b.save(member.Ballot{Term: 9, Proven: true}), errDisk)
			require.NoError(t, b.settle(), "left alone")
			again, err := loadBallot(disk, "ballot", testOwner)
			require.NoError(t, err)
			require.Equal(t, newVote, again.load())
		})
	}
}

func TestBallotMirrorDue(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(7, 0).Add(time.Duration(ms) * time.Millisecond) }
	var m ballotMirror
	require.False(t, m.due(at(5000), false), "nothing was saved")
	m.saved(at(0))
	require.False(t, m.due(at(99), false))
	require.True(t, m.due(at(100), false))
	require.False(t, m.due(at(999), true), "it can wait")
	require.True(t, m.due(at(1000), true), "but not for ever")
	m.saved(at(90))
	require.False(t, m.due(at(189), false), "counts from the newest save")
	require.True(t, m.due(at(190), false))
	m.saved(at(990))
	require.True(t, m.due(at(1000), true), "but the end counts from the first")
}

// slots says which ballots the slots of the member's file hold.
func slots(t *testing.T, dir string) (held [2]member.Ballot) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, ballotFileName))
	require.NoError(t, err)
	for i := range held {
		slot, err := decodeBallotSlot(raw[i*ballotSlotBytes:][:ballotSlotBytes])
		require.NoError(t, err)
		held[i] = slot.ballot
	}
	return held
}

// The state maintainer mirrors when nothing waits, and a clean stop does.
func TestMaintainerMirrorsTheBallot(t *testing.T) {
	s := idleServer(t)
	require.NoError(t, s.carryOut(member.Update{Ballot: &newVote, Commit: member.NoIndex}))
	mirrored := func() bool { return slots(t, s.cfg.Dir) == [2]member.Ballot{newVote, newVote} }
	saved := s.core.mirror.newest
	require.NoError(t, s.mirrorBallot(saved))
	require.False(t, mirrored(), "too early")
	require.True(t, s.deliver(t.Context(), letter{}))
	require.NoError(t, s.mirrorBallot(saved.Add(mirrorQuiet)))
	require.False(t, mirrored(), "somebody waits")
	s.stepAll(false)
	s.core.role.Role = member.Candidate
	require.NoError(t, s.mirrorBallot(saved.Add(mirrorQuiet)))
	require.False(t, mirrored(), "an election goes first")
	s.core.role.Role = member.Follower
	require.NoError(t, s.mirrorBallot(saved.Add(mirrorQuiet)))
	require.True(t, mirrored())

	newer := member.Ballot{Term: 9, Proven: true}
	require.NoError(t, s.carryOut(member.Update{Ballot: &newer, Commit: member.NoIndex}))
	require.False(t, s.ballot.mirrored)
	require.NoError(t, s.Close())
	require.Equal(t, [2]member.Ballot{newer, newer}, slots(t, s.cfg.Dir))
}

// A member that runs mirrors by itself, and goes on to run.
func TestRunningMemberMirrorsTheBallot(t *testing.T) {
	c := newCluster(t, 1, nil)
	l, _ := c.publish("x")
	require.Eventually(t, func() bool {
		raw, err := os.ReadFile(filepath.Join(c.dirs[l.id], ballotFileName))
		require.NoError(t, err)
		b, err := loadBallot(&memoryDisk{bytes: raw}, "ballot", ballotOwner{clusterID: "test", group: "g0", id: l.id})
		return err == nil && b.mirrored && b.load().Term > 0 // else read in the middle of a write
	}, patience, time.Millisecond)
	c.publish("y")
}

// Whatever happens to one slot of a mirrored file, the newest ballot counts or the
// member refuses to start.
func FuzzDamageOfMirroredBallot(f *testing.F) {
	f.Add(uint16(16), []byte{1})                                             // the term
	f.Add(uint16(ballotSlotBytes+16), []byte{1})                             // that of the other slot
	f.Add(uint16(8), []byte{2, 0, 0, 0, 0, 0, 0, 0, 1})                      // sequence and term
	f.Add(uint16(ballotCRCOffset), []byte{0xff})                             // the CRC
	f.Add(uint16(4), []byte{7})                                              // the version
	f.Add(uint16(ballotSlotBytes), bytes.Repeat([]byte{9}, ballotSlotBytes)) // all of it
	f.Fuzz(func(t *testing.T, at uint16, mask []byte) {
		disk := mirroredBallot(t, 0)
		from := int(at) % len(disk.bytes)
		slot := disk.bytes[from-from%ballotSlotBytes:][:ballotSlotBytes]
		for i, m := range mask {
			if from%ballotSlotBytes+i < len(slot) {
				slot[from%ballotSlotBytes+i] ^= m
			}
		}
		b, err := loadBallot(disk, "ballot", testOwner)
		if err == nil {
			require.Equal(t, newVote, b.load())
		}
	})
}
