package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// redriveAtOnce is how many dead letters one request puts back.
const redriveAtOnce = 100

// redrive is what a redrive does, or would do, as `-o json` shows it.
type redrive struct {
	Group    string `json:"group"`
	DryRun   bool   `json:"dry_run"`
	Redriven int    `json:"redriven"`
	Before   int    `json:"redriven_before"`
	Failed   int    `json:"failed"`
	// NotFound are those of the offsets named at which no dead letter is.
	NotFound int        `json:"not_found"`
	Letters  []redriven `json:"letters"`
}

type redriven struct {
	Offset    int64  `json:"offset"`
	Topic     string `json:"topic"`
	Queue     int    `json:"queue"`
	NewOffset *int64 `json:"new_offset,omitempty"`
	Before    bool   `json:"redriven_before,omitempty"`
	NotFound  bool   `json:"not_found,omitempty"`
	Error     string `json:"error,omitempty"`
}

func newDLQRedrive(a *admin) *cobra.Command {
	s, all, dryRun := &selection{}, false, false
	var rate cli.Rate
	cmd := &cobra.Command{
		Use:   "redrive GROUP",
		Short: "Put dead letters back into the queues that they came from",
		Long: `Put dead letters back at the end of the queues that they came from, as messages with a
first attempt. Say which, or --all. Each is put back once: a run that was interrupted is
simply repeated.

Each offset named has a line of its own, also if it was put back before, which is no error,
or is not there: then the exit code is 3, and 4 if none of them is.`,
		Example: `  broker admin dlq redrive billing --all --dry-run
  broker admin dlq redrive billing --topic orders --from 1h --rate 50/s
  broker admin dlq redrive billing --offset 3,17`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == !s.empty() {
				return cli.Usagef("say which dead letters are to be put back, or --all")
			}
			if err := s.read(); err != nil {
				return err
			}
			return a.connected(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				return a.redrive(ctx, admin, &redrive{Group: args[0], DryRun: dryRun, Letters: []redriven{}}, s, int64(rate))
			})
		},
	}
	s.register(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "all of them")
	cmd.Flags().Var(&rate, "rate", "at most so many per second")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be done")
	return cmd
}

// redrive selects first, so that what dies again meanwhile is not put back again, and then
// puts back.
func (a *admin) redrive(ctx context.Context, admin *client.Admin, out *redrive, s *selection, rate int64) error {
	var offsets []int64
	err := a.each(ctx, admin, out.Group, s, func(l *client.DeadLetter) error {
		offsets = append(offsets, l.Offset)
		return nil
	})
	if err != nil {
		return err
	}
	chunk := int64(redriveAtOnce)
	if rate > 0 {
		chunk = min(chunk, max(1, rate/10))
	}
	for i := 0; i < len(offsets) && err == nil; i += int(chunk) {
		part := offsets[i:min(i+int(chunk), len(offsets))]
		if err = a.redriveSome(ctx, admin, out, part); err == nil && rate > 0 && !out.DryRun {
			err = pause(ctx, time.Duration(len(part))*time.Second/time.Duration(rate))
		}
	}
	if err == nil {
		err = a.redriveRest(ctx, admin, out, s, offsets)
	}
	return errors.Join(a.printRedrive(out), redriveError(out, err, len(offsets)))
}

// redriveRest has a row for each offset named that was not selected, because it was put back
// before or is not there. What the other flags leave out has none.
func (a *admin) redriveRest(ctx context.Context, admin *client.Admin, out *redrive, s *selection, selected []int64) error {
	named := slices.Clone(s.offsets)
	slices.Sort(named)
	for _, offset := range slices.Compact(named) {
		if slices.Contains(selected, offset) {
			continue
		}
		page, err := admin.DeadLetters(ctx, out.Group, offset, 1, true)
		if err != nil {
			return fmt.Errorf("dead letters of %q: %w", out.Group, err)
		}
		switch {
		case len(page.Letters) == 0 || page.Letters[0].Offset != offset:
			out.NotFound++
			out.Letters = append(out.Letters, redriven{Offset: offset, NotFound: true})
		case page.Letters[0].Redriven && s.wants(&page.Letters[0]):
			out.Before++
			topic, queue, _ := page.Letters[0].Origin()
			number, _ := strconv.Atoi(queue) // the brokers wrote it
			out.Letters = append(out.Letters, redriven{Offset: offset, Topic: topic, Queue: number, Before: true})
		}
	}
	return nil
}

func (a *admin) redriveSome(ctx context.Context, admin *client.Admin, out *redrive, offsets []int64) error {
	results, err := admin.RedriveDeadLetters(ctx, out.Group, offsets, out.DryRun)
	for _, r := range results {
		row := redriven{Offset: r.Offset, Topic: r.Topic, Queue: r.Queue, Before: r.Before}
		switch {
		case r.Err != nil:
			out.Failed++
			row.Error = fmt.Sprintf("%v (%s)", r.Err, client.CodeOf(r.Err))
		case r.Before:
			out.Before++
		default:
			out.Redriven++
			if r.NewOffset >= 0 {
				row.NewOffset = &r.NewOffset
			}
		}
		out.Letters = append(out.Letters, row)
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *admin) printRedrive(out *redrive) error {
	rows := [][]any{}
	for _, r := range out.Letters {
		became, to := "put back", fmt.Sprint(r.Topic, "/", r.Queue)
		switch {
		case r.NotFound:
			became, to = "there is no such dead letter", "-"
		case r.Error != "":
			became = r.Error
		case r.Before:
			became = "put back before"
		case out.DryRun:
			became = "would be put back"
		}
		at := any("-")
		if r.NewOffset != nil {
			at = *r.NewOffset
		}
		rows = append(rows, []any{r.Offset, to, at, became})
	}
	if err := a.print(out, []any{"offset", "to", "new offset", "result"}, rows); err != nil {
		return err
	}
	if out.DryRun {
		fmt.Fprintln(a.streams.Err, "dry run: nothing was changed")
	}
	return nil
}

// redriveError is how the run ends. What was put back is; the rest is found again.
func redriveError(out *redrive, err error, selected int) error {
	switch {
	case err != nil:
		return fmt.Errorf("%d of %d were put back, repeat it for the rest: %w", out.Redriven+out.Before, selected, err)
	case out.NotFound > 0 && len(out.Letters) == out.NotFound:
		return cli.Exit(cli.ExitNotFound, fmt.Errorf("group %q has none of the dead letters named", out.Group))
	case out.Failed+out.NotFound > 0:
		return cli.Exit(cli.ExitPartial, fmt.Errorf("%d of %d could not be put back", out.Failed+out.NotFound, len(out.Letters)))
	}
	return nil
}
