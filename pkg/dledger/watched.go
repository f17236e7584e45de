package dledger

import "sync/atomic"

// watched is a value with one writer and any number of readers, who can wait for
// the next one.
type watched[T any] struct {
	cell atomic.Pointer[watchedCell[T]]
}

type watchedCell[T any] struct {
	value   T
	version uint64
	changed chan struct{} // closed when there is a newer cell
}

// init sets the first value, before there are readers.
func (w *watched[T]) init(v T) {
	w.cell.Store(&watchedCell[T]{value: v, changed: make(chan struct{})})
}

// store publishes a new value and wakes everyone who waits.
func (w *watched[T]) store(v T) {
	old := w.cell.Load()
	w.cell.Store(&watchedCell[T]{value: v, version: old.version + 1, changed: make(chan struct{})})
	close(old.changed)
}

// replace publishes a new value without waking anyone: nothing worth waking for
// has changed.
func (w *watched[T]) replace(v T) {
	old := w.cell.Load()
	w.cell.Store(&watchedCell[T]{value: v, version: old.version, changed: old.changed})
}

func (w *watched[T]) load() T { return w.cell.Load().value }

// watch returns the value, its version, and a channel that is closed when there
// is a newer version.
func (w *watched[T]) watch() (T, uint64, <-chan struct{}) {
	c := w.cell.Load()
	return c.value, c.version, c.changed
}
