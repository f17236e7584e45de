package faultfs

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Call is a kind of call that can fail.
type Call int

// The calls.
const (
	// Sync is fsync or fdatasync of a file or a directory, whose name ends with a slash.
	Sync Call = iota + 1
	// Write is write(2) and kin.
	Write
	// Read is read(2) and kin.
	Read
)

// String names the call.
func (c Call) String() string { return [...]string{"no call", "sync", "write", "read"}[c] }

// FS is one mount. It is safe for concurrent use.
type FS struct {
	server *fuse.Server
	mount  string
	bad    atomic.Pointer[moment] // nil: all is well
	mu     struct {
		sync.Mutex
		open map[*file]struct{}
		dirs []fs.FileReleasedirer // all that were ever opened
	}
}

// moment is a failure that has been ordered.
type moment struct {
	call   Call
	suffix string
	after  atomic.Int64 // calls that still go well
	failed atomic.Pointer[Failure]
	done   chan struct{} // closed when it has happened
}

// Failure is a call that has failed as ordered.
type Failure struct {
	// Path of the file, within the mount.
	Path string
	// Void: it was a write of nothing but zeros, such as those ahead of a log.
	Void bool
}

// Mount shows the directory dir at the empty directory mount.
func Mount(dir, mount string) (*FS, error) {
	root, err := fs.NewLoopbackRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("fault file system on %s: %w", dir, err)
	}
	f := &FS{mount: mount}
	f.mu.open = map[*file]struct{}{}
	top := &node{root.(*fs.LoopbackNode), f}
	top.RootData.RootNode = top
	never := time.Duration(0) // the directory may change underneath
	f.server, err = fs.Mount(mount, top, &fs.Options{
		EntryTimeout: &never, AttrTimeout: &never,
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "faultfs", Name: "faultfs"},
	})
	if err != nil {
		return nil, fmt.Errorf("mount a fault file system at %s: %w", mount, err)
	}
	return f, nil
}

// Unmount takes the mount away; it fails while a process has files open there. None of
// the directory's own files are open then.
func (f *FS) Unmount() error {
	if err := f.server.Unmount(); err != nil {
		return fmt.Errorf("unmount %s: %w", f.mount, err)
	}
	f.server.Wait()
	f.mu.Lock()
	left, dirs := f.mu.open, f.mu.dirs
	f.mu.open, f.mu.dirs = map[*file]struct{}{}, nil
	f.mu.Unlock()
	for _, dir := range dirs {
		dir.Releasedir(context.Background(), 0)
	}
	for open := range left {
		_ = open.LoopbackFile.Release(context.Background())
	}
	return nil
}

// Fail lets one call fail with EIO, the one that comes after so many others of its kind
// and whose file's name ends with suffix ("" for all). It replaces what was ordered
// before. The channel is closed when it has failed.
func (f *FS) Fail(call Call, suffix string, after int) <-chan struct{} {
	m := &moment{call: call, suffix: suffix, done: make(chan struct{})}
	m.after.Store(int64(after))
	f.bad.Store(m)
	return m.done
}

// Failed is the call that has failed as ordered last; nil if none has.
func (f *FS) Failed() *Failure {
	if m := f.bad.Load(); m != nil {
		return m.failed.Load()
	}
	return nil
}

// judge tells whether a call has to fail; data is what would be written.
func (f *FS) judge(call Call, path string, data ...byte) syscall.Errno {
	m := f.bad.Load()
	if m == nil || m.call != call || !strings.HasSuffix(path, m.suffix) || m.after.Add(-1) != -1 {
		return fs.OK
	}
	m.failed.Store(&Failure{Path: path, Void: call == Write && len(bytes.Trim(data, "\x00")) == 0})
	close(m.done)
	return syscall.EIO
}
