package crashfs

import (
	"errors"
	"fmt"
	"path/filepath"
)

// ErrPowerLoss is what every call returns after PowerOff.
var ErrPowerLoss = errors.New("crashfs: the power is off")

// Op names a call of the file system.
type Op string

// The calls.
const (
	OpMkdirAll    Op = "mkdirall"
	OpList        Op = "list"
	OpCreate      Op = "create"
	OpOpen        Op = "open"
	OpRename      Op = "rename"
	OpRemove      Op = "remove"
	OpSyncDir     Op = "syncdir"
	OpRead        Op = "read"
	OpWrite       Op = "write"
	OpPreallocate Op = "preallocate"
	OpSize        Op = "size"
	OpSync        Op = "sync"
	OpClose       Op = "close"
)

// Changes says whether the call can change what a crash leaves.
func (o Op) Changes() bool {
	switch o {
	case OpCreate, OpRename, OpRemove, OpSyncDir, OpWrite, OpPreallocate, OpSync:
		return true
	case OpMkdirAll, OpList, OpOpen, OpRead, OpSize, OpClose:
		return false
	}
	return false
}

// Call is one call, as hooks see it and as Calls lists it.
type Call struct {
	N    int // 1 for the first call of this file system
	Op   Op
	Path string
	To   string // of a rename
	Off  int64
	Len  int
	Void bool // a write of zeros only, as those ahead of the log are
}

// String prints the call without directories, so that transcripts read well.
func (c Call) String() string {
	name := filepath.Base(c.Path)
	switch c.Op {
	case OpRename:
		return fmt.Sprintf("%s %s %s", c.Op, name, filepath.Base(c.To))
	case OpRead, OpWrite:
		return fmt.Sprintf("%s %s %d+%d", c.Op, name, c.Off, c.Len)
	case OpPreallocate:
		return fmt.Sprintf("%s %s %d", c.Op, name, c.Len)
	case OpMkdirAll, OpList, OpCreate, OpOpen, OpRemove, OpSyncDir, OpSize, OpSync, OpClose:
		return fmt.Sprintf("%s %s", c.Op, name)
	}
	return string(c.Op)
}

// Fault is what a hook wants a call to do instead of succeeding.
type Fault struct {
	Err  error // returned by the call; nil lets it succeed
	Keep int   // bytes of a write that are written all the same (a short write)
	// Clean makes a sync that fails drop what it could not write, as Linux
	// does: programs go on reading it, the next sync succeeds without writing
	// it, and the disk has what the Loss left of it. Nil: all stays unsynced.
	Clean *Loss
}

// SetFault calls hook before every call, with the hook deciding the outcome;
// nil ends that. The hook must not call the file system, except PowerOff.
func (f *FS) SetFault(hook func(Call) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.fault = hook
}

// FailFrom makes the n-th call from now and all later ones fail with err, as a
// dying disk or a power cut does. n counts from 1 and only the calls for which
// match is true; nil counts all.
func (f *FS) FailFrom(n int, err error, match func(Call) bool) {
	seen := 0
	f.SetFault(func(c Call) Fault {
		if seen < n && (match == nil || match(c)) {
			seen++
		}
		if seen >= n {
			return Fault{Err: err}
		}
		return Fault{}
	})
}

// PowerOff makes every later call fail with ErrPowerLoss.
func (f *FS) PowerOff() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.dead = ErrPowerLoss
}

// Record begins or ends the recording of calls and forgets those recorded.
func (f *FS) Record(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.record, f.mu.calls = on, nil
}

// Calls returns what was recorded.
func (f *FS) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Call(nil), f.mu.calls...)
}

// Count is the number of calls so far.
func (f *FS) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.count
}

// begin counts and records a call and asks the hook about it.
func (f *FS) begin(c Call) Fault {
	f.mu.Lock()
	f.mu.count++
	c.N = f.mu.count
	if f.mu.record {
		f.mu.calls = append(f.mu.calls, c)
	}
	hook, dead := f.mu.fault, f.mu.dead
	f.mu.Unlock()
	if dead != nil {
		return Fault{Err: dead}
	}
	if hook == nil {
		return Fault{}
	}
	fault := hook(c)
	if c.Op != OpWrite {
		fault.Keep = 0
	}
	if c.Op != OpSync {
		fault.Clean = nil
	}
	return fault
}
