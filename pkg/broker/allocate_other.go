//go:build !linux

package broker

import "os"

// allocate writes zeros, which takes blocks everywhere.
func allocate(f *os.File, bytes int64) error {
	zeros := make([]byte, 64<<10)
	for at := int64(0); at < bytes; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros, at); err != nil {
			return err
		}
	}
	return nil
}
