package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// workPolicy is the policy of a work-queue group as `group … -o json` shows it.
type workPolicy struct {
	// MaxAttempts is -1 where no message becomes a dead letter.
	MaxAttempts  int   `json:"max_attempts"`
	BackoffMinMs int64 `json:"backoff_min_ms"`
	BackoffMaxMs int64 `json:"backoff_max_ms"`
	FIFO         bool  `json:"fifo"`
}

func toWorkPolicy(p *client.WorkPolicy) *workPolicy {
	if p == nil {
		return nil
	}
	return &workPolicy{p.MaxAttempts, p.BackoffMin.Milliseconds(), p.BackoffMax.Milliseconds(), p.FIFO}
}

// String is the policy in a few words, a dash for a group that has none.
func (p *workPolicy) String() string {
	if p == nil {
		return "-"
	}
	attempts := "attempts without end"
	if p.MaxAttempts >= 0 {
		attempts = fmt.Sprintf("%d attempts", p.MaxAttempts)
	}
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	text := fmt.Sprintf("%s, back-off %v to %v", attempts, ms(p.BackoffMinMs), ms(p.BackoffMaxMs))
	if p.FIFO {
		text += ", fifo"
	}
	return text
}

func newGroupCreate(a *admin) *cobra.Command {
	var p client.WorkPolicy
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a work-queue group, whose consumers receive and acknowledge single messages",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("backoff-max") {
				p.BackoffMax = max(p.BackoffMax, p.BackoffMin)
			}
			if err := checkPolicy(p); err != nil {
				return err
			}
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				if err := admin.CreateWorkGroup(ctx, args[0], p); err != nil {
					return fmt.Errorf("group %q: %w", args[0], err)
				}
				created := map[string]string{"created": args[0]}
				return a.print(created, []any{"created"}, [][]any{{args[0]}})
			})
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.IntVar(&p.MaxAttempts, "max-attempts", 16, "attempts until a message is a dead letter, 1 to 10000; -1: never")
	fs.DurationVar(&p.BackoffMin, "backoff-min", time.Second, "time until a message comes again after its first attempt; doubles with each")
	fs.DurationVar(&p.BackoffMax, "backoff-max", time.Minute, "the most of that, up to 12h; by default no less than --backoff-min")
	fs.BoolVar(&p.FIFO, "fifo", false, "messages of one message group come one after the other")
	return cmd
}

// checkPolicy refuses what the client would take for its default, or for something else. The
// broker knows the bounds.
func checkPolicy(p client.WorkPolicy) error {
	switch {
	case p.MaxAttempts < 1 && p.MaxAttempts != -1:
		return cli.Usagef("--max-attempts %d: want 1 or more, or -1 for never", p.MaxAttempts)
	case p.BackoffMin < time.Millisecond:
		return cli.Usagef("--backoff-min %v: want 1ms or more", p.BackoffMin)
	case p.BackoffMin > p.BackoffMax:
		return cli.Usagef("--backoff-max %v: want --backoff-min (%v) or more", p.BackoffMax, p.BackoffMin)
	}
	return nil
}
