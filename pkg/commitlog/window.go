package commitlog

import (
	"errors"
	"fmt"
	"io"
)

// window reads a file from front to back in large steps. Its memory is bounded
// by the largest single request, or 1 MiB, and a block or two.
type window struct {
	file File
	size int64
	base int64 // position of buf
	buf  []byte
	err  error // the first I/O error; it is not damage and ends the scan

	// goAround lets the scan go on where the disk cannot read a block: zeros stand for
	// it, which are nothing that was ever written, and unread says so.
	goAround bool
	unread   map[int64]error // by position of the block
	healed   int             // reads that failed, and went well at the second attempt
}

func (w *window) reset(file File, size int64) {
	w.file, w.size, w.base, w.buf = file, size, 0, w.buf[:0]
	w.unread, w.healed = nil, 0
}

// bytes returns the n bytes at pos, fewer where the file ends. They are valid
// until the next call. Who takes them for more than a hint asks unreadIn.
func (w *window) bytes(pos, n int64) []byte {
	n = max(min(n, w.size-pos), 0)
	if pos < w.base || pos+n > w.base+int64(len(w.buf)) {
		w.fill(pos, min(max(n, maxReadBytes), max(w.size-pos, 0)))
	}
	if w.err != nil {
		return nil
	}
	return w.buf[pos-w.base:][:n]
}

func (w *window) fill(pos, n int64) {
	if w.base, w.buf = pos, w.buf[:0]; n == 0 {
		return
	}
	w.base &^= blockBytes - 1 // whole blocks, past the page cache
	need := pos + n - w.base
	size := alignUp(need)
	if int64(cap(w.buf)) < size {
		w.buf = alignedMemory(int(size))
	}
	got, err := w.read(w.buf[:size], int(need))
	if int64(got) < need && w.err == nil {
		w.err = shortRead(w.base+int64(got), err)
	}
	w.buf = w.buf[:need]
}

// shortRead is why a read has got nothing more than what lies before pos.
func shortRead(pos int64, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("from position %d on: %w", pos, err)
}

// read reads whole blocks at w.base, of which need bytes are wanted. If it goes around what
// the disk cannot read, it tries again block by block, so that this is as little as possible.
func (w *window) read(b []byte, need int) (int, error) {
	if w.unreadIn(w.base, int64(need)) == nil {
		got, err := readFresh(w.file, b, w.base)
		if got >= need || !w.goAround || !isUnreadable(err) {
			return got, err
		}
	}
	before := len(w.unread)
	for at := 0; at < need; at += blockBytes {
		block, pos := b[at:at+blockBytes], w.base+int64(at)
		if w.unread[pos] != nil { // what failed twice stays so for this scan: it must not see two things
			clear(block)
			continue
		}
		got, err := readFresh(w.file, block, pos)
		if got >= min(blockBytes, need-at) {
			continue
		}
		if !isUnreadable(err) {
			return at + got, err
		}
		if len(w.unread) >= maxUnreadBlocks {
			return at + got, fmt.Errorf("more than %d blocks of it: %w", maxUnreadBlocks, err)
		}
		if w.unread == nil {
			w.unread = map[int64]error{}
		}
		w.unread[pos] = err
		clear(block)
	}
	if len(w.unread) == before && w.unreadIn(w.base, int64(need)) == nil {
		w.healed++
	}
	return need, nil
}

// unreadIn says that some of the n bytes at pos could not be read: it is the first
// such block. Zeros stand for it, also where a CRC does not see the difference.
func (w *window) unreadIn(pos, n int64) error {
	if len(w.unread) == 0 {
		return nil
	}
	for at := pos &^ (blockBytes - 1); at < pos+n; at += blockBytes {
		if err := w.unread[at]; err != nil {
			return fmt.Errorf("%w at position %d: %w", errUnread, at, err)
		}
	}
	return nil
}

// unreadFrom is where the blocks end that stand from pos on and could not be read.
func (w *window) unreadFrom(pos int64) int64 {
	for w.unread[pos] != nil {
		pos += blockBytes
	}
	return pos
}
