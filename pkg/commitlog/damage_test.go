package commitlog_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// damagedLog is a log of a few segments, with a truncation in it, in which
// damage is looked for. Closed, it ends with a seal; else with a group whose
// durability nothing proves.
func damagedLog(t *testing.T, closed bool) (*crashfs.FS, [][]byte) {
	t.Helper()
	fs := newFS()
	cfg := config(fs)
	cfg.SegmentBytes = 20 << 10
	l := mustOpen(t, cfg)
	appendN(t, l, 1, 3, 1500)
	mustSync(t, l)
	appendN(t, l, 1, 3, 2500)
	mustSync(t, l)
	appendN(t, l, 2, 3, 100)
	mustSync(t, l)
	mustTruncate(t, l, 7)
	appendN(t, l, 3, 2, 2500)
	mustSync(t, l)
	appendN(t, l, 3, 2, 100)
	mustSync(t, l)
	all := mustEntries(t, l)
	if closed {
		require.NoError(t, l.Close())
		dropOutlines(t, fs) // what is found without them; outlines_test.go has the rest
	} else {
		l.Abandon()
	}
	return fs, all
}

// refusal says whether an error is one of those that refuse damage.
func refusal(err error) bool {
	var corruption *commitlog.CorruptionError
	var identity *commitlog.IdentityError
	return asType(err, &corruption) || asType(err, &identity)
}

// outcome opens a damaged log, which must be refused, or hold all entries, or
// (if torn allows it) all but the last group. A refusal changes nothing on disk.
func outcome(fs *crashfs.FS, all [][]byte, torn int) (refused bool, err error) {
	fs.Record(true)
	l, err := commitlog.Open(config(fs))
	if err != nil {
		for _, c := range fs.Calls() {
			if c.Op.Changes() && c.Op != crashfs.OpSyncDir {
				return true, fmt.Errorf("refused, but it did: %v", c)
			}
		}
		if !refusal(err) {
			return true, fmt.Errorf("refused with another error: %w", err)
		}
		return true, nil
	}
	defer l.Abandon()
	got, err := entries(l)
	switch {
	case err != nil:
		return false, err
	case equalEntries(got, all):
		return false, nil
	case torn > 0 && equalEntries(got, all[:len(all)-torn]) && l.Recovery().TornBytes > 0:
		return false, nil
	}
	return false, fmt.Errorf("opened with %d entries of %d, recovery %+v", len(got), len(all), l.Recovery())
}

// Every byte has a bit flipped, one after another.
func TestFlippedBytes(t *testing.T) {
	stride := 37
	if long(t) {
		stride = 1
	}
	for _, closed := range []bool{true, false} {
		fs, all := damagedLog(t, closed)
		torn := 2 // the last group
		if closed {
			torn = 0
		}
		tried, refused := 0, 0
		for _, path := range fs.Files() {
			data, err := fs.ReadFile(path)
			require.NoError(t, err)
			for i := range data {
				// Every byte of the headers at the start of a block; of the rest some.
				if i%stride != 0 && i%4096 > 112 {
					continue
				}
				damaged := bytes.Clone(data)
				damaged[i] ^= 1 << (i % 8)
				disk := fs.Clone()
				disk.WriteFile(path, damaged)
				no, err := outcome(disk, all, torn)
				require.NoError(t, err, "%s, byte %d, closed %v", path, i, closed)
				tried++
				if no {
					refused++
				}
			}
		}
		t.Logf("closed %v: %d flips, %d refused", closed, tried, refused)
	}
}

// Blocks are lost: zeros stand where something had been written.
func TestLostBlocks(t *testing.T) {
	for _, closed := range []bool{true, false} {
		fs, all := damagedLog(t, closed)
		for _, path := range fs.Files() {
			data, err := fs.ReadFile(path)
			require.NoError(t, err)
			for from := 0; from < len(data); from += 4096 {
				for to := from + 4096; to <= len(data); to += 4096 {
					damaged := bytes.Clone(data)
					clear(damaged[from:to])
					disk := fs.Clone()
					disk.WriteFile(path, damaged)
					_, err := outcome(disk, all, 2)
					if err != nil && path == fs.Files()[len(fs.Files())-1] {
						// The end of the last segment, seal and all: nothing is left
						// that could tell it from a crash. What is kept is a prefix.
						require.NoError(t, prefix(disk, all, from), "%s, blocks %d to %d", path, from, to)
						continue
					}
					require.NoError(t, err, "%s, blocks %d to %d, closed %v", path, from, to, closed)
				}
			}
		}
	}
}

