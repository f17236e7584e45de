package commitlog

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// maxVectors is below the kernel's limit of buffers in one call (1024).
const maxVectors = 512

// WriteAt writes whole blocks directly, where the file system can. Else it hands the
// buffers to the kernel as they are.
func (f *osFile) WriteAt(off int64, buffers ...[]byte) error {
	var size int64
	for _, b := range buffers {
		size += int64(len(b))
	}
	if done, err := f.writeDirect(off, size, buffers); done || err != nil {
		return err
	}
	return withFD(f.File, "pwritev", func(fd int) error { return pwritevAll(fd, buffers, off) })
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
		if left = behind(left, n); n == 0 && len(left) > 0 {
			return io.ErrShortWrite
		}
	}
	return nil
}

// Preallocate reserves blocks. Where the file system cannot, a sparse file of
// that length does, and running out of space shows at the write.
func (f *osFile) Preallocate(size int64) error {
	err := withFD(f.File, "fallocate", func(fd int) error {
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
func (f *osFile) Sync() error {
	return withFD(f.File, "fdatasync", func(fd int) error {
		for {
			if err := unix.Fdatasync(fd); !errors.Is(err, unix.EINTR) {
				return err
			}
		}
	})
}
