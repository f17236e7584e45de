package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// reserveFile holds space back in the data directory (docs/format/datadir.md).
const reserveFile = "RESERVE"

// diskReserve is a file that holds nothing but space. It is given up when the file
// system has none left, so that what little must still be written (a seal, a ballot
// on a file system that copies on write, a flush of the state) finds room.
// Used by one goroutine at a time.
type diskReserve struct {
	dir   string
	bytes int64
	held  bool
}

// find sees whether an earlier start left the reserve held.
func (r *diskReserve) find() {
	info, err := os.Stat(r.path())
	r.held = err == nil && info.Size() == r.bytes
}

// hold takes the space, if it is not held already.
func (r *diskReserve) hold() error {
	if r.held || r.bytes == 0 {
		return nil
	}
	if err := r.make(); err != nil {
		// A part of it would be counted as if it were all.
		return fmt.Errorf("reserve %s in %s: %w", roundSize(r.bytes), r.dir, errors.Join(err, r.remove()))
	}
	r.held = true
	return nil
}

func (r *diskReserve) path() string { return filepath.Join(r.dir, reserveFile) }

func (r *diskReserve) make() error {
	f, err := os.OpenFile(r.path(), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	if err = allocate(f, r.bytes); err == nil {
		err = f.Truncate(r.bytes) // one of an earlier start may be larger
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// release gives the space back.
func (r *diskReserve) release() error {
	r.held = false
	return r.remove()
}

func (r *diskReserve) remove() error {
	if err := os.Remove(r.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(r.dir)
}

// missing is how much of the free space is the reserve's as soon as it is held again.
func (r *diskReserve) missing() int64 {
	if r.held {
		return 0
	}
	return r.bytes
}
