package chaos

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

const (
	// blockBytes is what positions and lengths of frames are multiples of
	// (docs/format/commitlog.md).
	blockBytes = 4096
	frameMagic = "LMGF"
	// mostEnds is how often one member may end because of damage before that is a fault.
	mostEnds = 20
)

// wipe empties the data directory of a member that is down. It comes back as another
// incarnation and does not count until it holds what it may have acknowledged before.
func wipe(n *nemesis, targets []*host) func() {
	h := targets[0]
	h.kill()
	h.empty()
	return func() {
		h.start()
		n.counts.add("members wiped", 1)
	}
}

// empty removes everything that the broker had.
func (h *host) empty() {
	must(h.t, os.RemoveAll(h.node.Data))
	h.flipped = false
}

func flipSealed(n *nemesis, targets []*host) func() {
	return flip(n, targets[0], "a sealed segment", func(dir string) (string, int64) {
		segments := filesOf(dir, "ledger/commitlog/*.seg")
		if len(segments) < 2 {
			return "", 0
		}
		file := segments[n.rng.IntN(len(segments)-1)]
		return file, sizeOf(file)
	})
}

func flipActive(n *nemesis, targets []*host) func() {
	return flip(n, targets[0], "an active segment", func(dir string) (string, int64) {
		segments := filesOf(dir, "ledger/commitlog/*.seg")
		if len(segments) == 0 {
			return "", 0
		}
		file := segments[len(segments)-1]
		return file, provenBytes(file)
	})
}

func flipState(n *nemesis, targets []*host) func() {
	// In good order it writes its tables; killed, it may have none.
	if targets[0].node.TrySignal(syscall.SIGTERM) {
		targets[0].terminated()
	}
	return flip(n, targets[0], "a table of the state", func(dir string) (string, int64) {
		tables := filesOf(dir, "state/*.sst")
		if len(tables) == 0 {
			return "", 0
		}
		file := tables[n.rng.IntN(len(tables))]
		return file, sizeOf(file)
	})
}

// flip changes bits in a file of a member that is down: where says in which, and how
// far from its beginning.
func flip(n *nemesis, h *host, what string, where func(dir string) (file string, limit int64)) func() {
	if h.node.Running() {
		h.kill()
	}
	if file, limit := where(h.node.Data); limit > 0 {
		bits := 1 + n.rng.IntN(4)
		n.log("%d bits flip in the first %d bytes of %s", bits, limit, file)
		must(n.t, flipBits(n.rng, file, limit, bits))
		h.flipped = true
		n.counts.add("damages of "+what, 1)
	} else {
		n.counts.add("there was nothing to damage in "+what, 1)
	}
	return h.start
}

// flipBits flips bits somewhere in the first limit bytes of a file.
func flipBits(rng *rand.Rand, path string, limit int64, bits int) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	for range bits {
		var b [1]byte
		at := rng.Int64N(limit)
		if _, err := file.ReadAt(b[:], at); err != nil {
			return fmt.Errorf("%s at %d: %w", path, at, err)
		}
		b[0] ^= 1 << rng.IntN(8)
		if _, err := file.WriteAt(b[:], at); err != nil {
			return err
		}
	}
	return file.Sync()
}

// provenBytes is how much of an active segment is proven to have been durable by what
// stands behind it. Damage to the last frame cannot be told from a write that was cut
// off, and if the last one was, not to the one before it either: the format says so, and
// what cannot be told cannot be asked for.
func provenBytes(path string) int64 {
	content, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	var frames []int64
	for at := blockBytes; at < len(content); at += blockBytes {
		if bytes.HasPrefix(content[at:], []byte(frameMagic)) {
			frames = append(frames, int64(at))
		}
	}
	if len(frames) < 4 {
		return 0
	}
	return frames[len(frames)-2]
}

func filesOf(dir, pattern string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, pattern))
	slices.Sort(files)
	return files
}

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// nurse deals with a member that ended because of the damage that we made, as
// docs/runbooks/damaged-disk.md says: one that does not start is given an empty
// directory.
func (n *nemesis) nurse(h *host, code int) {
	if h.ends++; h.ends > mostEnds {
		n.t.Errorf("%s ended %d times after its data directory was damaged", h.node.ID, h.ends)
	}
	text := h.node.Logs()
	switch {
	case code == 2 && strings.Contains(text[max(0, len(text)-4000):], "DATA_DIR_REFUSED"):
		n.log("%s refuses its damaged directory; it gets an empty one", h.node.ID)
		n.counts.add("damaged directories that were refused, and emptied then", 1)
		h.empty()
	case code == 1:
		n.log("%s ended at the damage that was made", h.node.ID)
		n.counts.add("brokers that ended at damage and started again", 1)
	default:
		n.t.Errorf("%s ended with exit code %d after its data directory was damaged", h.node.ID, code)
	}
}

// whole tells whether a member whose copy was harmed is known to hold everything
// committed again: all members answer in one term, and it knows itself to be that far.
func (n *nemesis) whole(h *host) bool {
	all := statusOf(n.ctx, n.hosts)
	own := all[slices.Index(n.hosts, h)]
	var committed int64 = -1
	for _, s := range all {
		if s == nil || own == nil || s.GetTerm() != own.GetTerm() {
			return false
		}
		if s.GetServing() {
			committed = s.GetCommitIndex()
		}
	}
	return committed >= 0 && own.GetSeat() == "VOTER" && own.GetStanding() == "" && len(own.GetSuspect()) == 0 && own.GetSeedTotalBytes() == 0 &&
		own.GetCommitIndex() >= committed && own.GetDurableIndex() >= committed
}

// statusOf asks all hosts at once; nil for those that do not answer.
func statusOf(ctx context.Context, hosts []*host) []*brokerv1.MemberStatus {
	all := make([]*brokerv1.MemberStatus, len(hosts))
	asking := errgroup.Group{}
	for i, h := range hosts {
		asking.Go(func() error {
			if s, err := h.node.Status(ctx); err == nil {
				all[i] = s
			}
			return nil
		})
	}
	_ = asking.Wait()
	return all
}
