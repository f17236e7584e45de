package commitlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// outlinesBehind is how many of the newest sealed segments get no outline while the log is
// in use. After a crash they are read: what a disk that lies about a sync has lost stands
// in what was written last.
const outlinesBehind = 1

// outlinesAtClose bounds what Close writes, a millisecond or some each. It is one as a
// rule, and more only with a log that had none when it was opened.
const outlinesAtClose = 64

// NeedOutlines is signalled when WriteOutline has something to do.
func (l *Log) NeedOutlines() <-chan struct{} { return l.needOutlines }

// WriteOutline puts down, in a file beside a sealed segment, what the segment holds, so
// that the next Open need not read it: of the oldest one that lacks it, but not of the
// newest. More says that there may be others; NeedOutlines says so too. Close does it for
// the newest too. Nothing else depends on how far this has come, and its error is not final:
// the segments without an outline are read. A background goroutine calls it after
// NeedOutlines; appends and Syncs do not wait for what it writes. Errors: ErrNoSpace,
// ErrFailed, ErrClosed, an I/O error of the new file.
func (l *Log) WriteOutline() (more bool, err error) {
	d, err := l.draftOutline()
	if err != nil || d == nil {
		return false, err
	}
	if err := l.writeDraft(d); err != nil {
		return false, err
	}
	l.acquire()
	defer l.release()
	if err := l.nameOutline(d); err != nil {
		return false, err
	}
	signal(l.needOutlines)
	return true, nil
}

func (l *Log) draftOutline() (*outlineDraft, error) {
	l.acquire()
	defer l.release()
	if err := l.usable(); err != nil {
		return nil, err
	}
	return l.nextOutline(outlinesBehind), nil
}

// closeOutlines is that for all segments, for Close, which holds the token. What is not
// written costs the next Open time, and nothing else.
func (l *Log) closeOutlines() {
	for range outlinesAtClose {
		d := l.nextOutline(0)
		if d == nil {
			return
		}
		err := l.writeDraft(d)
		if err == nil {
			err = l.nameOutline(d)
		}
		if err != nil {
			l.cfg.Logger.Warn("the outline of a commit log segment is not written: the next start reads the segment", "path", d.seg.path, "error", err)
			return
		}
	}
}

// outlineDraft is an outline on its way to the disk.
type outlineDraft struct {
	outline
	seg  *segment
	path string // temporary
}

// nextOutline drafts the outline of the oldest segment that lacks one; nil: none does.
// The newest ones, as many as `behind`, and the active one get none, nor does one that
// is damaged: it is gone around at every start. The caller holds the token.
func (l *Log) nextOutline(behind int) *outlineDraft {
	l.mu.Lock()
	defer l.mu.Unlock()
	sealed := max(len(l.mu.segments)-1-behind, 0)
	for n, seg := range l.mu.segments[:sealed] {
		if seg.w.outlined || seg.w.scarred || !seg.w.rolled {
			continue
		}
		last := l.mu.segments[n+1].base - 1
		if g := l.mu.gaps.next(seg.base); g != nil && g.first <= last {
			continue
		}
		o := outline{
			segmentID: seg.id,
			before:    tip{index: seg.base - 1, term: seg.prevTerm, chain: seg.prevChain},
			end:       seg.w.end, pos: seg.w.pos, frames: seg.w.frames,
			runs:    slices.Clone(runsFrom(runsBefore(l.mu.runs, last+1), seg.base, last)),
			extents: slices.Clone(seg.index.list),
		}
		assert(o.end.index == last && o.check() == nil, "outline of %s: %v", seg.path, o.check())
		name := fmt.Sprintf("%s%016x%s", outlinePrefix, l.cfg.SegmentID(), preparedSuffix)
		return &outlineDraft{outline: o, seg: seg, path: filepath.Join(l.cfg.Dir, name)}
	}
	return nil
}

