package broker

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// allocate reserves blocks for a file.
func allocate(f *os.File, bytes int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, bytes)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
