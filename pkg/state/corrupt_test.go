package state

import (
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// damaged returns a copy of a store's files in which one was changed by spoil; a
// nil result of spoil removes it.
func damaged(t *testing.T, from *vfs.MemFS, name string, spoil func([]byte) []byte) *vfs.MemFS {
	t.Helper()
	to := vfs.NewMem()
	ok, err := vfs.Clone(from, to, "state", "state")
	require.NoError(t, err)
	require.True(t, ok)
	path := to.PathJoin("state", name)
	f, err := to.Open(path)
	require.NoError(t, err)
	bytes, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, to.Remove(path))
	if bytes = spoil(bytes); bytes == nil {
		return to
	}
	f, err = to.Create(path, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write(bytes)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return to
}

// TestDamageIsNoticed: a store with a damaged file does not open, or reading it
// fails, or it is what it once was; it never holds anything else.
func TestDamageIsNoticed(t *testing.T) {
	fs := vfs.NewMem()
	s := openIn(t, fs)
	hashes := map[Index]uint32{NoIndex: 0}
	rng := rand.New(rand.NewPCG(5, 5))
	applyInGroups(t, s, madeUp(t, 6, 900).entries, rng, 40, func() {
		hash, at := s.Hash()
		hashes[at] = hash
		if rng.IntN(8) == 0 {
			require.NoError(t, s.Flush())
		}
	})
	require.NoError(t, s.Close())
	names, err := fs.List("state")
	require.NoError(t, err)

	noticed := map[string]int{}
	for _, name := range names {
		if info, err := fs.Stat(fs.PathJoin("state", name)); err != nil || info.IsDir() || name == "LOCK" {
			continue
		}
		for round := range 12 {
			fs := damaged(t, fs, name, func(b []byte) []byte {
				switch {
				case round == 0:
					return nil
				case round < 3:
					return append([]byte{}, b[:rng.IntN(len(b)+1)]...)
				case len(b) > 0:
					b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
				}
				return b
			})
			if err := openDamaged(fs, hashes); err != nil {
				require.NotErrorIs(t, err, errWrong, name)
				noticed[strings.Trim(name, "-.0123456789")]++
			}
		}
	}
	require.Greater(t, noticed["sst"], 20)
	require.Greater(t, noticed["MANIFEST"], 5)
}

var errWrong = errors.New("store opened in a state that never was")

func openDamaged(fs vfs.FS, hashes map[Index]uint32) error {
	s, err := Open(Config{Dir: "state", FS: fs})
	if err != nil {
		return err
	}
	defer s.Abandon()
	if _, _, err := s.FullHash(); err != nil {
		return err
	}
	if hash, at := s.Hash(); hashes[at] != hash {
		return errWrong
	}
	return nil
}

// TestOpenRefusesImpossibleValues writes what Apply never writes.
func TestOpenRefusesImpossibleValues(t *testing.T) {
	topic := &Topic{Name: "a", Queues: []QueueID{1}}
	cases := map[string]func(b *pebble.Batch){
		"no format":            func(b *pebble.Batch) { del(b, formatKey()) },
		"long format":          func(b *pebble.Batch) { set(b, formatKey(), []byte{1, 1}) },
		"short applied":        func(b *pebble.Batch) { set(b, appliedKey(), []byte{1, 2}) },
		"negative applied":     func(b *pebble.Batch) { set(b, appliedKey(), applied{index: -2, nextQueue: 1}.append(nil)) },
		"garbage topic":        func(b *pebble.Batch) { set(b, appendTopicKey(nil, "b"), []byte{1, 0, 5}) },
		"topic without queues": func(b *pebble.Batch) { set(b, appendTopicKey(nil, "b"), []byte{1, 0, 0}) },
		"queue of two topics":  func(b *pebble.Batch) { set(b, appendTopicKey(nil, "b"), topic.append(nil)) },
		"queue not given out":  func(b *pebble.Batch) { set(b, appendTopicKey(nil, "b"), (&Topic{Queues: []QueueID{77}}).append(nil)) },
		"topic without name":   func(b *pebble.Batch) { set(b, []byte{prefixTopic}, topic.append(nil)) },
		"producer key":         func(b *pebble.Batch) { set(b, []byte{prefixProducer, 1}, (&producer{}).append(nil)) },
		"uses since never":     func(b *pebble.Batch) { set(b, appendMoreKey(nil, prefixUses, 0), []byte{1, 0}) },
		"producer used never":  func(b *pebble.Batch) { set(b, appendProducerKey(nil, 9), []byte{2, 0, 0, 0}) },
		"producer value":       func(b *pebble.Batch) { set(b, appendProducerKey(nil, 9), []byte{2}) },
		"request key":          func(b *pebble.Batch) { set(b, []byte{prefixRequest, 1}, appendRequest(nil, "x", Outcome{})) },
		"request value":        func(b *pebble.Batch) { set(b, appendRequestKey(nil, 3), []byte{1, 200}) },
		"window key":           func(b *pebble.Batch) { set(b, []byte{prefixWindow, 1}, []byte{1}) },
		"window of no queue":   func(b *pebble.Batch) { set(b, appendWindowKey(nil, 55, 2), []byte{1}) },
		"window of nobody":     func(b *pebble.Batch) { set(b, appendWindowKey(nil, 1, 55), []byte{1}) },
		"window of nothing":    func(b *pebble.Batch) { set(b, appendWindowKey(nil, 1, 2), []byte{1, 0, 0, 0}) },
		"block key":            func(b *pebble.Batch) { set(b, append(appendBlockKey(nil, 1, 70), 0), []byte{1, 1, 1}) },
		"block value":          func(b *pebble.Batch) { set(b, appendBlockKey(nil, 1, 70), []byte{1, 0, 1}) },
		"empty block":          func(b *pebble.Batch) { set(b, appendBlockKey(nil, 1, 70), []byte{1}) },
		"block beyond applied": func(b *pebble.Batch) { set(b, appendBlockKey(nil, 1, 70), []byte{1, 99, 1}) },
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			s := openIn(t, fs)
			apply(t, s, createEntry(t, "a", 1), registerEntry(t, ""))
			b := s.db.NewBatch()
			spoil(b)
			require.NoError(t, b.Commit(pebble.NoSync))
			require.NoError(t, s.Close())
			_, err := Open(Config{Dir: "state", FS: fs})
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, "state store state is corrupt: ")
		})
	}
}

