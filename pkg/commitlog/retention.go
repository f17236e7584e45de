package commitlog

import "time"

// SegmentInfo describes one segment file for whoever decides what is purged.
type SegmentInfo struct {
	// First and Last are its entries; Last is First-1 if it has none.
	First, Last Index
	// Bytes is what the file takes on disk, reserved space included.
	Bytes int64
}

// Segments describes the segments, oldest first. The last one is active and is
// never purged. It waits for a Sync in flight. Errors: ErrFailed, ErrClosed.
func (l *Log) Segments() ([]SegmentInfo, error) {
	l.acquire()
	defer l.release()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return nil, err
	}
	all := make([]SegmentInfo, len(l.mu.segments))
	for n, s := range l.mu.segments {
		last := l.mu.durable.index
		if n+1 < len(l.mu.segments) {
			last = l.mu.segments[n+1].base - 1
		}
		all[n] = SegmentInfo{First: s.base, Last: last, Bytes: max(s.size, s.w.pos)}
	}
	return all, nil
}

// AppendTime is when the leader of its term appended entry i. Append times never
// fall from one entry to the next. Errors as Read's.
func (l *Log) AppendTime(i Index) (time.Time, error) {
	f, err := l.Read(i, i, 0)
	if err != nil {
		return time.Time{}, err
	}
	h, err := ParseHeader(f.Bytes)
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(0, h.AppendTime), nil
}
