package crashfs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// FS is a file system in memory. It is safe for concurrent use.
type FS struct {
	mu struct {
		sync.Mutex
		names   map[string]*node // as programs see them
		durable map[string]*node // as the disk has them
		dirOps  []dirOp          // since the last SyncDir of their directories
		fault   func(Call) Fault
		calls   []Call
		count   int
		record  bool
		dead    error
	}
}

var _ commitlog.FS = (*FS)(nil)

// dirOp is one change of a directory. It happens as a whole or not at all.
type dirOp struct {
	dir    string
	add    string // name that comes to be, if any
	node   *node  // the file behind add
	remove string // name that ceases to be, if any
}

// New returns an empty file system.
func New() *FS {
	f := &FS{}
	f.mu.names = map[string]*node{}
	f.mu.durable = map[string]*node{}
	return f
}

// MkdirAll does nothing: directories exist when they are used.
func (f *FS) MkdirAll(dir string) error { return f.begin(Call{Op: OpMkdirAll, Path: dir}).Err }

// List returns the names of the files in dir, sorted.
func (f *FS) List(dir string) ([]string, error) {
	if fault := f.begin(Call{Op: OpList, Path: dir}); fault.Err != nil {
		return nil, fault.Err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for path := range f.mu.names {
		if filepath.Dir(path) == filepath.Clean(dir) {
			names = append(names, filepath.Base(path))
		}
	}
	sort.Strings(names)
	return names, nil
}

// Create makes an empty file under that name. A file that had the name before
// is replaced; handles to it go on with the old file.
func (f *FS) Create(path string) (commitlog.File, error) {
	if fault := f.begin(Call{Op: OpCreate, Path: path}); fault.Err != nil {
		return nil, fault.Err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	path = filepath.Clean(path)
	n := &node{}
	f.mu.names[path] = n
	f.mu.dirOps = append(f.mu.dirOps, dirOp{dir: filepath.Dir(path), add: path, node: n})
	return &file{fs: f, path: path, node: n}, nil
}

// Open opens an existing file.
func (f *FS) Open(path string) (commitlog.File, error) {
	if fault := f.begin(Call{Op: OpOpen, Path: path}); fault.Err != nil {
		return nil, fault.Err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	path = filepath.Clean(path)
	n, ok := f.mu.names[path]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
	}
	return &file{fs: f, path: path, node: n}, nil
}

// Rename gives a file another name in the same directory.
func (f *FS) Rename(from, to string) error {
	if fault := f.begin(Call{Op: OpRename, Path: from, To: to}); fault.Err != nil {
		return fault.Err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	from, to = filepath.Clean(from), filepath.Clean(to)
	n, ok := f.mu.names[from]
	if !ok {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: os.ErrNotExist}
	}
	if filepath.Dir(from) != filepath.Dir(to) {
		return fmt.Errorf("crashfs: rename between directories: %s to %s", from, to)
	}
	delete(f.mu.names, from)
	f.mu.names[to] = n
	f.mu.dirOps = append(f.mu.dirOps, dirOp{dir: filepath.Dir(to), add: to, node: n, remove: from})
	return nil
}

// Remove deletes a name. Open handles stay usable.
func (f *FS) Remove(path string) error {
	if fault := f.begin(Call{Op: OpRemove, Path: path}); fault.Err != nil {
		return fault.Err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	path = filepath.Clean(path)
	if _, ok := f.mu.names[path]; !ok {
		return &fs.PathError{Op: "remove", Path: path, Err: os.ErrNotExist}
	}
	delete(f.mu.names, path)
	f.mu.dirOps = append(f.mu.dirOps, dirOp{dir: filepath.Dir(path), remove: path})
	return nil
}

// SyncDir makes the directory's changes durable.
func (f *FS) SyncDir(dir string) error {
	if fault := f.begin(Call{Op: OpSyncDir, Path: dir}); fault.Err != nil {
		return fault.Err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var others []dirOp
	for _, op := range f.mu.dirOps {
		if op.dir == filepath.Clean(dir) {
			op.apply(f.mu.durable)
		} else {
			others = append(others, op)
		}
	}
	f.mu.dirOps = others
	return nil
}

func (op dirOp) apply(names map[string]*node) {
	if op.remove != "" {
		delete(names, op.remove)
	}
	if op.add != "" {
		names[op.add] = op.node
	}
}

// ReadFile returns a copy of a file's content as programs see it.
func (f *FS) ReadFile(path string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.mu.names[filepath.Clean(path)]
	if !ok {
		return nil, &fs.PathError{Op: "read", Path: path, Err: os.ErrNotExist}
	}
	return n.content.bytes(), nil
}

// WriteFile replaces a file, durably and without faults: how a test damages a disk.
func (f *FS) WriteFile(path string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := &node{}
	n.content.write(0, data)
	n.durable = n.content.clone()
	f.mu.names[filepath.Clean(path)] = n
	f.mu.durable[filepath.Clean(path)] = n
}

// Flip turns bits of one byte of a file on the disk, and in what programs read of it,
// under open handles too: how a test lets a disk rot. What is written there later, or
// was and is not synced, is as it was written. False: there is no such byte.
func (f *FS) Flip(path string, off int64, mask byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.mu.names[filepath.Clean(path)]
	if !ok || off < 0 || off >= int64(len(n.durable.data)) || off >= int64(len(n.content.data)) {
		return false
	}
	if n.content.data[off] == n.durable.data[off] {
		n.content.data[off] ^= mask
	}
	n.durable.data[off] ^= mask
	return true
}

// Spoil makes the 4 KiB block of a file at off unreadable, or readable again: EIO, until all of
// it is written. (A crash before that is synced leaves it unreadable.) False: there is no such block.
func (f *FS) Spoil(path string, off int64, bad bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.mu.names[filepath.Clean(path)]
	if !ok || off < 0 || off >= n.durable.size || off >= n.content.size {
		return false
	}
	n.content.spoil(off&^(blockBytes-1), bad)
	n.durable.spoil(off&^(blockBytes-1), bad)
	return true
}

// Files returns the paths of all files, sorted.
func (f *FS) Files() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var paths []string
	for p := range f.mu.names {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	return paths
}

// Clone copies the file system as programs see it, all of it durable: what a
// restart after kill -9 finds once everything has reached the disk.
func (f *FS) Clone() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := New()
	for path, n := range f.mu.names {
		copied := &node{content: n.content.clone(), durable: n.content.clone()}
		c.mu.names[path], c.mu.durable[path] = copied, copied
	}
	return c
}

// Fork copies the file system with what is unsynced still unsynced: what a
// restart after kill -9 finds, before a power cut.
func (f *FS) Fork() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	copies := map[*node]*node{}
	fork := func(n *node) *node {
		if n != nil && copies[n] == nil {
			copies[n] = &node{content: n.content.clone(), durable: n.durable.clone(), writes: slices.Clone(n.writes)}
		}
		return copies[n]
	}
	c := New()
	for path, n := range f.mu.names {
		c.mu.names[path] = fork(n)
	}
	for path, n := range f.mu.durable {
		c.mu.durable[path] = fork(n)
	}
	for _, op := range f.mu.dirOps {
		op.node = fork(op.node)
		c.mu.dirOps = append(c.mu.dirOps, op)
	}
	return c
}
