//go:build !linux

package commitlog

// WriteAt writes the buffers one by one.
func (f *osFile) WriteAt(off int64, buffers ...[]byte) error {
	for _, b := range buffers {
		n, err := f.File.WriteAt(b, off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// Preallocate makes the file long enough without reserving blocks.
func (f *osFile) Preallocate(size int64) error { return f.extend(size) }
