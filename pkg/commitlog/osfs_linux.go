package commitlog

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// maxVectors is below the kernel's limit of buffers in one call (1024).
const maxVectors = 512

// WriteAt hands the buffers to the kernel as they are: the bytes of an append
// are never gathered into one more buffer.
func (f osFile) WriteAt(off int64, buffers ...[]byte) error {
	return f.withFD("pwritev", func(fd int) error { return pwritevAll(fd, buffers, off) })
}

func pwritevAll(fd int, buffers [][]byte, off int64) error {
	left := append([][]byte(nil), buffers...)
	for len(left) > 0 {
		n, err := unix.Pwritev(fd, left[:min(len(left), maxVectors)], off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		off += int64(n)
		written := n
		for len(left) > 0 && n >= len(left[0]) {
			n -= len(left[0])
			left = left[1:]
		}
		if len(left) > 0 {
			if written == 0 {
				return io.ErrShortWrite
			}
			left[0] = left[0][n:]
		}
	}
	return nil
}

// Preallocate reserves blocks. Where the file system cannot, a sparse file of
// that length does, and running out of space shows at the write.
func (f osFile) Preallocate(size int64) error {
	err := f.withFD("fallocate", func(fd int) error {
		for {
			if err := unix.Fallocate(fd, 0, 0, size); !errors.Is(err, unix.EINTR) {
				return err
			}
		}
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return f.extend(size)
	}
	return err
}

// Sync is fdatasync: content and length, without the times.
func (f osFile) Sync() error {
	return f.withFD("fdatasync", func(fd int) error {
		for {
			if err := unix.Fdatasync(fd); !errors.Is(err, unix.EINTR) {
				return err
			}
		}
	})
}
