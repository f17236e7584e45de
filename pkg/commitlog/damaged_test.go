package commitlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// tolerant is config for a member that may repair itself.
func tolerant(fs commitlog.FS) commitlog.Config {
	cfg := config(fs)
	cfg.TolerateDamage = true
	return cfg
}

// peerCopy fetches from an intact copy of the log.
func peerCopy(all [][]byte) commitlog.FetchEntries {
	return func(from, to Index) ([]byte, error) {
		return bytes.Join(all[from:min(to+1, from+2)], nil), nil // two at a time
	}
}

// repairAll replaces everything that is faulty.
func repairAll(l *commitlog.Log, all [][]byte) error {
	for _, r := range l.Faulty() {
		if err := l.Repair(r.First, peerCopy(all)); err != nil {
			return err
		}
	}
	if left := l.Faulty(); len(left) > 0 {
		return fmt.Errorf("still faulty: %v", left)
	}
	return nil
}

// readAround reads every entry by itself: a faulty one gives an error that says
// so and never bytes, all others are what they were.
func readAround(l *commitlog.Log, all [][]byte) error {
	faulty := map[Index]bool{}
	for _, r := range l.Faulty() {
		for i := r.First; i <= r.Last; i++ {
			faulty[i] = true
		}
	}
	end, _ := l.End()
	for i := Index(0); i <= end; i++ {
		for _, to := range []Index{i, end} {
			f, err := l.Read(i, to, 1<<20)
			switch {
			case faulty[i] && (!errors.Is(err, commitlog.ErrFaulty) || len(f.Bytes) > 0):
				return fmt.Errorf("entry %d is faulty: %d bytes, %w", i, len(f.Bytes), err)
			case !faulty[i] && err != nil:
				return fmt.Errorf("entry %d is not faulty: %w", i, err)
			case !faulty[i] && !bytes.Equal(f.Bytes, bytes.Join(all[i:f.Last+1], nil)):
				return fmt.Errorf("entries %d to %d are not what they were", i, f.Last)
			}
		}
	}
	return nil
}

// verdict is what became of a damaged log.
type verdict int

const (
	refused verdict = iota
	unharmed
	torn
	repaired
)

// judge opens a damaged log where damage is tolerated. It must be refused with
// nothing changed, or hold all entries (without the last `tail` ones if it has a
// torn tail), or say which are faulty and be as before once they are repaired,
// also when it is opened again and has grown.
func judge(fs *crashfs.FS, all [][]byte, tail int) (verdict, error) {
	fs.Record(true)
	l, err := commitlog.Open(tolerant(fs))
	if err != nil {
		for _, c := range fs.Calls() {
			if c.Op.Changes() && c.Op != crashfs.OpSyncDir {
				return refused, fmt.Errorf("refused, but it did: %v", c)
			}
		}
		if !refusal(err) {
			return refused, fmt.Errorf("refused with another error: %w", err)
		}
		return refused, nil
	}
	defer l.Abandon()
	if err := scrubAll(l); err != nil { // what Open has not read
		return 0, err
	}
	end, _ := l.End()
	if lost := len(all) - 1 - int(end); lost != 0 && (lost != tail || l.Recovery().TornBytes == 0) {
		return 0, fmt.Errorf("it ends at %d instead of %d: %+v", end, len(all)-1, l.Recovery())
	} else if lost != 0 {
		all = all[:len(all)-lost]
	}
	if err := readAround(l, all); err != nil {
		return 0, err
	}
	found := verdict(unharmed)
	switch {
	case len(l.Faulty()) > 0:
		found = repaired
	case l.Recovery().TornBytes > 0:
		found = torn
	}
	return found, mend(l, fs, all)
}

// mend appends to a damaged log, repairs it, and opens it again twice.
func mend(l *commitlog.Log, fs *crashfs.FS, all [][]byte) error {
	before := l.Faulty()
	_, term := l.End()
	l.BecomeMaster(term)
	if err := l.AppendMaster(term, Index(len(all)), []commitlog.Body{body(77, 500)}); err != nil {
		return err
	}
	if _, err := l.Sync(); err != nil {
		return err
	}
	f, err := l.Read(Index(len(all)), Index(len(all)), 1<<20)
	if err != nil {
		return err
	}
	all = append(all[:len(all):len(all)], f.Bytes)
	again, err := commitlog.Open(tolerant(fs.Fork())) // the fault is found again
	switch {
	case refusal(err) && l.Recovery().Trusted > 0: // the outline had known the terms of what is lost
	case err != nil:
		return fmt.Errorf("before the repair: %w", err)
	default:
		again.Abandon()
		if now := again.Faulty(); fmt.Sprint(now) != fmt.Sprint(before) {
			return fmt.Errorf("faulty is %v, it was %v", now, before)
		}
	}
	if err := repairAll(l, all); err != nil {
		return err
	}
	got, err := entries(l)
	if err != nil || !equalEntries(got, all) {
		return fmt.Errorf("repaired: %d of %d entries: %w", len(got), len(all), err)
	}
	l.Abandon()
	again, err = commitlog.Open(tolerant(fs))
	if err != nil {
		return fmt.Errorf("after the repair: %w", err)
	}
	defer again.Abandon()
	got, err = entries(again)
	if err != nil || !equalEntries(got, all) || len(again.Faulty()) > 0 {
		return fmt.Errorf("repaired and opened again: %d of %d entries, faulty %v: %w", len(got), len(all), again.Faulty(), err)
	}
	return nil
}

