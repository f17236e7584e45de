package commitlog

import "fmt"

// ZeroAhead writes up to n bytes of zeros where the log will go: in the active
// segment and then in the prepared one, no further ahead than `ahead` and than half a
// segment, so that a log which is not written to is not zeroed either. Space that is only reserved is no blocks of the
// file yet; the first write to each makes it one, which a sync then has to record too and
// takes half as long again, or more. Zeros are what is read there before and after, so
// that nothing depends on how far this has come, and it syncs nothing by itself.
//
// It does nothing while there is something to be synced or a Sync runs, so that no
// append ever waits for more than one call. More says that there is something left to
// do, now or with a longer `ahead`; else NeedZeros tells when there is again. A background goroutine calls it now and
// then. Its error is not final.
func (l *Log) ZeroAhead(n, ahead int64) (more bool, err error) {
	select {
	case l.token <- struct{}{}:
	default:
		return true, nil
	}
	defer l.release()
	more, err = l.zeroPiece(n, ahead)
	l.w.zeroing = more && err == nil
	return more, err
}

func (l *Log) zeroPiece(n, ahead int64) (more bool, err error) {
	prepared, idle, err := l.mayZero()
	switch {
	case err != nil:
		return false, nil // nothing is written any more
	case !idle:
		return true, nil
	}
	// What has been written counts too.
	seg, whole := l.w.active, l.zeroEnd()
	end := min(whole, l.w.active.w.pos+ahead/blockBytes*blockBytes)
	if from := max(seg.w.zeroed, seg.w.pos); from < min(end, seg.size) {
		seg.w.zeroed = min(from+n, end, seg.size)
		return true, l.zero(seg.file, seg.path, from, seg.w.zeroed)
	}
	capped := end < whole
	end = min(end-seg.size, l.cfg.SegmentBytes)
	if prepared == nil || prepared.zeroed >= end {
		return capped, nil
	}
	from := prepared.zeroed
	prepared.zeroed = min(from+n, end)
	return true, l.zero(prepared.file, prepared.path, from, prepared.zeroed)
}

// zeroEnd is how far there should be zeros, counted from the beginning of the active
// segment on and into the next one.
func (l *Log) zeroEnd() int64 {
	return l.w.active.w.pos + l.cfg.SegmentBytes/2/blockBytes*blockBytes
}

// lacksZeros says whether it is worth it to write zeros ahead again: a quarter of them
// has been used up.
func (l *Log) lacksZeros(prepared *preparedSegment) bool {
	have := max(l.w.active.w.zeroed, l.w.active.w.pos)
	if have >= l.w.active.size && prepared != nil {
		have = l.w.active.size + prepared.zeroed
	}
	return l.zeroEnd()-have > l.cfg.SegmentBytes/8
}

// NeedZeros is signalled when ZeroAhead has something to do again, after it had not.
func (l *Log) NeedZeros() <-chan struct{} { return l.needZeros }

// mayZero says whether nobody waits for the disk.
func (l *Log) mayZero() (prepared *preparedSegment, idle bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.prepared, l.mu.end.index == l.mu.durable.index, l.usableLocked()
}

func (l *Log) zero(f File, path string, from, to int64) error {
	if l.stopped.Load() {
		return ErrClosed
	}
	buffers := make([][]byte, 0, (to-from)/blockBytes)
	for at := from; at < to; at += blockBytes {
		buffers = append(buffers, zeros[:])
	}
	if err := f.WriteAt(from, buffers...); err != nil {
		return fmt.Errorf("write zeros to %s at %d: %w", path, from, err)
	}
	l.metrics.zeroed.Add(float64(to - from))
	return nil
}