func TestOpenRefusesAnotherFormat(t *testing.T) {
	fs := vfs.NewMem()
	s := openIn(t, fs)
	apply(t, s, createEntry(t, "a", 1))
	require.NoError(t, s.db.Set(formatKey(), []byte{formatVersion + 1}, pebble.NoSync))
	require.NoError(t, s.Close())
	_, err := Open(Config{Dir: "state", FS: fs})
	require.NotErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "has format 2, this build knows 1")
}

func TestOpenRefusesBadConfig(t *testing.T) {
	for _, cfg := range []Config{{}, {Dir: "x", CacheBytes: -1}, {Dir: "x", FlushInterval: -1}, {Dir: "x", MemTableBytes: 1}} {
		_, err := Open(cfg)
		require.ErrorContains(t, err, "state: config: ")
	}
}

func TestOpenTwiceIsRefused(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Config{Dir: dir})
	require.NoError(t, err)
	defer s.Abandon()
	_, err = Open(Config{Dir: dir})
	require.ErrorContains(t, err, "open store "+dir)
	require.NotErrorIs(t, err, ErrCorrupt)
}

// TestFailedWriteIsFinal: after a flush that could not be written nothing is
// applied any more, and what was durable before still is.
func TestFailedWriteIsFinal(t *testing.T) {
	mem := vfs.NewMem()
	var toggle errorfs.Toggle
	toggle.Injector = errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo || op.Kind == errorfs.OpFileClose {
			if strings.HasSuffix(op.Path, ".sst") {
				return errorfs.ErrInjected
			}
		}
		return nil
	})
	s, err := Open(Config{Dir: "state", FS: errorfs.Wrap(mem, &toggle), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	entries := madeUp(t, 7, 300).entries
	_, err = s.Apply(entries[:100])
	require.NoError(t, err)
	require.NoError(t, s.Flush())
	_, err = s.Apply(entries[100:200])
	require.NoError(t, err)
	toggle.On()
	require.ErrorIs(t, s.Flush(), errorfs.ErrInjected)
	require.ErrorIs(t, s.Flush(), errorfs.ErrInjected)
	_, err = s.Apply(entries[200:])
	require.ErrorIs(t, err, errorfs.ErrInjected)
	require.Equal(t, Index(199), s.Applied())
	require.Equal(t, Index(99), s.DurableApplied())
	require.ErrorIs(t, s.Close(), errorfs.ErrInjected)

	s = openIn(t, mem)
	defer s.Abandon()
	require.Equal(t, Index(99), s.Applied())
	_, err = s.Apply(entries[100:])
	require.NoError(t, err)
}

// TestPebbleEndsTheProcess: what Pebble calls fatal, or panics at, reaches whoever can end
// the process in order, with its cause.
func TestPebbleEndsTheProcess(t *testing.T) {
	for what, fails := range map[string]func(errorfs.Op) bool{
		"MANIFEST": func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpFileWrite && strings.Contains(op.Path, "MANIFEST")
		},
		"sync of directory state":  func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileSync && op.Path == "state" },
		"sync of directory a/copy": func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileSync && op.Path == "a/copy" },
	} {
		t.Run(what, func(t *testing.T) {
			var toggle errorfs.Toggle
			toggle.Injector = errorfs.InjectorFunc(func(op errorfs.Op) error {
				if fails(op) {
					return errorfs.ErrInjected
				}
				return nil
			})
			fatal := make(chan error, 1)
			s, err := Open(Config{Dir: "state", FS: errorfs.Wrap(vfs.NewMem(), &toggle), Fatal: func(err error) {
				fatal <- err
				select {} // as a process that is ending; Pebble holds its locks
			}})
			require.NoError(t, err)
			_, err = s.Apply(madeUp(t, 7, 100).entries)
			require.NoError(t, err)
			toggle.On()
			go func() {
				_, _ = s.Checkpoint("a/copy")
				_ = s.Flush()
			}()
			select {
			case err := <-fatal:
				require.ErrorContains(t, err, what)
				require.ErrorContains(t, err, errorfs.ErrInjected.Error())
			case <-time.After(time.Minute):
				t.Fatal("nobody was told")
			}
		})
	}
}

func TestFlushDue(t *testing.T) {
	now := time.Unix(1_000, 0)
	s, err := Open(Config{Dir: "state", FS: vfs.NewMem(), FlushBytes: 200, FlushInterval: time.Minute, Now: func() time.Time { return now }})
	require.NoError(t, err)
	defer s.Abandon()
	now = now.Add(time.Hour)
	require.False(t, s.FlushDue(), "nothing to flush")
	apply(t, s, Entry{Type: EntryNoop})
	require.True(t, s.FlushDue(), "an hour ago")
	require.NoError(t, s.Flush())
	require.False(t, s.FlushDue())
	apply(t, s, createEntry(t, "a", 1))
	require.False(t, s.FlushDue())
	apply(t, s, batchEntry(t, batch.Stamp{Queue: 1}, 20))
	require.True(t, s.FlushDue(), "200 bytes")
	require.NoError(t, s.Flush())
	apply(t, s, Entry{Type: EntryNoop})
	now = now.Add(time.Minute)
	require.True(t, s.FlushDue())
}
