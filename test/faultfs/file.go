package faultfs

import (
	"context"
	"path"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a file or directory of the mount.
type node struct {
	*fs.LoopbackNode
	of *FS
}

// WrapChild makes every node of the mount one of ours.
func (n *node) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{child.(*fs.LoopbackNode), n.of}
}

// file is an open file.
type file struct {
	*fs.LoopbackFile
	of   *FS
	path string
}

// Open opens a file. Direct I/O means that the kernel keeps none of it: every read and
// write of the process comes here.
func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	h, _, errno := n.LoopbackNode.Open(ctx, flags&^syscall.O_DIRECT)
	if errno != fs.OK {
		return nil, 0, errno
	}
	return n.of.opened(h, n.EmbeddedInode().Path(nil)), fuse.FOPEN_DIRECT_IO, fs.OK
}

// Create creates and opens one.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	inode, h, _, errno := n.LoopbackNode.Create(ctx, name, flags&^syscall.O_DIRECT, mode, out)
	if errno != fs.OK {
		return nil, nil, 0, errno
	}
	return inode, n.of.opened(h, path.Join(n.EmbeddedInode().Path(nil), name)), fuse.FOPEN_DIRECT_IO, fs.OK
}

// opened remembers an open file: the kernel does not always tell of those that are still
// open when the mount goes.
func (f *FS) opened(h fs.FileHandle, path string) *file {
	open := &file{h.(*fs.LoopbackFile), f, path}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.open[open] = struct{}{}
	return open
}

// directory is an open directory.
type directory struct {
	fs.FileReaddirenter
	fs.FileSeekdirer
	fs.FileReleasedirer
	sync fs.FileFsyncdirer
	of   *FS
	path string
}

// OpendirHandle opens a directory, and remembers it for the same reason. To close it
// twice does no harm.
func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	h, fuseFlags, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if errno != fs.OK {
		return nil, 0, errno
	}
	dir := &directory{
		h.(fs.FileReaddirenter), h.(fs.FileSeekdirer), h.(fs.FileReleasedirer), h.(fs.FileFsyncdirer), n.of, n.EmbeddedInode().Path(nil) + "/",
	}
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	n.of.mu.dirs = append(n.of.mu.dirs, dir)
	return dir, fuseFlags, fs.OK
}

// Fsyncdir fails as Fsync of a file does.
func (d *directory) Fsyncdir(ctx context.Context, flags uint32) syscall.Errno {
	if errno := d.of.judge(Sync, d.path); errno != fs.OK {
		return errno
	}
	return d.sync.Fsyncdir(ctx, flags)
}

// Release closes it.
func (f *file) Release(ctx context.Context) syscall.Errno {
	f.of.mu.Lock()
	delete(f.of.mu.open, f)
	f.of.mu.Unlock()
	return f.LoopbackFile.Release(ctx)
}

// PassthroughFd would let the kernel go around us.
func (f *file) PassthroughFd() (int, bool) { return 0, false }

// Fsync fails without syncing anything, and only once: as Linux does, which forgets
// what it could not write.
func (f *file) Fsync(ctx context.Context, flags uint32) syscall.Errno {
	if errno := f.of.judge(Sync, f.path); errno != fs.OK {
		return errno
	}
	return f.LoopbackFile.Fsync(ctx, flags)
}

// Write fails without writing anything.
func (f *file) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	if errno := f.of.judge(Write, f.path, data...); errno != fs.OK {
		return 0, errno
	}
	return f.LoopbackFile.Write(ctx, data, off)
}

// Read fails without reading anything.
func (f *file) Read(ctx context.Context, buf []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if errno := f.of.judge(Read, f.path); errno != fs.OK {
		return nil, errno
	}
	return f.LoopbackFile.Read(ctx, buf, off)
}