// writeDraft writes and syncs an outline under its temporary name.
func (l *Log) writeDraft(d *outlineDraft) error {
	if l.stopped.Load() {
		return ErrClosed
	}
	b := d.encode()
	if err := l.mayGrow(alignUp(int64(len(b)))); err != nil {
		return fmt.Errorf("write an outline: %w", ofSpace(err))
	}
	file, err := l.cfg.FS.Create(d.path)
	if err != nil {
		return fmt.Errorf("write an outline: %w", ofSpace(err))
	}
	if err = file.WriteAt(0, b); err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", d.path, ofSpace(err)), l.dropDraft(d))
	}
	return nil
}

func (l *Log) dropDraft(d *outlineDraft) error {
	if l.stopped.Load() {
		return nil // the next Open deletes it
	}
	return l.cfg.FS.Remove(d.path)
}

// nameOutline gives an outline its name, if the segment is still what it was. The name
// need not be durable: one that is lost costs the next Open time. The caller holds the
// token.
func (l *Log) nameOutline(d *outlineDraft) error {
	if err := l.usable(); err != nil {
		return errors.Join(err, l.dropDraft(d))
	}
	seg := d.seg
	same := slices.Contains(l.segments(), seg) && seg != l.w.active && !seg.w.scarred
	if !same || d.frames != seg.w.frames { // frames are never taken back
		return l.dropDraft(d)
	}
	if err := l.cfg.FS.Rename(d.path, l.outlinePath(seg.base)); err != nil {
		return fmt.Errorf("name the outline of %s: %w", seg.path, err)
	}
	seg.w.outlined = true
	return nil
}

// removeOutlines takes the outlines of segments away, durably: what is written to such a
// segment next, or was found in it, is not in them. The caller holds the token.
func (l *Log) removeOutlines(segments ...*segment) error {
	removed := false
	for _, seg := range segments {
		if !seg.w.outlined {
			continue
		}
		if err := l.removeOutline(seg); err != nil {
			return err
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return l.cfg.FS.SyncDir(l.cfg.Dir)
}

// removeOutline is removeOutlines of one, and leaves the directory to be synced.
func (l *Log) removeOutline(seg *segment) error {
	if !seg.w.outlined {
		return nil
	}
	if l.stopped.Load() {
		return ErrClosed
	}
	if err := l.cfg.FS.Remove(l.outlinePath(seg.base)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the outline of %s: %w", seg.path, err)
	}
	seg.w.outlined = false
	return nil
}

// distrust makes the next Open read a segment in which damage was found.
func (l *Log) distrust(seg *segment) error {
	l.acquire()
	defer l.release()
	return l.distrustHeld(seg)
}

// distrustUnread is distrust if a read of a segment failed with an I/O error that stands: it
// is no damage that could be told. The process ends by it, as a rule, and the next one must not
// begin as if the disk were well, to end by it again: its Open reads the segment.
func (l *Log) distrustUnread(plan *readPlan, err error) error {
	var unread *unreadableError
	if plan.segment != nil && errors.As(err, &unread) {
		err = errors.Join(err, l.distrust(plan.segment))
	}
	return err
}

// distrustAt is distrust of the segment that holds entry i, for the holder of the token,
// if why says that it is damaged or cannot be read.
func (l *Log) distrustAt(i Index, why error) error {
	var corruption *CorruptionError
	var unread *unreadableError
	segments := l.segments()
	if n := segmentOf(segments, i); n >= 0 && (errors.As(why, &corruption) || errors.As(why, &unread)) {
		return l.distrustHeld(segments[n])
	}
	return nil
}

// distrustHeld is distrust for the holder of the token.
func (l *Log) distrustHeld(seg *segment) error {
	if l.usable() != nil {
		return nil // nothing is written any more
	}
	seg.w.scarred = true
	if err := l.removeOutlines(seg); err != nil {
		return l.fail(err)
	}
	return nil
}

func (l *Log) outlinePath(base Index) string { return filepath.Join(l.cfg.Dir, outlineName(base)) }
