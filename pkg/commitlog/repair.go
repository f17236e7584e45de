package commitlog

import (
	"errors"
	"fmt"
	"path/filepath"
)

// FetchEntries brings encoded entries from `from` on, one at least and `to` at
// the latest: another member's copy. Nothing about them is believed.
type FetchEntries func(from, to Index) ([]byte, error)

// Repair replaces the faulty entries around entry i by copies that fetch brings.
// What is taken must be what was here: whole entries with good CRCs, their terms,
// and the chain that joins the good entry before them to the one behind. Anything
// else is an ErrDivergence or ErrInvalidEntry, and the entries stay faulty; so
// they do on an error of fetch, which is returned as it is. An entry that is not
// faulty needs nothing: nil.
//
// The entries go into a file of their own, which has its name only when all of it
// is durable: a crash leaves either the fault or the repair. The damaged segment
// is not touched. One goroutine calls it. Other errors: ErrFailed, ErrClosed, an
// I/O error of the new file, which is not final.
func (l *Log) Repair(i Index, fetch FetchEntries) error {
	g, term, err := l.gapToRepair(i)
	if err != nil || g == nil {
		return err
	}
	name := fmt.Sprintf("%s%016x%s", patchPrefix, l.cfg.SegmentID(), preparedSuffix)
	w := patchWriter{gap: *g, path: filepath.Join(l.cfg.Dir, name), term: l.TermAt}
	w.at = tip{index: g.first - 1, term: term, chain: g.before}
	if err := w.write(l.cfg.FS, fetch); err != nil {
		return fmt.Errorf("repair entries %d to %d: %w", g.first, g.last, err)
	}
	return l.usePatch(*g, w.path)
}

// gapToRepair is the faulty run around entry i, and the term before it.
func (l *Log) gapToRepair(i Index) (*gap, Term, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return nil, 0, err
	}
	for _, g := range l.mu.gaps.faulty() {
		if g.first > i || i > g.last {
			continue
		}
		if g.first == l.mu.begin {
			return &g, l.mu.prevTerm, nil
		}
		return &g, l.termLocked(g.first - 1), nil
	}
	return nil, 0, nil
}

// patchWriter writes a repair file under a temporary name.
type patchWriter struct {
	gap  gap
	path string
	term func(Index) (Term, error)

	file File
	at   tip
	pos  int64
}

func (w *patchWriter) write(fs FS, fetch FetchEntries) error {
	var err error
	if w.file, err = fs.Create(w.path); err != nil {
		return err
	}
	if err = w.fill(fetch); err == nil {
		err = w.file.Sync()
	}
	if err = errors.Join(err, w.file.Close()); err != nil {
		return errors.Join(err, fs.Remove(w.path))
	}
	return nil
}

// fill fetches, verifies and writes the entries, and the header when all are there.
func (w *patchWriter) fill(fetch FetchEntries) error {
	w.pos = patchHeaderBytes
	for w.at.index < w.gap.last {
		entries, err := fetch(w.at.index+1, w.gap.last)
		if err != nil {
			return err
		}
		if err := w.take(entries); err != nil {
			return err
		}
	}
	if w.at.chain != w.gap.after {
		return fmt.Errorf("%w: the copy of entry %d has chain %08x, the entry behind it here needs %08x",
			ErrDivergence, w.at.index, w.at.chain, w.gap.after)
	}
	h := patchHeader{
		first: w.gap.first, last: w.gap.last, payloadBytes: w.pos - patchHeaderBytes, before: w.gap.before, after: w.gap.after,
	}
	return w.file.WriteAt(0, h.encode())
}

func (w *patchWriter) take(entries []byte) error {
	if len(entries) == 0 {
		return fmt.Errorf("%w: no bytes", ErrInvalidEntry)
	}
	for rest := entries; len(rest) > 0; {
		if w.at.index >= w.gap.last {
			return fmt.Errorf("%w: entries behind %d, which were not asked for", ErrInvalidEntry, w.gap.last)
		}
		h, after, err := w.at.next(rest)
		if err != nil {
			return err
		}
		if term, err := w.term(h.Index); err != nil || term != h.Term {
			return errors.Join(fmt.Errorf("%w: the copy of entry %d has term %d, here it had %d", ErrDivergence, h.Index, h.Term, term), err)
		}
		rest = after
	}
	err := w.file.WriteAt(w.pos, entries)
	w.pos += int64(len(entries))
	return err
}

// usePatch gives the repair file its name and lets everyone read it.
func (l *Log) usePatch(g gap, path string) error {
	p, err := loadPatch(l.cfg.FS, path) // what the disk has, not what was meant
	if err != nil {
		return errors.Join(err, l.cfg.FS.Remove(path))
	}
	l.acquire()
	defer l.release()
	if err := l.namePatch(g, p); err != nil {
		return errors.Join(err, p.file.Close())
	}
	return nil
}

// namePatch is usePatch for the holder of the token.
func (l *Log) namePatch(g gap, p *patch) error {
	if now, _, err := l.gapToRepair(g.first); err != nil || now == nil || now.first != g.first || now.after != g.after {
		// Truncated, purged or closed meanwhile.
		return errors.Join(err, l.cfg.FS.Remove(p.path), p.file.Close())
	}
	named := filepath.Join(l.cfg.Dir, patchName(g.first, g.last))
	err := l.cfg.FS.Rename(p.path, named)
	if err == nil {
		err = l.cfg.FS.SyncDir(l.cfg.Dir)
	}
	if err != nil {
		return l.fail(fmt.Errorf("name repair file %s: %w", named, err))
	}
	p.path = named
	l.adoptPatch(p)
	l.cfg.Logger.Info("commit log repaired", "first", g.first, "last", g.last, "path", named)
	return nil
}

func (l *Log) adoptPatch(p *patch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.patches = append(l.mu.patches, p)
	for n := range l.mu.gaps {
		if g := &l.mu.gaps[n]; g.patch == nil && p.covers(g.first, g.last, g.before, g.after) {
			g.patch = p
			l.metrics.repaired.Add(float64(g.last - g.first + 1))
		}
	}
	if p.last == l.mu.end.index {
		l.mu.end.time = max(l.mu.end.time, p.time)
	}
	l.countFaultyLocked()
}

// dropPatchesLocked takes the repair files below Begin out of the log.
func (l *Log) dropPatchesLocked() (gone []*patch) {
	var kept []*patch
	for _, p := range l.mu.patches {
		if p.last < l.mu.begin {
			gone = append(gone, p)
		} else {
			kept = append(kept, p)
		}
	}
	l.mu.patches = kept
	return gone
}

// removePatches deletes repair files whose segments are gone.
func (l *Log) removePatches(patches []*patch) error {
	if len(patches) == 0 {
		return nil
	}
	for _, p := range patches {
		if err := errors.Join(p.file.Close(), l.cfg.FS.Remove(p.path)); err != nil {
			return fmt.Errorf("remove repair file %s: %w", p.path, err)
		}
	}
	return l.cfg.FS.SyncDir(l.cfg.Dir)
}
