package commitlog

import (
	"errors"
	"fmt"
	"syscall"
)

// mayGrow asks whether the file system has room for so many bytes more.
func (l *Log) mayGrow(bytes int64) error {
	if l.cfg.MayGrow == nil {
		return nil
	}
	return l.cfg.MayGrow(bytes)
}

// ofSpace makes an error that a full disk, or a quota, gives an ErrNoSpace too.
func ofSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// reserveNext makes sure that there is a prepared segment, so that the roll which
// follows cannot run out of space half way. A full disk is ErrNoSpace, with the log
// as it was: that file was not part of it yet. Any other error is final.
func (l *Log) reserveNext() error {
	if l.isPrepared() {
		return nil
	}
	p, err := l.prepare()
	switch {
	case errors.Is(err, ErrNoSpace):
		return err
	case err != nil:
		return l.fail(err)
	case l.keepPrepared(p):
		return nil
	}
	// PrepareSegment was faster. One is enough.
	if err := l.discard(p); err != nil {
		return l.fail(err)
	}
	return nil
}

func (l *Log) isPrepared() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.prepared != nil
}

// keepPrepared says whether p was taken as the prepared segment.
func (l *Log) keepPrepared(p *preparedSegment) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.prepared != nil {
		return false
	}
	l.mu.prepared = p
	return true
}

// gatherFitting takes a group that the active segment has room for. If there is
// none, not even of one entry, the error is noSpace.
func (l *Log) gatherFitting(noSpace error) (group, error) {
	room := l.w.active.room()
	if room <= 0 {
		return group{}, noSpace
	}
	g, err := l.gather(min(room, l.cfg.MaxGroupBytes), true)
	if err == nil && l.w.active.isFull(&g) {
		err = noSpace
	}
	return g, err
}
