package commitlog

import (
	"errors"
	"fmt"
	"path/filepath"
)

// FetchEntries brings encoded entries from `from` on, one at least and `to` at
// the latest: another member's copy. Nothing about them is believed. Where nobody
// has a copy the error is a *NoCopyError.
type FetchEntries func(from, to Index) ([]byte, error)

// NoCopyError says that nobody brings a copy of the entries First to Last.
type NoCopyError struct{ First, Last Index }

// Error says which entries.
func (e *NoCopyError) Error() string {
	return fmt.Sprintf("nobody has brought the entries %d to %d", e.First, e.Last)
}

// Repair replaces the faulty entries around entry i by copies that fetch brings,
// piece by piece: what nobody has stays faulty, the entries around it are readable
// again, and the error is the first *NoCopyError. What is taken must be what was
// here: whole entries with good CRCs and their terms, and in each piece the chain,
// which joins the good entry before the gap, and the one behind it, where the piece
// reaches so far. (A piece between two that nobody has joins nothing. Index and term
// name its entries: there is one entry of an index and term.) Anything else is an
// ErrDivergence or ErrInvalidEntry, and the piece is not taken. Any other error of
// fetch ends the repair and is returned as it is; what came before it is kept. An
// entry that is not faulty needs nothing: nil.
//
// A piece goes into a file of its own, which has its name only when all of it is
// durable: a crash leaves either the fault or the repair. The damaged segment is
// not touched. One goroutine calls it. Other errors: ErrNoSpace, ErrFailed,
// ErrClosed, an I/O error of the new file, which is not final.
func (l *Log) Repair(i Index, fetch FetchEntries) error {
	g, term, err := l.gapToRepair(i)
	if err != nil || g == nil {
		return err
	}
	var missing *NoCopyError
	at := tip{index: g.first - 1, term: term, chain: g.before}
	for next := g.first; next <= g.last && err == nil; {
		next, err = l.repairPiece(g, at, next, fetch)
		if gone := (*NoCopyError)(nil); errors.As(err, &gone) {
			next, err = max(gone.Last, next)+1, nil
			if missing == nil {
				missing = gone
			}
		}
	}
	if err == nil && missing != nil {
		err = missing
	}
	if err != nil {
		return fmt.Errorf("repair entries %d to %d: %w", g.first, g.last, err)
	}
	return nil
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
		return &g, l.termBeforeLocked(g.first), nil
	}
	return nil, 0, nil
}

// repairPiece repairs the entries of a gap from next on, as far as copies come. before
// is the entry before the gap. It returns where the piece ends: the next entry that
// is not repaired.
func (l *Log) repairPiece(g *gap, before tip, next Index, fetch FetchEntries) (Index, error) {
	name := fmt.Sprintf("%s%016x%s", patchPrefix, l.cfg.SegmentID(), preparedSuffix)
	w := patchWriter{gap: g, path: filepath.Join(l.cfg.Dir, name), term: l.TermAt, mayGrow: l.mayGrow, at: before, loose: next > g.first}
	if w.loose {
		w.at = tip{index: next - 1}
	}
	w.before = w.at
	stopped, err := w.write(l.cfg.FS, fetch)
	if err == nil && w.at.index >= next {
		err = l.usePatch(w.path)
	}
	if err == nil {
		err = stopped
	}
	return w.at.index + 1, err
}

// patchWriter writes a repair file under a temporary name.
type patchWriter struct {
	gap     *gap
	path    string
	term    func(Index) (Term, error)
	mayGrow func(bytes int64) error

	file   File
	before tip // the entry before the first one
	at     tip // the last one
	loose  bool
	pos    int64
}

// write fetches and writes a piece. stopped is why it ends before the gap does; if
// nothing has come by then there is no file.
func (w *patchWriter) write(fs FS, fetch FetchEntries) (stopped, err error) {
	w.pos = patchHeaderBytes
	for w.at.index < w.gap.last && stopped == nil && err == nil {
		var entries []byte
		if entries, stopped = fetch(w.at.index+1, w.gap.last); stopped == nil {
			stopped, err = w.take(fs, entries)
		}
	}
	if w.file == nil {
		return stopped, err
	}
	if err == nil {
		err = w.finish()
	}
	if err = errors.Join(err, w.file.Close()); err != nil {
		return stopped, errors.Join(err, fs.Remove(w.path))
	}
	return stopped, nil
}

