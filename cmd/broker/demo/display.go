package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/dustin/go-humanize"
	"golang.org/x/term"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// display shows how the demo goes: a table that is drawn again and again on a
// terminal, lines elsewhere.
type display struct {
	out     io.Writer
	live    bool // redraw
	started time.Time
	books   *tally
	killer  *killer
	admin   *client.Admin

	mu struct {
		sync.Mutex
		drawn  int // lines of the table that stands on the terminal
		event  string
		before counts
		at     time.Time
	}
}

func newDisplay(out io.Writer) *display {
	d := &display{out: out, live: cli.IsTerminal(out) && os.Getenv("TERM") != "dumb", started: time.Now()}
	d.mu.at = d.started
	return d
}

// say tells an event: below the table, or as a line.
func (d *display) say(format string, args ...any) {
	text := fmt.Sprintf("%6.1fs  ", time.Since(d.started).Seconds()) + fmt.Sprintf(format, args...)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.event = text
	if !d.live {
		fmt.Fprintln(d.out, text)
	}
}

// run refreshes the display until ctx ends.
func (d *display) run(ctx context.Context) error {
	every := 5 * time.Second
	if d.live {
		every = 500 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			d.refresh(ctx)
		}
	}
}

func (d *display) refresh(ctx context.Context) {
	nodes, err := d.admin.Status(ctx)
	if err != nil {
		return // ctx has ended
	}
	now, window := d.books.report(false)
	d.mu.Lock()
	defer d.mu.Unlock()
	traffic := d.trafficLocked(now, window)
	if d.live {
		d.drawLocked(d.table(nodes, now, traffic))
		return
	}
	leader := "no leader"
	for _, n := range nodes {
		if s := n.Status.GetStatus(); s.GetServing() {
			leader = fmt.Sprintf("%s leads term %d, commit %d", s.GetId(), s.GetTerm(), s.GetCommitIndex())
		}
	}
	fmt.Fprintf(d.out, "%6.1fs  %s  %s  %s\n", time.Since(d.started).Seconds(), leader, traffic, books(now))
}

// trafficLocked says how much goes in and out, since it was last asked.
func (d *display) trafficLocked(now counts, window *hdrhistogram.Histogram) string {
	seconds := time.Since(d.mu.at).Seconds()
	in := float64(now.Acked-d.mu.before.Acked) / seconds
	out := float64(now.Consumed-d.mu.before.Consumed) / seconds
	d.mu.before, d.mu.at = now, time.Now()
	return fmt.Sprintf("in %s/s  out %s/s  ack p50 %s p99 %s", humanize.SIWithDigits(in, 1, "msg"), humanize.SIWithDigits(out, 1, "msg"),
		quantile(window, 50), quantile(window, 99))
}

func quantile(h *hdrhistogram.Histogram, q float64) string {
	return fmt.Sprintf("%.1f ms", float64(h.ValueAtQuantile(q))/1000)
}

func books(c counts) string {
	return fmt.Sprintf("acked %s  consumed %s  LOST %d  DUPLICATED %d  OUT OF ORDER %d", humanize.Comma(int64(c.Acked)),
		humanize.Comma(int64(c.Consumed)), c.Lost, c.Duplicated, c.OutOfOrder)
}

func (d *display) table(nodes []client.NodeStatus, now counts, traffic string) string {
	slices.SortFunc(nodes, func(a, b client.NodeStatus) int { return strings.Compare(a.ID, b.ID) })
	var end int64
	for _, n := range nodes {
		end = max(end, n.Status.GetStatus().GetLedgerEndIndex())
	}
	var rows [][]any
	for _, n := range nodes {
		s := n.Status.GetStatus()
		if n.Err != nil {
			rows = append(rows, []any{n.ID, "down", "", "", "", "", ""})
			continue
		}
		rows = append(rows, []any{
			n.ID, strings.ToLower(s.GetRole()), s.GetTerm(), s.GetLedgerEndIndex(), s.GetDurableIndex(), s.GetCommitIndex(), end - s.GetDurableIndex(),
		})
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "LedgerMQ demo, running for %v\n", time.Since(d.started).Round(time.Second))
	_ = cli.PrintTable(&b, []any{"broker", "role", "term", "end", "durable", "commit", "lag"}, rows)
	fmt.Fprintln(&b, traffic)
	if all := d.killer.failovers(); len(all) > 0 {
		fmt.Fprintf(&b, "failover %d: %s\n", len(all), all[len(all)-1])
	}
	fmt.Fprintln(&b, books(now))
	fmt.Fprintf(&b, "%s\n[Ctrl-C] stop and count", d.mu.event)
	return b.String()
}

// drawLocked puts the table in the place of the one before.
func (d *display) drawLocked(table string) {
	width := 80
	if f, ok := d.out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			width = w
		}
	}
	var b strings.Builder
	if d.mu.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", d.mu.drawn)
	}
	lines := strings.Split(table, "\n")
	for _, line := range lines {
		if runes := []rune(line); len(runes) > width {
			line = string(runes[:width])
		}
		b.WriteString("\r\x1b[2K" + line + "\n")
	}
	b.WriteString("\x1b[J")
	d.mu.drawn = len(lines)
	_, _ = io.WriteString(d.out, b.String())
}
