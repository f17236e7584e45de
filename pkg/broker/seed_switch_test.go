package broker

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/seed"
)

// switchDir is a data directory with a decided seed, in which each directory holds
// one file that says whether it is old or new.
func switchDir(t *testing.T) *dataDir {
	t.Helper()
	d := &dataDir{path: t.TempDir()}
	for dir, content := range map[string]string{
		d.log(): "old", d.state(): "old", d.stagedLog(): "new", seed.Files(d.staged()): "new", d.ledger(): "ballot",
	} {
		require.NoError(t, os.MkdirAll(dir, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "content"), []byte(content), 0o600))
	}
	for dir, content := range map[string]string{d.ledger(): "old", d.staged(): "new"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "members"), []byte(content), 0o600))
	}
	m := &seed.Manifest{ClusterID: "c", Group: group, Begin: 7, PrevTerm: 1, Applied: 9, AppliedTerm: 1, Files: []seed.File{{Name: "x"}}}
	require.NoError(t, writeDurably(d.path, switchMarker, m.Encode()))
	return d
}

func requireContent(t *testing.T, dir, want string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, "content"))
	require.NoError(t, err)
	require.Equal(t, want, string(got))
}

// TestSwitchIsFinishedFromEveryStep cuts the installing short after each step, and
// after each step that follows in the next attempt.
func TestSwitchIsFinishedFromEveryStep(t *testing.T) {
	steps := len((&dataDir{}).switchSteps())
	for first := range steps + 1 {
		for second := range steps {
			d := switchDir(t)
			attempt := func(n int) {
				for _, s := range d.switchSteps()[:n] {
					require.NoError(t, s.do(), "%d, %d: %s", first, second, s.name)
				}
			}
			attempt(first)
			if first < steps { // else there is no next attempt
				attempt(second)
			}
			installed, err := d.finishSwitch()
			require.NoError(t, err)
			require.Equal(t, first < steps, installed)
			requireContent(t, d.log(), "new")
			requireContent(t, d.state(), "new")
			requireContent(t, d.ledger(), "ballot")
			members, err := os.ReadFile(filepath.Join(d.ledger(), "members"))
			require.NoError(t, err)
			require.Equal(t, "new", string(members))
			require.NoFileExists(t, filepath.Join(d.path, switchMarker))
			require.NoDirExists(t, d.log()+oldSuffix)
			again, err := d.finishSwitch()
			require.NoError(t, err)
			require.False(t, again)
			requireContent(t, d.state(), "new")
		}
	}
}

func TestSwitchWithoutADecision(t *testing.T) {
	d := switchDir(t)
	require.NoError(t, os.Remove(filepath.Join(d.path, switchMarker)))
	installed, err := d.finishSwitch()
	require.NoError(t, err)
	require.False(t, installed)
	requireContent(t, d.log(), "old")
	requireContent(t, d.state(), "old")
	requireContent(t, d.stagedLog(), "new")
}

func TestDamagedSwitchIsRefused(t *testing.T) {
	d := switchDir(t)
	path := filepath.Join(d.path, switchMarker)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	raw[20] ^= 4
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	_, err = d.finishSwitch()
	require.ErrorIs(t, err, ErrDataDir)
	requireContent(t, d.log(), "old")
	requireContent(t, d.state(), "old")
}

// TestCrashAtEachStepOfTheSwitch does the same with real data: whatever step was
// the last before the crash, the member comes back and becomes as the others.
func TestCrashAtEachStepOfTheSwitch(t *testing.T) {
	_, leader, _, victim, queue := seedCluster(t, nil)
	home := victim.cfg.Node.Data
	victim.startWith(victim.cfg)
	require.ErrorIs(t, <-victim.done, ErrSeeded)
	victim.done <- nil
	require.FileExists(t, filepath.Join(home, switchMarker))

	steps := (&dataDir{}).switchSteps()
	for n := -1; n <= len(steps); n++ {
		victim.cfg.Node.Data = filepath.Join(t.TempDir(), fmt.Sprint("copy", n))
		require.NoError(t, os.CopyFS(victim.cfg.Node.Data, os.DirFS(home)))
		d := &dataDir{path: victim.cfg.Node.Data}
		if n < 0 { // before the decision: the old data, and a whole seed to resume
			require.NoError(t, os.Remove(filepath.Join(d.path, switchMarker)))
		}
		for _, s := range d.switchSteps()[:max(n, 0)] {
			require.NoError(t, s.do(), s.name)
		}
		opened := victim.serve()
		if n < 0 {
			victim.take(opened)
		}
		requireSame(t, leader, victim)
		leader.publishBulk(queue, 31+n, 31+n)
		requireSame(t, leader, victim)
		victim.kill()
	}
}

// giveUp writes into a members file that its member was given up (docs/format/members.md).
func giveUp(t *testing.T, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	text, _, found := strings.Cut(string(raw), "crc32c ")
	require.True(t, found)
	text = strings.Replace(text, "format 1\n", "format 2\n", 1)
	text = strings.Replace(text, "recoveries 0\n", "given-up \"by n2\"\nrecoveries 0\n", 1)
	text = fmt.Sprintf("%scrc32c %08x\n", text, crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

// TestSeedIsAcceptedOnlyIfNeeded asks a broker with entries 0 to 3 of term 1.
func TestSeedIsAcceptedOnlyIfNeeded(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.publishBulk(queue, 0, 1)
	manifest := func(change func(*seed.Manifest)) *seed.Manifest {
		m := &seed.Manifest{
			ClusterID: n.b.cfg.Cluster.ID, Group: group, Begin: 100, PrevTerm: 1, Applied: 120, AppliedTerm: 1,
			Files: []seed.File{{Name: "x"}},
		}
		change(m)
		return m
	}
	require.NoError(t, n.b.acceptSeed(manifest(func(*seed.Manifest) {})))
	require.ErrorIs(t, n.b.acceptSeed(manifest(func(m *seed.Manifest) { m.ClusterID = "other" })), seed.ErrManifest)
	require.ErrorIs(t, n.b.acceptSeed(manifest(func(m *seed.Manifest) { m.Group = "other" })), seed.ErrManifest)
	require.ErrorIs(t, n.b.acceptSeed(manifest(func(m *seed.Manifest) { m.PrevTerm = 99 })), seed.ErrManifest, "the ballot is behind")
	unneeded := manifest(func(m *seed.Manifest) { m.Begin = 2 })
	require.ErrorIs(t, n.b.acceptSeed(unneeded), errSeedUnneeded)

	n.shutdown()
	giveUp(t, dledger.MembersFile(n.b.dir.ledger()))
	n.startWith(n.cfg)
	require.ErrorIs(t, n.b.acceptSeed(manifest(func(*seed.Manifest) {})), errGivenUp, "its new directory would not know")

	require.NoError(t, os.MkdirAll(seed.Files(n.b.dir.staged()), 0o700))
	require.NoError(t, n.b.decideSeed(unneeded), "what came meanwhile counts")
	require.NoFileExists(t, filepath.Join(n.cfg.Node.Data, switchMarker))
	require.NoDirExists(t, n.b.dir.staged())
}
