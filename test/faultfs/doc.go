// Package faultfs is a file system for tests that passes everything through to a
// directory and fails single calls on demand, as a disk does that has one bad moment:
// an fdatasync that answers EIO and leaves what it should have synced unsynced, a write
// of which nothing is stored, a read that cannot be done. It is a FUSE mount and needs
// root and /dev/fuse.
//
// The goroutines that answer the kernel are the FUSE library's own. A process must not
// keep files of its own mount open while it starts other processes.
package faultfs
