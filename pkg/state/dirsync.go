package state

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fatalDirs is the file system under Pebble. A directory that cannot be synced ends the
// process in order: Pebble itself panics (atomicfs.Marker.Move), or would go on with a
// rename that may not be there tomorrow.
type fatalDirs struct {
	vfs.FS
	fatal func(error)
}

// OpenDir implements vfs.FS.
func (f fatalDirs) OpenDir(name string) (vfs.File, error) {
	dir, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return fatalDir{dir, name, f.fatal}, nil
}

// Unwrap implements vfs.FS.
func (f fatalDirs) Unwrap() vfs.FS { return f.FS }

type fatalDir struct {
	vfs.File
	name  string
	fatal func(error)
}

// Sync implements vfs.File.
func (d fatalDir) Sync() error {
	err := d.File.Sync()
	if err != nil {
		d.fatal(fmt.Errorf("state: the store cannot go on: sync of directory %s: %w", d.name, err))
	}
	return err
}
