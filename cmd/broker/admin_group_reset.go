package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// queueReset is what a reset does to one queue, as `-o json` shows it; before is -1 where
// the group had no progress.
type queueReset struct {
	Topic  string `json:"topic"`
	Queue  int    `json:"queue"`
	Before int64  `json:"before"`
	After  int64  `json:"after"`
	First  int64  `json:"first_offset"`
	End    int64  `json:"end_offset"`
}

// resetDone is the outcome of a reset.
type resetDone struct {
	Group  string       `json:"group"`
	DryRun bool         `json:"dry_run"`
	Queues []queueReset `json:"queues"`
}

func newGroupReset(a *admin) *cobra.Command {
	var to cli.Start
	reset := client.Reset{}
	cmd := &cobra.Command{
		Use:   "reset NAME --to WHERE | --shift N | --like GROUP",
		Short: "Set where a consumer group goes on; --dry-run shows it first",
		Long: `Set the progress of a consumer group, backwards or forwards. Its members go on at
the new place at once; what they have in hand is not committed any more.

The table shows each queue before and after. With --dry-run nothing is changed.`,
		Example: `  broker admin group reset billing --to earliest --topic orders --dry-run
  broker admin group reset billing --to 2026-11-22T09:00:00Z
  broker admin group reset billing --shift -100 --topic orders --queue 2
  broker admin group reset billing --like audit`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			given := 0
			for _, name := range []string{"to", "shift", "like"} {
				if cmd.Flags().Changed(name) {
					given++
				}
			}
			if given != 1 || cmd.Flags().Changed("shift") && reset.Shift == 0 {
				return cli.Usagef("say to where: exactly one of --to, --shift (not 0) and --like")
			}
			if len(reset.Queues) > 0 && reset.Topic == "" {
				return cli.Usagef("--queue needs --topic")
			}
			reset.Group, reset.To = args[0], to.At
			return a.reset(cmd.Context(), reset)
		},
	}
	fs := cmd.Flags()
	fs.Var(&to, "to", "the place, or a time; 10m is ten minutes ago")
	fs.Int64Var(&reset.Shift, "shift", 0, "so many messages on, or back if negative")
	fs.StringVar(&reset.OtherGroup, "like", "", "to where this group is")
	fs.StringVar(&reset.Topic, "topic", "", "only this topic (default: all in which the group has progress)")
	fs.IntSliceVar(&reset.Queues, "queue", nil, "only these queues of it")
	fs.BoolVar(&reset.DryRun, "dry-run", false, "change nothing")
	return cmd
}

func (a *admin) reset(ctx context.Context, reset client.Reset) error {
	return a.with(ctx, func(ctx context.Context, admin *client.Admin) error {
		queues, err := admin.ResetGroup(ctx, reset)
		if err != nil {
			return fmt.Errorf("group %q: %w", reset.Group, err)
		}
		done := resetDone{reset.Group, reset.DryRun, []queueReset{}}
		rows := [][]any{}
		for _, q := range queues {
			done.Queues = append(done.Queues, queueReset(q))
			rows = append(rows, []any{q.Topic + "/" + strconv.Itoa(q.Queue), dashIfNone(q.Before), q.After, q.First, q.End})
		}
		if reset.DryRun {
			_, _ = fmt.Fprintln(a.streams.Err, "dry run: nothing was changed")
		}
		return a.print(done, []any{"queue", "before", "after", "first", "end"}, rows)
	})
}