// Every byte has a bit flipped, one after another. Nothing goes unnoticed, and
// what is noticed is repaired.
func TestToleratedFlips(t *testing.T) {
	isLong := long(t)
	for _, closed := range []bool{true, false} {
		fs, all := damagedLog(t, closed)
		tail := 2 // the last group
		if closed {
			tail = 0
		}
		counts, tried := map[verdict]int{}, 0
		for _, path := range fs.Files() {
			data, err := fs.ReadFile(path)
			require.NoError(t, err)
			for i := range data {
				switch header := i%4096 <= 112; { // of a frame, or near it
				case isLong && !header && i%7 != 0, !isLong && !header && i%485 != 0, !isLong && i%5 != 0:
					continue
				}
				damaged := bytes.Clone(data)
				damaged[i] ^= 1 << (i % 8)
				disk := fs.Clone()
				disk.WriteFile(path, damaged)
				v, err := judge(disk, all, tail)
				require.NoError(t, err, "%s, byte %d, closed %v", path, i, closed)
				counts[v]++
				tried++
			}
		}
		require.Positive(t, counts[repaired])
		t.Logf("closed %v: %d flips: %d harmless, %d torn tails, %d repaired, %d refused, 0 undetected",
			closed, tried, counts[unharmed], counts[torn], counts[repaired], counts[refused])
	}
}

// Blocks are lost, also many at once, with frames of which nobody can say what
// they were: what is readable is right, and the rest comes back.
func TestToleratedLostBlocks(t *testing.T) {
	for _, closed := range []bool{true, false} {
		fs, all := damagedLog(t, closed)
		counts := map[verdict]int{}
		for n, path := range fs.Files() {
			data, err := fs.ReadFile(path)
			require.NoError(t, err)
			for from := 0; from < len(data); from += 4096 {
				for to := from + 4096; to <= len(data); to += 4096 {
					damaged := bytes.Clone(data)
					clear(damaged[from:to])
					disk := fs.Clone()
					disk.WriteFile(path, damaged)
					v, err := judge(disk, all, 2)
					if err != nil && n == len(fs.Files())-1 {
						// The end of the last segment, seal and all: as for a log
						// that tolerates nothing.
						require.NoError(t, prefix(disk, all, from), "%s, blocks %d to %d", path, from, to)
						continue
					}
					require.NoError(t, err, "%s, blocks %d to %d, closed %v", path, from, to, closed)
					counts[v]++
				}
			}
		}
		require.Positive(t, counts[repaired])
		t.Logf("closed %v: %v", closed, counts)
	}
}

// A truncation is lost together with what was written after it. What stands
// before it is stale, and is not taken for what the log held: the terms tell.
func TestLostTruncationIsNoticed(t *testing.T) {
	fs := newFS()
	cfg := config(fs)
	l := mustOpen(t, cfg)
	appendN(t, l, 1, 4, 100)
	mustSync(t, l)
	mustTruncate(t, l, 2)
	appendN(t, l, 2, 3, 100)
	mustSync(t, l)
	appendN(t, l, 2, 3, 100)
	mustSync(t, l)
	appendN(t, l, 2, 1, 100)
	mustSync(t, l)
	require.NoError(t, l.Close())
	path := fs.Files()[0]
	data, err := fs.ReadFile(path)
	require.NoError(t, err)
	clear(data[2*4096 : 4*4096]) // the truncation, and entries 2 to 4
	fs.WriteFile(path, data)
	_, err = commitlog.Open(tolerant(fs))
	require.True(t, refusal(err), "%v", err)
	require.ErrorContains(t, err, "the term changes within the damage")
}

// The segments come one after another with damage at the same place in each:
// fuzzing found what single flips do not show.
func FuzzOpenTolerant(f *testing.F) {
	fs := newFS()
	l := mustOpen(f, config(fs))
	for n := range 12 {
		appendN(f, l, 1, 2, 900+n)
		mustSync(f, l)
	}
	all := mustEntries(f, l)
	require.NoError(f, l.Close())
	last := len(fs.Files()) - len(outlineFiles(fs)) - 1 // it may end in a torn tail
	f.Add(uint16(0), uint32(4200), []byte{1}, uint32(9000))
	f.Add(uint16(1), uint32(8192), []byte("LMGF"), uint32(100))
	f.Add(uint16(0), uint32(4096), make([]byte, 8192), uint32(20000))
	f.Fuzz(func(t *testing.T, file uint16, at uint32, bytesThere []byte, flip uint32) {
		files := fs.Files()
		disk := fs.Clone()
		path := slices.Delete(files, last, last+1)[int(file)%(len(files)-1)]
		data, err := disk.ReadFile(path)
		require.NoError(t, err)
		copy(data[int(at)%len(data):], bytesThere)
		data[int(flip)%len(data)] ^= 0x10
		disk.WriteFile(path, data)
		_, err = judge(disk, all, 0)
		require.NoError(t, err)
	})
}
