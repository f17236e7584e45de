package commitlog_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// machine is a log beside its model. Every action is one thing that a shell, a
// crash or a power cut may do to it.
type machine struct {
	fs      *crashfs.FS
	cfg     commitlog.Config
	log     *commitlog.Log
	m       *model
	dropped [][]byte // what the last truncation took, with nothing appended since
	epoch   uint64
	term    Term
	synced  Index // entries below it survive a power cut even in page-cache mode
}

// TestStateMachine compares the log with a slice under random operations.
func TestStateMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := newFS()
		s := &machine{fs: fs, cfg: config(fs), m: newModel(), term: 1}
		s.cfg.SegmentBytes = 4096 * rapid.Int64Range(4, 12).Draw(t, "segment blocks")
		s.cfg.TailCacheBytes = rapid.SampledFrom([]int64{1, 30_000, 1 << 20}).Draw(t, "tail cache")
		s.cfg.MaxGroupBytes = rapid.SampledFrom([]int64{1, 5000, 1 << 20}).Draw(t, "group")
		s.cfg.PageCache = rapid.Bool().Draw(t, "page cache")
		s.open(t)
		defer func() { s.log.Abandon() }()
		t.Repeat(map[string]func(*rapid.T){
			"append":   s.append,
			"restore":  s.restore,
			"sync":     s.sync,
			"truncate": s.truncate,
			"purge":    s.purge,
			"prepare":  func(t *rapid.T) { s.ok(t, s.log.PrepareSegment()) },
			"zero":     s.zero,
			"seal":     func(t *rapid.T) { s.ok(t, s.log.Seal()) },
			"close":    s.close,
			"kill":     s.kill,
			"crash":    s.crash,
			"read":     s.read,
			"":         s.check,
		})
	})
}

func (s *machine) zero(t *rapid.T) {
	_, err := s.log.ZeroAhead(4096*rapid.Int64Range(1, 4).Draw(t, "zero blocks"), 4096*rapid.Int64Range(0, 16).Draw(t, "ahead"))
	s.ok(t, err)
}

func (s *machine) ok(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *machine) open(t *rapid.T) {
	l, err := commitlog.Open(s.cfg)
	s.ok(t, err)
	s.log, s.epoch, s.dropped = l, 0, nil
	s.ok(t, s.m.legal(l))
	end, _ := l.End()
	s.synced = end + 1
}

func (s *machine) append(t *rapid.T) {
	if rapid.IntRange(0, 4).Draw(t, "new term") == 0 {
		s.term++
	}
	count := rapid.IntRange(1, 5).Draw(t, "count")
	size := rapid.SampledFrom([]int{4, 100, 1000, 4000, 9000, 70_000}).Draw(t, "size")
	s.ok(t, stepAppend(s.term, count, size)(s.log, s.m))
	s.dropped = nil
}

// restore appends what the last truncation took, the way a leader would send it.
func (s *machine) restore(t *rapid.T) {
	if len(s.dropped) == 0 {
		t.Skip()
	}
	s.log.BecomeSlave(s.term)
	s.ok(t, s.log.AppendSlave(bytes.Join(s.dropped, nil)))
	s.m.entries = append(s.m.entries, s.dropped...)
	s.dropped = nil
}

func (s *machine) sync(t *rapid.T) { s.ok(t, stepSync(s.log, s.m)) }

func (s *machine) truncate(t *rapid.T) {
	end := Index(len(s.m.entries))
	from := Index(rapid.Int64Range(int64(s.m.begin), int64(end)).Draw(t, "from"))
	if from < end {
		s.dropped = append([][]byte(nil), s.m.entries[from:]...)
		s.epoch++
	}
	s.ok(t, stepTruncate(from)(s.log, s.m))
	s.synced = min(s.synced, from)
}

func (s *machine) purge(t *rapid.T) {
	before := rapid.Int64Range(0, int64(len(s.m.entries))+2).Draw(t, "before")
	s.ok(t, stepPurge(Index(before))(s.log, s.m))
}

