package commitlog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// stagingBytes is how much one direct write takes: large enough for the full speed
// of a disk.
const stagingBytes = 1 << 20

// staging are buffers that the kernel takes for direct writes: aligned, and a whole
// number of blocks.
var staging = sync.Pool{New: func() any {
	b := alignedMemory(stagingBytes)
	return &b
}}

// writeDirect writes whole blocks past the page cache (O_DIRECT). That spares the
// kernel a copy into pages that nobody reads, and their write-back; a later Sync
// of the file makes what was written durable as ever. False: the file has no direct
// writes, and nothing was written that a buffered write would not put there again.
func (f *osFile) writeDirect(off int64, size int64, buffers [][]byte) (bool, error) {
	if off%blockBytes != 0 || size%blockBytes != 0 || size == 0 {
		return false, nil
	}
	direct := f.directHandle()
	if direct == noDirect {
		return false, nil
	}
	box := staging.Get().(*[]byte)
	defer staging.Put(box)
	err := withFD(direct, "pwritev", func(fd int) error { return writeBlocks(fd, *box, buffers, off) })
	if errors.Is(err, unix.EINVAL) { // some file systems say so only here
		if old := f.direct.Swap(noDirect); old != noDirect && old != nil {
			return false, old.Close()
		}
		return false, nil
	}
	return true, err
}

// ReadDirect implements directReader. A read through the page cache costs many times the
// CPU, and the kernel reads megabytes ahead for it, behind which a write has to wait; and
// what it leaves in the cache is read once as a rule.
func (f *osFile) ReadDirect(b []byte, off int64) (int, error) {
	direct := f.directHandle()
	if direct == noDirect || off%blockBytes != 0 || !isAligned(b) {
		return f.ReadAt(b, off)
	}
	n, err := direct.ReadAt(b, off)
	if n < len(b) && errors.Is(err, unix.EINVAL) { // the file system wants it otherwise, or the file ends within a block
		rest, err := f.ReadAt(b[n:], off+int64(n))
		return n + rest, err
	}
	return n, err
}

// directHandle returns the file's handle past the page cache, made when it is first
// asked for: a log writes to one segment, and few are read.
func (f *osFile) directHandle() *os.File {
	if h := f.direct.Load(); h != nil {
		return h
	}
	h := noDirect
	// By its descriptor, for the file may have another name by now.
	_ = withFD(f.File, "open", func(fd int) error {
		opened, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDWR|unix.O_DIRECT, 0)
		if err == nil {
			h = opened
		}
		return err
	})
	if !f.direct.CompareAndSwap(nil, h) && h != noDirect {
		_ = h.Close() // closed meanwhile
	}
	return f.direct.Load()
}

// blockWriter writes buffers one after another as whole blocks: those that lie as the
// kernel wants them from where they are, the others by way of a staging buffer.
type blockWriter struct {
	fd    int
	off   int64
	stage []byte
	begin int // of what is staged and not in vec yet
	fill  int
	vec   [][]byte // whole blocks, in order
}

// writeBlocks writes the buffers from off on. Their length together is a whole number of
// blocks, and that of the staging buffer too.
func writeBlocks(fd int, stage []byte, buffers [][]byte, off int64) error {
	w := blockWriter{fd: fd, off: off, stage: stage, vec: make([][]byte, 0, 2*len(buffers)+1)}
	for _, b := range buffers {
		if w.fill%blockBytes == 0 && isAligned(b) {
			w.closeStaged()
			w.vec = append(w.vec, b)
			continue
		}
		if err := w.copy(b); err != nil {
			return err
		}
	}
	return w.flush()
}

// copy stages b.
func (w *blockWriter) copy(b []byte) error {
	for len(b) > 0 {
		n := copy(w.stage[w.fill:], b)
		w.fill, b = w.fill+n, b[n:]
		if w.fill == len(w.stage) {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// closeStaged puts what was staged behind what is to be written.
func (w *blockWriter) closeStaged() {
	if w.fill > w.begin {
		w.vec = append(w.vec, w.stage[w.begin:w.fill])
		w.begin = w.fill
	}
}

func (w *blockWriter) flush() error {
	w.closeStaged()
	for len(w.vec) > 0 {
		n, err := unix.Pwritev(w.fd, w.vec[:min(len(w.vec), maxVectors)], w.off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if n &^= blockBytes - 1; n == 0 { // after a short write it goes on with a whole block
			return io.ErrShortWrite
		}
		w.off += int64(n)
		w.vec = behind(w.vec, n)
	}
	w.vec, w.begin, w.fill = w.vec[:0], 0, 0
	return nil
}

// behind is what is left of the buffers after their first n bytes.
func behind(buffers [][]byte, n int) [][]byte {
	for len(buffers) > 0 && n >= len(buffers[0]) {
		n -= len(buffers[0])
		buffers = buffers[1:]
	}
	if n > 0 {
		buffers[0] = buffers[0][n:]
	}
	return buffers
}
