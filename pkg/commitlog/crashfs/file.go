package crashfs

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"os"
	"syscall"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// content is bytes with a length of their own: what lies behind data, up to
// size, reads as zero and takes no memory.
type content struct {
	data []byte
	size int64
	bad  map[int64]bool // positions of blocks that cannot be read; nil: none
}

// blockBytes is how much a disk cannot read at a time.
const blockBytes = 4096

func (c *content) write(off int64, p []byte) {
	end := off + int64(len(p))
	if n := end - int64(len(c.data)); n > 0 {
		c.data = append(c.data, make([]byte, n)...)
	}
	copy(c.data[off:], p)
	c.size = max(c.size, end)
	maps.DeleteFunc(c.bad, func(at int64, _ bool) bool { return off <= at && at+blockBytes <= end })
}

// readable says whether all of n bytes at off can be read.
func (c *content) readable(off, n int64) bool {
	for at := range c.bad {
		if at < off+n && off < at+blockBytes {
			return false
		}
	}
	return true
}

func (c *content) spoil(at int64, bad bool) {
	if c.bad == nil {
		c.bad = map[int64]bool{}
	}
	if delete(c.bad, at); bad {
		c.bad[at] = true
	}
}

func (c *content) read(off int64, p []byte) int {
	if off >= c.size {
		return 0
	}
	p = p[:min(int64(len(p)), c.size-off)]
	clear(p)
	if off < int64(len(c.data)) {
		copy(p, c.data[off:])
	}
	return len(p)
}

func (c *content) bytes() []byte {
	b := make([]byte, c.size)
	copy(b, c.data)
	return b
}

func (c *content) clone() content {
	return content{data: append([]byte(nil), c.data...), size: c.size, bad: maps.Clone(c.bad)}
}

// node is a file, whatever its names.
type node struct {
	content content // as programs see it
	durable content // as of the last sync
	writes  []write // since then
}

// write is an unsynced change: bytes at a position, or a new length.
type write struct {
	off  int64
	data []byte
	size int64 // if data is nil
}

func (w write) apply(c *content) {
	if w.data == nil {
		c.size = max(c.size, w.size)
		return
	}
	c.write(w.off, w.data)
}

func (n *node) sync() {
	for _, w := range n.writes {
		w.apply(&n.durable)
	}
	n.writes = nil
}

// file is an open handle. Its fields but closed never change; closed and the
// node are guarded by the file system's mu.
type file struct {
	fs     *FS
	path   string
	node   *node
	closed bool
}

var _ commitlog.File = (*file)(nil)

// enter begins a call and leaves the file system locked if it may go on.
func (f *file) enter(c Call) (Fault, bool) {
	c.Path = f.path
	fault := f.fs.begin(c)
	f.fs.mu.Lock()
	if f.closed {
		fault = Fault{Err: &fs.PathError{Op: string(c.Op), Path: f.path, Err: os.ErrClosed}}
	}
	if fault.Err != nil && fault.Keep == 0 && fault.Clean == nil {
		f.fs.mu.Unlock()
		return fault, false
	}
	return fault, true
}

// ReadAt reads what programs see, synced or not.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	fault, ok := f.enter(Call{Op: OpRead, Off: off, Len: len(p)})
	if !ok {
		return 0, fault.Err
	}
	defer f.fs.mu.Unlock()
	if !f.node.content.readable(off, int64(len(p))) {
		return 0, &fs.PathError{Op: "read", Path: f.path, Err: syscall.EIO}
	}
	n := f.node.content.read(off, p)
	if n < len(p) {
		return n, io.EOF
	}
	return n, fault.Err
}

// WriteAt writes the buffers one after another.
func (f *file) WriteAt(off int64, buffers ...[]byte) error {
	var data []byte
	for _, b := range buffers {
		data = append(data, b...)
	}
	fault, ok := f.enter(Call{Op: OpWrite, Off: off, Len: len(data), Void: len(bytes.Trim(data, "\x00")) == 0})
	if !ok {
		return fault.Err
	}
	defer f.fs.mu.Unlock()
	if fault.Err != nil {
		data = data[:min(fault.Keep, len(data))]
	}
	w := write{off: off, data: data}
	if len(data) > 0 {
		w.apply(&f.node.content)
		f.node.writes = append(f.node.writes, w)
	}
	return fault.Err
}

// Preallocate makes the file at least size bytes long.
func (f *file) Preallocate(size int64) error {
	fault, ok := f.enter(Call{Op: OpPreallocate, Len: int(size)})
	if !ok {
		return fault.Err
	}
	defer f.fs.mu.Unlock()
	w := write{size: size}
	w.apply(&f.node.content)
	f.node.writes = append(f.node.writes, w)
	return fault.Err
}

// Size is the length that programs see.
func (f *file) Size() (int64, error) {
	fault, ok := f.enter(Call{Op: OpSize})
	if !ok {
		return 0, fault.Err
	}
	defer f.fs.mu.Unlock()
	return f.node.content.size, fault.Err
}

// Sync makes the file's content and length durable.
func (f *file) Sync() error {
	fault, ok := f.enter(Call{Op: OpSync})
	if !ok {
		return fault.Err
	}
	defer f.fs.mu.Unlock()
	switch {
	case fault.Err == nil:
		f.node.sync()
	case fault.Clean != nil:
		f.node.durable = fault.Clean.withDefaults().leave(f.path, f.node)
		f.node.writes = nil
	}
	return fault.Err
}

// Close ends the use of the handle. It syncs nothing.
func (f *file) Close() error {
	fault, ok := f.enter(Call{Op: OpClose})
	if !ok {
		return fault.Err
	}
	defer f.fs.mu.Unlock()
	f.closed = true
	return fault.Err
}