// Frames go missing that a truncation and the same entries again had written:
// what is left fits the next segment, and is not what was there.
func TestLostFramesAreNoticed(t *testing.T) {
	fs := newFS()
	l := mustOpen(t, config(fs))
	appendN(t, l, 1, 4, 100)
	mustSync(t, l)
	all := mustEntries(t, l)
	mustTruncate(t, l, 2)
	require.NoError(t, l.AppendSlave(bytes.Join(all[2:], nil)))
	mustSync(t, l)
	appendN(t, l, 1, 1, 20_000)
	mustSync(t, l)
	l.Abandon()
	path := fs.Files()[0]
	data, err := fs.ReadFile(path)
	require.NoError(t, err)
	clear(data[2*4096:])
	fs.WriteFile(path, data)
	_, err = commitlog.Open(config(fs))
	require.True(t, refusal(err), "%v", err)
}

// A frame that fits in everything but the segment it was written to: what a
// file that is used again has behind its new content.
func TestStaleFrames(t *testing.T) {
	var disks [2]*crashfs.FS
	for i := range disks {
		disks[i] = newFS()
		l := mustOpen(t, config(disks[i]))
		appendN(t, l, 1, 1, 100)
		mustSync(t, l)
		if i == 1 {
			appendN(t, l, 1, 1, 100)
			mustSync(t, l)
		}
		l.Abandon()
	}
	path := disks[0].Files()[0]
	ours, err := disks[0].ReadFile(path)
	require.NoError(t, err)
	stale, err := disks[1].ReadFile(path)
	require.NoError(t, err)
	copy(ours[2*4096:3*4096], stale[2*4096:3*4096])
	disks[0].WriteFile(path, ours)
	l := mustOpen(t, config(disks[0]))
	requireCount(t, l, 1)
	require.Equal(t, int64(4096), l.Recovery().TornBytes)
}

// prefix checks that a log that lost everything after a position opens with
// some of the first entries.
func prefix(fs *crashfs.FS, all [][]byte, from int) error {
	l, err := commitlog.Open(config(fs))
	if err != nil {
		return err
	}
	defer l.Abandon()
	got, err := entries(l)
	if err != nil {
		return err
	}
	if from < 4096 || len(got) >= len(all) || !equalEntries(got, all[:len(got)]) {
		return fmt.Errorf("%d of %d entries", len(got), len(all))
	}
	return nil
}

// Every file is cut off at every length, and made longer.
func TestCutOffFiles(t *testing.T) {
	for _, closed := range []bool{true, false} {
		fs, all := damagedLog(t, closed)
		for _, path := range fs.Files() {
			data, err := fs.ReadFile(path)
			require.NoError(t, err)
			for n := 0; n < len(data); n += 512 {
				disk := fs.Clone()
				disk.WriteFile(path, data[:n])
				refused, err := outcome(disk, all, 0)
				require.NoError(t, err, "%s cut off at %d", path, n)
				if n < 20<<10 { // a segment is never shorter than it was made
					require.True(t, refused, "%s cut off at %d", path, n)
				}
			}
			disk := fs.Clone()
			disk.WriteFile(path, append(bytes.Clone(data), bytes.Repeat([]byte{7}, 5000)...))
			_, err = outcome(disk, all, 0)
			require.NoError(t, err, "%s made longer", path)
		}
	}
}

// Files go missing, change places, come from elsewhere.
func TestMisplacedFiles(t *testing.T) {
	fs, all := damagedLog(t, true)
	files := fs.Files()
	require.GreaterOrEqual(t, len(files), 3)
	read := func(i int) []byte {
		data, err := fs.ReadFile(files[i])
		require.NoError(t, err)
		return data
	}
	for i := range files {
		disk := fs.Clone()
		require.NoError(t, disk.Remove(files[i]))
		if i == 0 {
			// Just as a purge leaves it: whoever needs the entries finds
			// that Begin is beyond them.
			l := mustOpen(t, config(disk))
			require.Positive(t, l.Begin())
			got := mustEntries(t, l)
			require.True(t, equalEntries(got, all[l.Begin():]))
			continue
		}
		refused, err := outcome(disk, all, 0)
		require.NoError(t, err)
		require.True(t, refused, "%s removed", files[i])
	}
	for i := range files {
		for k := range files {
			if i == k {
				continue
			}
			disk := fs.Clone() // k's content under i's name, and under a name of its own
			disk.WriteFile(files[i], read(k))
			_, err := commitlog.Open(config(disk))
			require.True(t, refusal(err), "%s is a copy of %s: %v", files[i], files[k], err)
			disk = fs.Clone()
			disk.WriteFile(filepath.Join(dir, fmt.Sprintf("%020d.seg", 100+k)), read(k))
			_, err = commitlog.Open(config(disk))
			require.True(t, refusal(err), "a copy of %s: %v", files[k], err)
		}
	}
}

