package state

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Tip is how far a state is: the last entry applied, its term, and the rolling
// hash of all outcomes up to it.
type Tip struct {
	Index Index
	Term  Term
	Hash  uint32
}

// Tip is how far the store is. An empty one has NoIndex and NoTerm.
func (s *Store) Tip() Tip {
	tip := s.tip.Load()
	return Tip{Index: tip.index, Term: tip.term, Hash: tip.hash}
}

// Checkpoint writes a copy of the store as it is at some entry, at least at the
// newest one when it is called, to dir, which must not exist but whose parent
// must. Files are shared with the store where the file system can; none of them
// ever changes. Apply goes on meanwhile. What it made is durable when it returns.
func (s *Store) Checkpoint(dir string) (Tip, error) {
	if !s.gate.enter() {
		return Tip{}, ErrClosed
	}
	defer s.gate.leave()
	// A checkpoint holds what Pebble has flushed: without its log there is no other.
	if err := s.flush(); err != nil {
		return Tip{}, err
	}
	if err := s.db.Checkpoint(dir); err != nil {
		return Tip{}, fmt.Errorf("state: checkpoint in %s: %w", dir, err)
	}
	return inspect(s.cfg.FS, dir)
}

// Inspect opens a store for reading and says how far it is. A store that cannot be
// opened or read is a *CorruptionError.
func Inspect(dir string) (Tip, error) { return inspect(vfs.Default, dir) }

func inspect(fs vfs.FS, dir string) (tip Tip, err error) {
	cfg := Config{Dir: dir, FS: fs, CacheBytes: 1 << 20}.withDefaults()
	s := &Store{cfg: cfg, failed: newFailure(), gate: newGate()}
	options := pebbleOptions(&cfg, s.failed)
	options.ReadOnly = true
	if s.db, err = pebble.Open(dir, options); err != nil {
		return Tip{}, s.corrupt(err, "pebble cannot open it")
	}
	s.work = newWorking()
	_, err = s.loadApplied()
	if closeErr := s.db.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("state: close %s: %w", dir, closeErr)
	}
	return Tip{Index: s.work.index, Term: s.work.term, Hash: s.work.hash}, err
}
