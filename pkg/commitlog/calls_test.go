package commitlog_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// TestCalls pins which file system calls each operation makes, and in which
// order: what must be durable before what. testdata/calls is the transcript;
// -rewrite renews it.
func TestCalls(t *testing.T) {
	datadriven.RunTest(t, "testdata/calls", func(t *testing.T, d *datadriven.TestData) string {
		s, ok := callsState[t]
		if !ok {
			s = &callsScript{fs: newFS()}
			s.cfg = config(s.fs)
			s.cfg.SegmentID = func() uint64 { s.segments++; return s.segments }
			callsState[t] = s
			t.Cleanup(func() { delete(callsState, t) })
		}
		return s.run(t, d)
	})
}

var callsState = map[*testing.T]*callsScript{}

type callsScript struct {
	fs  *crashfs.FS
	cfg commitlog.Config
	log *commitlog.Log

	segments uint64
}

func (s *callsScript) run(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	s.fs.Record(true)
	err := s.command(t, d)
	var out strings.Builder
	for _, c := range s.fs.Calls() {
		fmt.Fprintln(&out, c)
	}
	if err != nil {
		fmt.Fprintln(&out, "error:", err)
	}
	if out.Len() == 0 {
		return "no calls\n"
	}
	return out.String()
}

func (s *callsScript) command(t *testing.T, d *datadriven.TestData) error {
	t.Helper()
	arg := func(name string) (n int) {
		d.ScanArgs(t, name, &n)
		return n
	}
	switch d.Cmd {
	case "open":
		s.cfg.PageCache = d.HasArg("page-cache")
		s.log = mustOpen(t, s.cfg)
		return nil
	case "append":
		appendN(t, s.log, 1, arg("count"), arg("bytes"))
		return nil
	case "sync":
		_, err := s.log.Sync()
		return err
	case "truncate":
		s.log.BecomeSlave(1)
		return s.log.TruncateFrom(Index(arg("from")))
	case "read":
		_, err := s.log.Read(Index(arg("from")), Index(arg("to")), 1<<20)
		return err
	case "purge":
		return s.log.PurgeBefore(Index(arg("before")))
	case "prepare":
		return s.log.PrepareSegment()
	case "zero":
		_, err := s.log.ZeroAhead(int64(arg("blocks"))<<12, 1<<30)
		return err
	case "seal":
		return s.log.Seal()
	case "outlines":
		return writeOutlines(s.log)
	case "close":
		return s.log.Close()
	case "abandon":
		s.log.Abandon()
		return nil
	}
	require.FailNow(t, "unknown command", d.Cmd)
	return nil
}
