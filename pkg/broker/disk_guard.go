package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// diskCheckEvery is how often the file system is asked how full it is. A lack of
// space that somebody meets is looked at at once.
const diskCheckEvery = time.Second

// diskLevel is what the water marks make of the disk.
type diskLevel uint8

const (
	diskFine diskLevel = iota + 1
	diskWarning
	diskReadOnly
)

// diskState is what is known of the disk at one moment.
type diskState struct {
	fs    FileSystem
	known bool // the file system has answered
	level diskLevel
	// noSpace is why the commit log cannot get its next segment; nil: it can.
	noSpace error
}

// diskGuard watches the file system of the data directory and says what may still
// be written. It stands between producers and the ledger, so that a full disk ends
// in a refusal before anything is appended and not in a write that fails.
//
// Its own goroutine looks; everybody may ask.
type diskGuard struct {
	node     string
	storage  StorageConfig
	statfs   func(dir string) (FileSystem, error)
	dir      string
	log      *slog.Logger
	reserve  diskReserve   // of the goroutine that looks
	kicked   chan struct{} // capacity 1: look now
	changed  chan struct{} // capacity 1: to the keeper of fitness
	deaf     bool          // the file system did not answer last time
	noSpace  atomic.Pointer[error]
	state    atomic.Pointer[diskState]
	gaveBack atomic.Int64 // how often the reserve was given up
}

func newDiskGuard(cfg Config, dir string, log *slog.Logger) *diskGuard {
	g := &diskGuard{
		node: cfg.Node.ID, storage: cfg.Storage, statfs: cfg.Statfs, dir: dir, log: log,
		reserve: diskReserve{dir: dir, bytes: int64(cfg.Storage.DiskReserveBytes)},
		kicked:  make(chan struct{}, 1), changed: make(chan struct{}, 1),
	}
	if g.statfs == nil {
		g.statfs = statfs
	}
	g.reserve.find()
	g.state.Store(&diskState{level: diskFine})
	return g
}

// statfs asks the operating system.
func statfs(dir string) (FileSystem, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return FileSystem{}, fmt.Errorf("statfs %s: %w", dir, err)
	}
	if st.Blocks == 0 {
		return FileSystem{}, fmt.Errorf("statfs %s: the file system does not tell its size", dir)
	}
	block := int64(st.Bsize)
	free := int64(st.Bavail) * block
	return FileSystem{Total: int64(st.Blocks-st.Bfree)*block + free, Free: free}, nil
}

// run looks at the disk until ctx is done.
func (g *diskGuard) run(ctx context.Context) error {
	tick := time.NewTicker(diskCheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-g.kicked:
		}
		g.check()
	}
}

// onSpace is told by the ledger whether its log gets its next segment.
func (g *diskGuard) onSpace(err error) {
	if err == nil {
		g.noSpace.Store(nil)
	} else {
		g.noSpace.Store(&err)
	}
	signal(g.kicked)
}

// check looks once and draws the consequences.
func (g *diskGuard) check() {
	old := g.state.Load()
	next := *old
	next.noSpace = nil
	if err := g.noSpace.Load(); err != nil {
		next.noSpace = *err
	}
	fs, err := g.statfs(g.dir)
	if err == nil {
		next.fs, next.known = fs, true
		next.level = judgeDisk(old.level, g.counted(fs), g.storage)
		g.mindReserve(fs, next)
	}
	if deaf := err != nil; deaf && !g.deaf {
		g.log.Warn("the file system of the data directory does not say how full it is: water marks are off", "dir", g.dir, "error", err)
		g.deaf = true
	} else if !deaf {
		g.deaf = false
	}
	g.state.Store(&next)
	if old.level != next.level || (old.noSpace == nil) != (next.noSpace == nil) {
		g.tell(next)
		signal(g.changed)
	}
}

// counted is fs as it were with the reserve in its place, so that giving it up
// does not look like free space.
func (g *diskGuard) counted(fs FileSystem) FileSystem {
	fs.Free = max(0, fs.Free-g.reserve.missing())
	return fs
}

