package commitlog

import "io"

// FS is the file system under a log: the real one, or one that tests crash.
// Paths are the operating system's. A method that returns an error may have
// done any part of its work.
type FS interface {
	// MkdirAll makes dir and its parents.
	MkdirAll(dir string) error
	// List returns the names of the files in dir, sorted.
	List(dir string) ([]string, error)
	// Create makes an empty file, replacing one of that name, and opens it.
	Create(path string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(path string) (File, error)
	// Rename moves a file within its directory, replacing one of the new name.
	Rename(from, to string) error
	// Remove deletes a file. Open handles stay usable.
	Remove(path string) error
	// SyncDir makes creations, renames and removals in dir durable.
	SyncDir(dir string) error
}

// File is an open file. ReadAt, WriteAt and Close may be called concurrently;
// after Close the others return an error that wraps os.ErrClosed.
type File interface {
	io.ReaderAt
	// WriteAt writes the buffers one after another from position off. It
	// writes all or returns an error.
	WriteAt(off int64, buffers ...[]byte) error
	// Preallocate reserves space and makes the file at least size bytes
	// long; what was not written reads as zero.
	Preallocate(size int64) error
	// Size is the file's length in bytes.
	Size() (int64, error)
	// Sync makes the content and the length durable (fdatasync).
	Sync() error
	Close() error
}
