package commitlog

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
)

// osFS is the operating system's file system.
type osFS struct{}

// OSFS is the operating system's file system.
func OSFS() FS { return osFS{} }

func (osFS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

func (osFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (osFS) Create(path string) (File, error) {
	return wrapFile(os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600))
}

func (osFS) Open(path string) (File, error) {
	return wrapFile(os.OpenFile(path, os.O_RDWR, 0))
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

func (osFS) Remove(path string) error { return os.Remove(path) }

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type osFile struct {
	*os.File
	direct atomic.Pointer[os.File] // past the page cache; nil: not asked for yet
}

func wrapFile(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

// Close closes both handles.
func (f *osFile) Close() error {
	err := f.File.Close()
	if h := f.direct.Swap(noDirect); h != nil && h != noDirect {
		err = errors.Join(err, h.Close())
	}
	return err
}

func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// noDirect stands for a handle that there is not: the file system always uses the page
// cache, or the file is closed.
var noDirect = new(os.File)

// withFD runs op while the descriptor cannot be closed under it.
func withFD(f *os.File, what string, op func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var opErr error
	if err := conn.Control(func(fd uintptr) { opErr = op(int(fd)) }); err != nil {
		return fmt.Errorf("%s %s: %w: %w", what, f.Name(), os.ErrClosed, err) // it has no other
	}
	if opErr != nil {
		return &os.PathError{Op: what, Path: f.Name(), Err: opErr}
	}
	return nil
}

// extend makes the file at least size bytes long.
func (f *osFile) extend(size int64) error {
	now, err := f.Size()
	if err != nil || now >= size {
		return err
	}
	return f.Truncate(size)
}