// take verifies entries and writes them down. It stops where the disk is full.
func (w *patchWriter) take(fs FS, entries []byte) (stopped, err error) {
	after, err := w.verify(entries)
	if err != nil {
		return nil, err
	}
	if err := w.mayGrow(int64(len(entries))); err != nil {
		return ofSpace(err), nil
	}
	if w.file == nil {
		if w.file, err = fs.Create(w.path); err != nil {
			return nil, err
		}
	}
	if err := w.file.WriteAt(w.pos, entries); err != nil {
		return nil, err
	}
	w.pos += int64(len(entries))
	w.at = after
	return nil, nil
}

// verify returns the last of some entries, if they continue the piece.
func (w *patchWriter) verify(entries []byte) (at tip, err error) {
	if at = w.at; len(entries) == 0 {
		return at, fmt.Errorf("%w: no bytes", ErrInvalidEntry)
	}
	for rest := entries; len(rest) > 0; {
		if at.index >= w.gap.last {
			return at, fmt.Errorf("%w: entries behind %d, which were not asked for", ErrInvalidEntry, w.gap.last)
		}
		if w.loose && w.pos == patchHeaderBytes && len(rest) == len(entries) {
			h, err := ParseHeader(entries)
			if err != nil {
				return at, err
			}
			at.chain = prevChainOf(h.ChainCRC, entries)
			w.before = at
		}
		h, after, err := at.next(rest)
		if err != nil {
			return at, err
		}
		if term, err := w.term(h.Index); err != nil || term != h.Term {
			return at, errors.Join(fmt.Errorf("%w: the copy of entry %d has term %d, here it had %d", ErrDivergence, h.Index, h.Term, term), err)
		}
		rest = after
	}
	if at.index == w.gap.last && at.chain != w.gap.after {
		return at, fmt.Errorf("%w: the copy of entry %d has chain %08x, the entry behind it here needs %08x",
			ErrDivergence, at.index, at.chain, w.gap.after)
	}
	return at, nil
}

// finish writes the header and makes all of it durable.
func (w *patchWriter) finish() error {
	h := patchHeader{
		first: w.before.index + 1, last: w.at.index, payloadBytes: w.pos - patchHeaderBytes, before: w.before.chain, after: w.at.chain,
		anchor: anchorEntry{index: w.gap.last, chain: w.gap.after},
	}
	if err := w.file.WriteAt(0, h.encode()); err != nil {
		return err
	}
	return w.file.Sync()
}

// usePatch gives the repair file its name and lets everyone read it.
func (l *Log) usePatch(path string) error {
	p, err := loadPatch(l.cfg.FS, path) // what the disk has, not what was meant
	if err != nil {
		return errors.Join(err, l.cfg.FS.Remove(path))
	}
	l.acquire()
	defer l.release()
	if err := l.namePatch(p); err != nil {
		return errors.Join(err, p.file.Close())
	}
	return nil
}

// namePatch is usePatch for the holder of the token.
func (l *Log) namePatch(p *patch) error {
	if now, _, err := l.gapToRepair(p.first); err != nil || now == nil || !p.fits(now) {
		// Truncated, purged or closed meanwhile.
		return errors.Join(err, l.cfg.FS.Remove(p.path), p.file.Close())
	}
	named := filepath.Join(l.cfg.Dir, patchName(p.first, p.last))
	err := l.cfg.FS.Rename(p.path, named)
	if err == nil {
		err = l.cfg.FS.SyncDir(l.cfg.Dir)
	}
	if err != nil {
		return l.fail(fmt.Errorf("name repair file %s: %w", named, err))
	}
	p.path = named
	l.adoptPatch(p)
	l.cfg.Logger.Info("commit log repaired", "first", p.first, "last", p.last, "path", named)
	return nil
}

func (l *Log) adoptPatch(p *patch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.patches = append(l.mu.patches, p)
	was := l.mu.gaps.count()
	l.mu.gaps = l.mu.gaps.patched([]*patch{p})
	l.metrics.repaired.Add(float64(was - l.mu.gaps.count()))
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
