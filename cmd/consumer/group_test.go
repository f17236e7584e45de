package main

import (
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
)

// at is how far a group is in queue 0 of t.
func (s *server) at(group string) int64 {
	s.T.Helper()
	d, err := s.Client.Admin().DescribeGroup(s.T.Context(), group)
	if err != nil || len(d.QueueList) != 1 {
		s.T.Fatal(err, d)
	}
	return d.QueueList[0].Offset
}

// TestGroupGoesOnWhereItWas: two runs print every message once.
func TestGroupGoesOnWhereItWas(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	s.publish("t", numbered(0, 100)...)
	if got := s.Command("", "t", "-g", "g", "-n", "30"); got.Exit != cli.ExitOK || got.Out != lines(0, 0, 30) {
		t.Errorf("%+v", got)
	}
	if at := s.at("g"); at != 30 {
		t.Errorf("the group is at %d", at)
	}
	c := s.Start("t", "-g", "g")
	c.Await(70)
	c.Signals <- os.Interrupt
	if got := c.Wait(); got.Exit != cli.ExitOK || got.Out != lines(0, 30, 100) || got.Err != "read 70\n" {
		t.Errorf("%+v", got)
	}
	if at := s.at("g"); at != 100 {
		t.Errorf("the group is at %d", at)
	}
	if got := s.Command("", "t", "-g", "late", "--from", "@99", "-n", "1"); got.Out != lines(0, 99, 100) {
		t.Errorf("%+v", got)
	}
}

// TestGroupFilters: what a filter does not want is passed over, at the end too.
func TestGroupFilters(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	messages := numbered(0, 100)
	for i := range messages {
		messages[i].Tag = []string{"paid", "open"}[min(1, i%10)]
	}
	s.publish("t", messages...)
	c := s.Start("t", "-g", "g", "--tag", "paid")
	c.Await(10)
	c.Signals <- os.Interrupt
	var want strings.Builder
	for i := 0; i < 100; i += 10 {
		want.WriteString(lines(0, i, i+1))
	}
	if got := c.Wait(); got.Exit != cli.ExitOK || got.Out != want.String() {
		t.Errorf("%+v", got)
	}
	if at := s.at("g"); at != 91 && at != 100 { // 100, if it looked for more before it ended
		t.Errorf("the group is at %d", at)
	}
	d := s.Start("t", "-g", "g", "--filter", "TAGS = 'gone'")
	for s.at("g") < 100 { // nothing is wanted, and all of it is done with
		runtime.Gosched()
	}
	d.Signals <- os.Interrupt
	if got := d.Wait(); got.Exit != cli.ExitOK || got.Out != "" {
		t.Errorf("%+v", got)
	}
}

// narrow takes so many bytes, and then its reader is gone.
type narrow struct {
	strings.Builder
	room int
}

func (n *narrow) Write(p []byte) (int, error) {
	if n.Len()+len(p) > n.room {
		return 0, io.ErrClosedPipe
	}
	return n.Builder.Write(p)
}

// TestOnlyWhatWasWrittenIsCommitted: what did not get out comes again.
func TestOnlyWhatWasWrittenIsCommitted(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	s.publish("t", numbered(0, 2*finishMessages)...)
	out := &narrow{room: len(lines(0, 0, finishMessages)) + 10}
	p := &program{streams: cli.Streams{Out: out, Err: io.Discard}, signals: make(chan os.Signal)}
	exit := cli.Execute(t.Context(), p.command(), []string{"t", "-g", "g", "--server", s.Addr}, p.streams)
	if exit != cli.ExitOK {
		t.Errorf("exit %d", exit)
	}
	written := int64(strings.Count(out.String(), "\n"))
	if at := s.at("g"); at != written || written > finishMessages {
		t.Errorf("%d lines were written, and the group is at %d", written, at)
	}
}
