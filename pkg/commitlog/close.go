package commitlog

import "errors"

// Seal writes a mark that proves everything before it durable, if the last
// frame does not prove it yet. A caller that has been idle for a while calls
// it, so that damage to the last group is later known for corruption and not
// taken for a torn write. Errors: ErrFailed, ErrClosed.
func (l *Log) Seal() error {
	l.acquire()
	defer l.release()
	if err := l.usable(); err != nil {
		return err
	}
	return l.seal()
}

// seal is Seal for the holder of the token.
func (l *Log) seal() error {
	if l.w.active.w.last == groupSeal {
		return nil
	}
	if err := l.writeMark(l.w.active, groupSeal, 0, l.durableTip()); err != nil {
		return l.fail(err)
	}
	return nil
}

func (l *Log) durableTip() tip {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.durable
}

// Close writes what is waiting, seals the log, with an outline of every segment that was
// left, and closes its files. A second
// Close returns ErrClosed.
func (l *Log) Close() error {
	l.purging <- struct{}{}
	defer func() { <-l.purging }()
	l.acquire()
	defer l.release()
	err := l.flush()
	if errors.Is(err, ErrClosed) {
		return err
	}
	return errors.Join(err, l.closeFiles())
}

func (l *Log) flush() error {
	for {
		p, err := l.syncGroup()
		if err != nil {
			return err
		}
		if end, _ := l.End(); p.Index == end {
			err := l.seal()
			if err == nil {
				l.closeOutlines()
			}
			return err
		}
	}
}

// Abandon ends the log as kill -9 would: nothing is flushed, no further file
// operation is begun; one in flight is waited for, as the kernel does too.
func (l *Log) Abandon() {
	l.stopped.Store(true)
	l.purging <- struct{}{}
	defer func() { <-l.purging }()
	l.acquire()
	defer l.release()
	_ = l.closeFiles() // what it closes is given up
}

// closeFiles refuses everything from now on and closes the files.
func (l *Log) closeFiles() error {
	l.mu.Lock()
	l.mu.closed = true
	segments, prepared, patches := l.mu.segments, l.mu.prepared, l.mu.patches
	l.mu.segments, l.mu.prepared, l.mu.patches = nil, nil, nil
	l.mu.Unlock()
	var errs []error
	for _, s := range segments {
		errs = append(errs, s.file.Close())
	}
	for _, p := range patches {
		errs = append(errs, p.file.Close())
	}
	if prepared != nil {
		errs = append(errs, prepared.file.Close())
	}
	return errors.Join(errs...)
}
