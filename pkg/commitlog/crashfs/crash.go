package crashfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Loss says what a power cut takes. The zero value takes everything that was
// not synced.
type Loss struct {
	// Sector is the size, in bytes, of what the disk writes as a whole; 0
	// means 4096.
	Sector int64
	// KeepSector says whether an unsynced sector of a file had reached the
	// disk; it is asked once per sector and write, in order. Nil: none had.
	KeepSector func(path string, off int64) bool
	// KeepSize says whether an unsynced change of a file's length that no
	// kept sector brings about had reached the disk. Nil: none had.
	KeepSize func(path string) bool
	// KeepDirOp says the same of the n-th unsynced change of a directory. Nil: none had.
	KeepDirOp func(n int) bool
	// Scramble overwrites a sector that had not reached the disk but was
	// being written. Nil leaves the old content.
	Scramble func(sector []byte)
}

// Crash returns the file system as a power cut leaves it, with a RandomLoss. The
// original is unchanged; to end its use, call PowerOff.
func (f *FS) Crash(rng *rand.Rand) *FS { return f.CrashWith(RandomLoss(rng)) }

// RandomLoss takes each sector (512 bytes or 4 KiB) and directory change at
// random: none, all, or some share of them.
func RandomLoss(rng *rand.Rand) Loss {
	keep := []float64{0, 1, rng.Float64(), rng.Float64()}[rng.IntN(4)]
	coin := func() bool { return rng.Float64() < keep }
	return Loss{
		Sector:     []int64{512, 4096}[rng.IntN(2)],
		KeepSector: func(string, int64) bool { return coin() },
		KeepSize:   func(string) bool { return coin() },
		KeepDirOp:  func(int) bool { return coin() },
	}
}

// CrashWith is Crash with a chosen loss.
func (f *FS) CrashWith(loss Loss) *FS {
	loss = loss.withDefaults()
	f.mu.Lock()
	defer f.mu.Unlock()
	names := map[string]*node{}
	for path, n := range f.mu.durable {
		names[path] = n
	}
	for i, op := range f.mu.dirOps {
		if loss.KeepDirOp != nil && loss.KeepDirOp(i) {
			op.apply(names)
		}
	}
	after := New()
	for _, path := range slices.Sorted(maps.Keys(names)) {
		left := loss.leave(path, names[path])
		n := &node{content: left, durable: left.clone()}
		after.mu.names[path], after.mu.durable[path] = n, n
	}
	return after
}

func (l Loss) withDefaults() Loss {
	if l.Sector == 0 {
		l.Sector = 4096
	}
	return l
}

// leave is a file's content after the cut.
func (l Loss) leave(path string, n *node) content {
	left := n.durable.clone()
	for _, w := range n.writes {
		if w.data == nil {
			if l.KeepSize != nil && l.KeepSize(path) {
				w.apply(&left)
			}
			continue
		}
		for off := w.off; off < w.off+int64(len(w.data)); {
			end := min((off/l.Sector+1)*l.Sector, w.off+int64(len(w.data)))
			l.sector(path, off, w.data[off-w.off:end-w.off], &left)
			off = end
		}
	}
	return left
}

func (l Loss) sector(path string, off int64, data []byte, left *content) {
	switch {
	case l.KeepSector != nil && l.KeepSector(path, off):
		left.write(off, data)
	case l.Scramble != nil:
		garbage := append([]byte(nil), data...)
		l.Scramble(garbage)
		left.write(off, garbage)
	}
}