func (s *machine) close(t *rapid.T) {
	s.ok(t, s.log.Close())
	s.m.durable = Index(len(s.m.entries))
	s.open(t)
	if !s.log.Recovery().Clean {
		t.Fatalf("closed, but recovery says %+v", s.log.Recovery())
	}
}

// kill ends the process: what was written is there, what was not is gone.
func (s *machine) kill(t *rapid.T) {
	s.log.Abandon()
	s.reopen(t)
}

// crash is a power cut. In page-cache mode nothing is promised but a prefix,
// and what the last Open has found.
func (s *machine) crash(t *rapid.T) {
	s.log.Abandon()
	s.fs.PowerOff()
	seed := rapid.Uint64().Draw(t, "seed")
	s.fs = s.fs.Crash(rand.New(rand.NewPCG(seed, 1)))
	s.cfg.FS = s.fs
	if s.cfg.PageCache {
		s.m.durable = s.synced
	}
	s.reopen(t)
}

func (s *machine) reopen(t *rapid.T) {
	s.open(t)
	end, _ := s.log.End()
	s.m.entries = s.m.entries[:max(end+1, 0)]
	s.m.durable = end + 1
}

func (s *machine) read(t *rapid.T) {
	begin, end := int64(s.m.begin), int64(len(s.m.entries))-1
	if begin > end {
		t.Skip()
	}
	from := Index(rapid.Int64Range(begin, end).Draw(t, "from"))
	to := Index(rapid.Int64Range(int64(from), end+3).Draw(t, "to"))
	limit := rapid.SampledFrom([]int{0, 200, 5000, 100_000, 2 << 20}).Draw(t, "limit")
	f, err := s.log.Read(from, to, limit)
	s.ok(t, err)
	if f.First != from || f.Last < from || f.Last > to || f.Last > from && len(f.Bytes) > limit {
		t.Fatalf("read %d to %d in %d bytes: %d to %d in %d bytes", from, to, limit, f.First, f.Last, len(f.Bytes))
	}
	if !bytes.Equal(f.Bytes, bytes.Join(s.m.entries[f.First:f.Last+1], nil)) {
		t.Fatalf("read %d to %d: other bytes", f.First, f.Last)
	}
}

// check compares everything that the log says about itself with the model.
func (s *machine) check(t *rapid.T) {
	end, endTerm := s.log.End()
	durable, _ := s.log.Durable()
	if int(end) != len(s.m.entries)-1 || durable != s.m.durable-1 || s.log.Begin() != s.m.begin || s.log.Epoch() != s.epoch {
		t.Fatalf("log %d to %d, durable %d, epoch %d; model %d to %d, durable %d, epoch %d", s.log.Begin(), end, durable,
			s.log.Epoch(), s.m.begin, len(s.m.entries)-1, s.m.durable-1, s.epoch)
	}
	if err := s.checkTerms(end, endTerm); err != nil {
		t.Fatal(err)
	}
}

func (s *machine) checkTerms(end Index, endTerm Term) error {
	var want []commitlog.Run
	for i, e := range s.m.entries {
		h, err := commitlog.ParseHeader(e)
		if err != nil {
			return err
		}
		switch {
		case Index(i) == s.m.begin-1 && h.Term != s.log.PrevTerm():
			return fmt.Errorf("PrevTerm is %d, entry %d has %d", s.log.PrevTerm(), i, h.Term)
		case Index(i) < s.m.begin:
		case len(want) == 0 || want[len(want)-1].Term != h.Term:
			want = append(want, commitlog.Run{First: Index(i), Term: h.Term})
		}
		if term, err := s.log.TermAt(Index(i)); Index(i) >= s.m.begin-1 && (err != nil || term != h.Term) {
			return fmt.Errorf("TermAt(%d) is %d, %w", i, term, err)
		}
		if Index(i) == end && h.Term != endTerm {
			return fmt.Errorf("the last entry has term %d, End says %d", h.Term, endTerm)
		}
	}
	if got := s.log.Runs(); fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("runs are %v, want %v", got, want)
	}
	return nil
}