// A directory of somebody else is refused by name.
func TestSomebodyElsesFiles(t *testing.T) {
	fs, _ := damagedLog(t, true)
	for _, change := range []func(*commitlog.Config){
		func(c *commitlog.Config) { c.ClusterID = "other" },
		func(c *commitlog.Config) { c.Group = "other" },
		func(c *commitlog.Config) { c.MemberID = "other" },
	} {
		cfg := config(fs)
		change(&cfg)
		_, err := commitlog.Open(cfg)
		var identity *commitlog.IdentityError
		require.ErrorAs(t, err, &identity)
		require.Equal(t, commitlog.Identity{ClusterID: "c", Group: "g0", MemberID: "n1"}, identity.Found)
		require.ErrorContains(t, err, `member "n1" of group "g0" in cluster "c"`)
		require.ErrorContains(t, err, `"other"`)
	}
	// One segment of another member among ours.
	files := fs.Files()
	other := newFS()
	cfg := config(other)
	cfg.MemberID = "n2"
	l := mustOpen(t, cfg)
	require.NoError(t, l.Close())
	data, err := other.ReadFile(other.Files()[0])
	require.NoError(t, err)
	fs.WriteFile(files[1], data)
	_, err = commitlog.Open(config(fs))
	require.True(t, refusal(err), "%v", err)
}

// Damage after Open is met by a read, and never returned.
func TestReadFindsDamage(t *testing.T) {
	fs, all := damagedLog(t, true)
	l := mustOpen(t, config(fs))
	mustEntries(t, l)
	path := fs.Files()[0]
	data, err := fs.ReadFile(path)
	require.NoError(t, err)
	at := bytes.Index(data, all[1]) + 100
	require.NoError(t, damage(fs, path, int64(at)))
	f, err := l.Read(0, 5, 1<<20)
	require.Empty(t, f.Bytes)
	var corruption *commitlog.CorruptionError
	require.ErrorAs(t, err, &corruption)
	require.Equal(t, Index(1), corruption.Index)
	require.Equal(t, path, corruption.Path)
	f, err = l.Read(0, 0, 1<<20) // neighbours are still readable
	require.NoError(t, err)
	require.Equal(t, all[0], f.Bytes)
	_, err = l.Read(2, 5, 1<<20)
	require.NoError(t, err)
}

func damage(fs *crashfs.FS, path string, at int64) error {
	f, err := fs.Open(path)
	if err != nil {
		return err
	}
	if err := f.WriteAt(at, []byte{0xDE, 0xAD}); err != nil {
		return err
	}
	return f.Sync()
}

// The message says where, what, and what to do.
func TestCorruptionMessage(t *testing.T) {
	fs, all := damagedLog(t, true)
	path := fs.Files()[1]
	data, err := fs.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, damage(fs, path, int64(bytes.Index(data, all[4])+60)))
	_, err = commitlog.Open(config(fs))
	require.Error(t, err)
	for _, want := range []string{path, "position 4096", "entry 3", "body CRC", "proves that it had been durable", "nothing was changed"} {
		require.Truef(t, strings.Contains(err.Error(), want), "%q is not in: %v", want, err)
	}
}

// What a torn group left behind must not come to life when a shorter group is
// written over its beginning.
func TestTornTailIsWiped(t *testing.T) {
	fs := newFS()
	cfg := config(fs)
	cfg.SegmentBytes = 64 << 10
	cfg.PageCache = true // frames that were never synced may stand behind the torn one
	l := mustOpen(t, cfg)
	for range 4 {
		appendN(t, l, 1, 1, 5000)
		mustSync(t, l)
	}
	l.Abandon()
	path := fs.Files()[0]
	require.NoError(t, damage(fs, path, 4096+8192+100)) // in the second group
	disk := fs.Clone()
	l = mustOpen(t, config(disk))
	requireCount(t, l, 1)
	require.Equal(t, int64(3*8192), l.Recovery().TornBytes)
	appendN(t, l, 1, 1, 10)
	mustSync(t, l)
	l.Abandon()
	l = mustOpen(t, config(disk))
	requireCount(t, l, 2)
	require.Zero(t, l.Recovery().TornBytes)
}
