package bench

import (
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/mem"
)

// groupBytes is how much may gather while a group is written.
const groupBytes = 16 << 20

// groupLog is the log of the bare path: what has gathered while one group was written
// and synced is the next group.
type groupLog struct {
	file    *os.File
	bytes   int64         // of the file
	frames  atomic.Uint64 // on disk
	durable func()        // called after each sync

	mu     sync.Mutex
	change *sync.Cond
	fill   []byte // what gathers
	size   int
	count  uint64 // frames appended
}

func newGroupLog(path string, bytes int64) (*groupLog, error) {
	file, err := scratchFile(path, bytes)
	if err != nil {
		return nil, err
	}
	l := &groupLog{file: file, bytes: bytes, fill: aligned(groupBytes)}
	l.change = sync.NewCond(&l.mu)
	return l, nil
}

// append copies a frame into the group that gathers, once there is room.
func (l *groupLog) append(data mem.BufferSlice) {
	n := data.Len()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.size+n > len(l.fill) {
		l.change.Wait()
	}
	data.CopyTo(l.fill[l.size:])
	l.size += n
	l.count++
	l.change.Broadcast()
}

// write writes and syncs group after group.
func (l *groupLog) write() error {
	group, at := aligned(groupBytes), int64(0)
	for {
		group = group[:cap(group)]
		var size int
		var count uint64
		group, size, count = l.swap(group)
		padded := (size + block - 1) / block * block
		clear(group[size:padded])
		if at+int64(padded) > l.bytes {
			at = 0 // over and over: a file that was written before is what recycling gives
		}
		if _, err := l.file.WriteAt(group[:padded], at); err != nil {
			return err
		}
		if err := unix.Fdatasync(int(l.file.Fd())); err != nil {
			return err
		}
		at += int64(padded)
		l.frames.Store(count)
		l.durable()
	}
}

// swap waits for something and takes it, leaving an empty buffer.
func (l *groupLog) swap(empty []byte) (group []byte, size int, count uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.size == 0 {
		l.change.Wait()
	}
	group, size, count = l.fill, l.size, l.count
	l.fill, l.size = empty, 0
	l.change.Broadcast()
	return group, size, count
}