// judgeDisk is the level at fs. A level once reached is left only with some space
// more than it was reached with.
func judgeDisk(level diskLevel, fs FileSystem, marks StorageConfig) diskLevel {
	under := func(m DiskMark, reached diskLevel) bool {
		at, margin := m.free(fs.Total)
		if level >= reached {
			at += margin
		}
		return fs.Free <= at
	}
	switch {
	case under(marks.DiskReadOnlyAt, diskReadOnly):
		return diskReadOnly
	case under(marks.DiskWarnAt, diskWarning):
		return diskWarning
	}
	return diskFine
}

// mindReserve gives the reserve up when there is nothing else left, and takes it
// back when there is plenty.
func (g *diskGuard) mindReserve(fs FileSystem, now diskState) {
	full := now.noSpace != nil && !errors.Is(now.noSpace, errWouldFill) || g.scarce(fs)
	switch {
	case g.reserve.held && full:
		err := g.reserve.release()
		g.gaveBack.Add(1)
		g.log.Error("no space is left on the disk: the reserve is given up", "dir", g.dir, "bytes", g.reserve.bytes, "error", err)
	case !g.reserve.held && !full && now.level != diskReadOnly && fs.Free > 2*g.reserve.bytes:
		if err := g.reserve.hold(); err != nil {
			g.reserve.bytes = 0 // not again every second; the next start tries
			g.log.Warn("no reserve on the disk", "error", err)
		}
	}
}

// scarce says that there is hardly a block left.
func (g *diskGuard) scarce(fs FileSystem) bool { return fs.Free < int64(g.storage.DiskReserveBytes)/4 }

// mayFlush says whether there is room for the state store to write its tables. Until
// there is, what they would hold stays in memory and in the ledger.
func (g *diskGuard) mayFlush() bool {
	now := g.state.Load()
	return now.noSpace == nil && !(now.known && g.scarce(now.fs))
}

// errWouldFill refuses to take the last space of a file system.
var errWouldFill = fmt.Errorf("it would take the last space of the file system: %w", syscall.ENOSPC)

// mayGrow refuses what would leave less free than the reserve: a segment, the copies
// that repair the log, what the state flushes for a seed. None of them is alone on the
// disk, and a reservation that fails has taken everything for a moment.
func (g *diskGuard) mayGrow(bytes int64) error {
	fs, err := g.statfs(g.dir)
	if err != nil {
		return nil // the reservation itself will tell
	}
	if fs.Free-bytes < int64(g.storage.DiskReserveBytes) {
		return fmt.Errorf("%s free, %s are wanted, and the reserve is to stay: %w", roundSize(fs.Free), roundSize(bytes), errWouldFill)
	}
	return nil
}

// tell logs a change.
func (g *diskGuard) tell(now diskState) {
	switch {
	case now.blocked():
		g.log.Error("read-only: "+now.why(g.storage), "dir", g.dir)
	case now.level == diskWarning:
		g.log.Warn("the disk fills up", "dir", g.dir, "disk", now.fs.String(), "read_only_at", string(g.storage.DiskReadOnlyAt))
	default:
		g.log.Info("the disk has space", "dir", g.dir, "disk", now.fs.String())
	}
}

// readOnly says whether this member refuses what would make its ledger grow, and why.
func (g *diskGuard) readOnly() (why string, yes bool) {
	now := g.state.Load()
	if !now.blocked() {
		return "", false
	}
	return now.why(g.storage), true
}

func (s *diskState) blocked() bool { return s.level == diskReadOnly || s.noSpace != nil }

func (s *diskState) why(marks StorageConfig) string {
	if s.noSpace != nil {
		return fmt.Sprintf("disk full: there is no space for the next segment of the commit log (%s)", s.fs)
	}
	return fmt.Sprintf("disk full: %s; read-only from %s on (storage.disk_read_only_at)", s.fs, describeMark(marks.DiskReadOnlyAt))
}

func describeMark(m DiskMark) string {
	if _, bytes, _ := m.parse(); bytes > 0 {
		return string(m) + " left"
	}
	return string(m) + " used"
}

// refusal is the error for whoever wants to write, nil while that is allowed. It is
// given before anything is appended, so it is certain.
func (g *diskGuard) refusal() error {
	why, yes := g.readOnly()
	if !yes {
		return nil
	}
	return errorf(CodeDiskFull, "%s is read-only: %s. Free or add space on the file system of %s; writing goes on by itself then", g.node, why, g.dir)
}
