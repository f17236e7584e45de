package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// trimming is what `topic trim` is told.
type trimming struct {
	queue  int
	to     string
	before string
	dryRun bool
}

// trimmed is a queue before and after, as `-o json` shows it.
type trimmed struct {
	Queue   int   `json:"queue"`
	Was     int64 `json:"first_offset_before"`
	First   int64 `json:"first_offset"`
	End     int64 `json:"end_offset"`
	Deleted int64 `json:"deleted"`
}

func newTopicTrim(a *admin) *cobra.Command {
	f := &trimming{}
	cmd := &cobra.Command{
		Use:   "trim NAME",
		Short: "Delete the oldest messages of a topic's queues",
		Long: `Delete the oldest messages of a topic's queues: those below an offset, or stored
before a time. It cannot be taken back. The disk gets their space with the retention of
the whole ledger: docs/topics.md.`,
		Example: `  broker admin topic trim orders --queue 3 --to 5000
  broker admin topic trim orders --before 48h --dry-run
  broker admin topic trim orders --to end`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error { return a.trim(ctx, admin, args[0], f) })
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.IntVar(&f.queue, "queue", -1, "only this queue; default all of them")
	fs.StringVar(&f.to, "to", "", "the oldest offset to keep, of one queue, or end: keep nothing")
	fs.StringVar(&f.before, "before", "", "what was stored before this time, or so long ago, goes")
	fs.BoolVar(&f.dryRun, "dry-run", false, "only show what would be deleted")
	return cmd
}

func (a *admin) trim(ctx context.Context, admin *client.Admin, name string, f *trimming) error {
	t, err := admin.DescribeTopic(ctx, name)
	if err != nil {
		return fmt.Errorf("topic %q: %w", name, err)
	}
	to, err := f.offsets(ctx, admin, t)
	if err != nil {
		return err
	}
	after := t.Queues
	if !f.dryRun {
		if after, err = admin.TrimTopic(ctx, name, to); err != nil {
			return fmt.Errorf("topic %q: %w", name, err)
		}
	}
	all, rows := []trimmed{}, [][]any{}
	for _, q := range after {
		offset, asked := to[q.Queue]
		if !asked {
			continue
		}
		was := t.Queues[q.Queue].First
		first := max(was, q.First, min(offset, q.End))
		all = append(all, trimmed{q.Queue, was, first, q.End, first - was})
		rows = append(rows, []any{name + "/" + strconv.Itoa(q.Queue), was, first, q.End, first - was})
	}
	if f.dryRun {
		_, _ = fmt.Fprintln(a.streams.Err, "dry run: nothing was changed")
	}
	return a.print(all, []any{"queue", "first before", "first", "end", "deleted"}, rows)
}

// offsets are where the queues shall begin.
func (f *trimming) offsets(ctx context.Context, admin *client.Admin, t *client.Topic) (map[int]int64, error) {
	if (f.to == "") == (f.before == "") {
		return nil, cli.Usagef("want --to or --before")
	}
	queues := t.Queues
	switch {
	case f.queue >= len(queues):
		return nil, cli.Exit(cli.ExitNotFound, fmt.Errorf("topic %q has queues 0 to %d, not %d", t.Name, len(queues)-1, f.queue))
	case f.queue >= 0:
		queues = queues[f.queue : f.queue+1]
	case f.to != "" && f.to != "end" && len(queues) > 1:
		return nil, cli.Usagef("--to %s is an offset of one queue: name it with --queue", f.to)
	}
	to := map[int]int64{}
	for _, q := range queues {
		to[q.Queue] = q.End
	}
	switch {
	case f.to == "end":
	case f.to != "":
		offset, err := strconv.ParseInt(f.to, 10, 64)
		if err != nil || offset < 0 {
			return nil, cli.Usagef("--to %s: want an offset, or end", f.to)
		}
		to[queues[0].Queue] = offset
	default:
		at, err := parseTimeFlag("--before", f.before, time.Now())
		if err != nil {
			return nil, err
		}
		found, err := admin.FindOffsets(ctx, t.Name, at)
		if err != nil {
			return nil, err
		}
		for _, o := range found {
			if _, asked := to[o.Queue]; asked {
				to[o.Queue] = o.Offset
			}
		}
	}
	return to, nil
}
