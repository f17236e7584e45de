package dledger

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// A power cut at any moment of a write, with anything of what is not synced lost,
// leaves the record before it or the new one, whole.
func TestMembersFileSurvivesPowerCuts(t *testing.T) {
	before, after := testRecord(), testRecord()
	after.changes = append(after.changes, member.Change{At: 18, Term: 4, Members: before.group()[:1]})
	start := crashfs.New()
	f := &membersFile{fs: start, dir: "/d"}
	require.NoError(t, f.save(before))
	calls := crashCalls(t, start, after)
	require.Greater(t, calls, 3)
	seen := map[int]int{}
	for cut := range calls + 1 {
		for variant := range 8 {
			disk := start.Clone()
			disk.FailFrom(cut+1, errors.New("power is gone"), func(crashfs.Call) bool { return true })
			err := (&membersFile{fs: disk, dir: "/d", record: before}).save(after)
			loss := crashfs.Loss{
				KeepDirOp:  func(int) bool { return variant&1 != 0 },
				KeepSector: func(string, int64) bool { return variant&2 != 0 },
			}
			disk.SetFault(nil)
			left := disk.CrashWith(loss)
			got, readErr := readMembersFile(left, "/d", testOwner)
			require.NoError(t, readErr, "cut at call %d, variant %d", cut, variant)
			require.Contains(t, []int{2, 3}, len(got.record.changes))
			seen[len(got.record.changes)]++
			if err == nil {
				require.Equal(t, after, got.record, "it was said to be durable")
			}
		}
	}
	require.Len(t, seen, 2, "both were seen")
}

// crashCalls counts the calls of one write.
func crashCalls(t *testing.T, start *crashfs.FS, next membersRecord) int {
	t.Helper()
	disk := start.Clone()
	disk.Record(true)
	require.NoError(t, (&membersFile{fs: disk, dir: "/d"}).save(next))
	return len(disk.Calls())
}

// What was read is durable before anyone acts upon it.
func TestMembersFileIsSettledWhenRead(t *testing.T) {
	disk := crashfs.New()
	require.NoError(t, (&membersFile{fs: disk, dir: "/d"}).save(membersRecord{owner: testOwner}))
	// The process is killed after its rename and before its sync of the directory.
	disk.FailFrom(1, syscall.EIO, func(c crashfs.Call) bool { return c.Op == crashfs.OpSyncDir })
	require.Error(t, (&membersFile{fs: disk, dir: "/d"}).save(testRecord()))
	disk.SetFault(nil)
	f, err := readMembersFile(disk, "/d", testOwner)
	require.NoError(t, err)
	require.Equal(t, testRecord(), f.record)
	f, err = readMembersFile(disk.CrashWith(crashfs.Loss{}), "/d", testOwner)
	require.NoError(t, err)
	require.Equal(t, testRecord(), f.record)
}

func TestMembersFileFailureIsFinal(t *testing.T) {
	disk := crashfs.New()
	f := &membersFile{fs: disk, dir: "/d"}
	require.NoError(t, f.save(testRecord()))
	disk.FailFrom(1, syscall.EIO, func(c crashfs.Call) bool { return c.Op == crashfs.OpSync })
	require.ErrorIs(t, f.save(testRecord()), syscall.EIO)
	disk.SetFault(nil)
	require.ErrorContains(t, f.save(testRecord()), "failed before")
}

func TestMembersFileOfAnother(t *testing.T) {
	disk := crashfs.New()
	require.NoError(t, (&membersFile{fs: disk, dir: "/d"}).save(testRecord()))
	_, err := readMembersFile(disk, "/d", ballotOwner{clusterID: "test", group: "g0", id: "n2"})
	require.ErrorContains(t, err, "belongs to member n1")
	_, err = readMembersFile(disk, "/e", testOwner)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// The configuration counts until the group has lived, the file from then on.
func TestMembersFileAgainstConfiguration(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.leader()
	c.shutDown("n1")
	path := filepath.Join(c.dirs["n1"], membersFileName)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)

	cfg := c.config("n1", false)
	cfg.Peers = map[member.ID]string{"n1": c.addrs["n1"], "n2": "127.0.0.1:1", "n3": "127.0.0.1:2"}
	s, err := Open(cfg)
	require.NoError(t, err)
	require.Equal(t, []member.ID{"n1"}, seatIDs(s.Status().Members), "the group has lived")
	require.NoError(t, s.Close())

	require.NoError(t, os.Remove(path))
	_, err = Open(c.config("n1", false))
	require.ErrorContains(t, err, "this member cannot know which group it is in and must not start")
	require.NoError(t, os.WriteFile(path, raw[:len(raw)-5], 0o600))
	_, err = Open(c.config("n1", false))
	require.ErrorIs(t, err, errMembersFile)
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	s, err = Open(c.config("n1", false))
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

// A member of before there were members files takes its group from the configuration
// once, and needs the file from then on.
func TestMembersFileOfAnOldDirectory(t *testing.T) {
	cfg := lonerConfig(t)
	owner := ballotOwner{clusterID: cfg.ClusterID, group: cfg.Group, id: cfg.ID}
	require.NoError(t, createBallot(cfg.Dir, owner))
	b, err := openBallot(cfg.Dir, owner)
	require.NoError(t, err)
	require.NoError(t, b.write(ballotSlot{owner: owner, sequence: 2, ballot: member.Ballot{Term: 3, Proven: true}, version: 2}))
	require.NoError(t, b.close())
	log, err := commitlog.Open(logConfig(cfg.withDefaults()))
	require.NoError(t, err)
	require.NoError(t, log.Close())

	cfg.Fresh, cfg.Registerer = false, nil
	s, err := Open(cfg)
	require.NoError(t, err)
	require.Equal(t, member.Ballot{Term: 3, Proven: true}, s.ballot.load())
	require.NoError(t, s.Close())
	require.NoError(t, os.Remove(filepath.Join(cfg.Dir, membersFileName)))
	_, err = Open(cfg)
	require.ErrorContains(t, err, "this member cannot know which group it is in")
}

// Before the group has lived a mistake in the configuration can be corrected.
func TestMembersFileOfAGroupThatNeverLived(t *testing.T) {
	cfg := lonerConfig(t)
	cfg.Peers = map[member.ID]string{"n1": "127.0.0.1:1", "n2": "127.0.0.1:2", "n3": "127.0.0.1:3"}
	s, err := Open(cfg)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	cfg.Fresh, cfg.Registerer = false, nil
	cfg.Peers = map[member.ID]string{"n1": "127.0.0.1:1", "n2": "127.0.0.1:22", "n3": "127.0.0.1:3"}
	s, err = Open(cfg)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:22", s.peer("n2").addr)
	require.NoError(t, s.Close())
}
