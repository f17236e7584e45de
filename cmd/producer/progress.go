package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
)

const (
	// progressAfter spares short runs the flicker.
	progressAfter = 300 * time.Millisecond
	redrawEvery   = 200 * time.Millisecond
	plainEvery    = time.Second
	// stalledAfter is when a missing acknowledgement is worth a word.
	stalledAfter = 500 * time.Millisecond
)

// showProgress writes to stderr how far publishing is, until it is over.
func (r *publishing) showProgress() error {
	mode := r.flags.progress.Value
	if mode == "auto" {
		mode = "none"
		if cli.IsTerminal(r.streams.Err) && os.Getenv("TERM") != "dumb" {
			mode = "redraw"
		}
	}
	every, begin, end := redrawEvery, "\r", "\x1b[K"
	switch mode {
	case "none":
		return nil
	case "plain":
		every, begin, end = plainEvery, "", "\n"
	}
	first := time.NewTimer(max(progressAfter, every))
	defer first.Stop()
	state := progressState{at: r.began, moved: r.began}
	for drawn := false; ; drawn = true {
		select {
		case <-r.closed:
			if drawn && mode == "redraw" {
				fmt.Fprint(r.streams.Err, "\r\x1b[K")
			}
			return nil
		case now := <-first.C:
			fmt.Fprint(r.streams.Err, begin+r.progressLine(&state, now)+end)
			first.Reset(every)
		}
	}
}

// progressState is what the line before was drawn from.
type progressState struct {
	at    time.Time
	acked uint64
	rate  float64
	moved time.Time // when the last acknowledgement came, as far as seen
}

func (r *publishing) progressLine(s *progressState, now time.Time) string {
	stats := r.producer.Stats()
	if dt := now.Sub(s.at).Seconds(); dt > 0 {
		rate := float64(stats.Acked-s.acked) / dt
		s.rate = 0.5*s.rate + 0.5*rate
	}
	if stats.Acked != s.acked || stats.Buffered == 0 {
		s.moved = now
	}
	s.at, s.acked = now, stats.Acked
	parts := []string{
		short(float64(r.sent.Load())) + " sent", short(float64(stats.Acked)) + " acked", short(s.rate) + "/s",
	}
	if read := r.read.Load(); r.size > 0 && read > 0 {
		done := min(float64(read)/float64(r.size), 1)
		left := time.Duration(float64(now.Sub(r.began)) * (1 - done) / done).Round(time.Second)
		parts = append(parts, fmt.Sprintf("%.0f%%", 100*done), fmt.Sprintf("%v left", left))
	}
	leader := r.client.Leader()
	switch silent := now.Sub(s.moved).Round(100 * time.Millisecond); {
	case silent > stalledAfter && leader == "":
		parts = append(parts, fmt.Sprintf("no leader for %v, retrying", silent))
	case silent > stalledAfter:
		parts = append(parts, fmt.Sprintf("no acknowledgement from %s for %v, retrying", leader, silent))
	case leader != "":
		parts = append(parts, "leader "+leader)
	}
	return strings.Join(parts, "  ")
}

// short writes a number with three digits and a unit.
func short(n float64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.2fM", n/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.1fk", n/1e3)
	}
	return fmt.Sprintf("%.0f", n)
}
