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

// consumerGroup is a consumer group as `-o json` shows it.
type consumerGroup struct {
	Name       string    `json:"name"`
	Assignment string    `json:"assignment"`
	Paused     bool      `json:"paused"`
	Members    int       `json:"members"`
	Queues     int       `json:"queues"`
	Lag        int64     `json:"lag_messages"`
	Created    time.Time `json:"created"`
	// Work is the policy of a work-queue group, and absent for any other.
	Work *workPolicy `json:"work,omitempty"`
}

// describedGroup is a consumer group with all that is known of it.
type describedGroup struct {
	consumerGroup
	MemberList []consumerMember `json:"member_list"`
	QueueList  []consumerQueue  `json:"queue_list"`
}

type consumerMember struct {
	Name    string `json:"name"`
	Queues  int    `json:"queues"`
	Healthy bool   `json:"healthy"`
	HeardMs int64  `json:"heard_ms"`
}

// consumerQueue is one queue; offset is -1 where the group has not begun, committed is
// absent where it never committed.
type consumerQueue struct {
	Topic      string     `json:"topic"`
	Queue      int        `json:"queue"`
	Offset     int64      `json:"offset"`
	First      int64      `json:"first_offset"`
	End        int64      `json:"end_offset"`
	Lag        int64      `json:"lag_messages"`
	LagSeconds float64    `json:"lag_seconds"`
	Owner      string     `json:"owner"`
	Committed  *time.Time `json:"committed,omitempty"`
}

func toConsumerGroup(g *client.Group) consumerGroup {
	return consumerGroup{g.Name, g.Assignment.String(), g.Paused, g.Members, g.Queues, g.Lag, g.Created, toWorkPolicy(g.Work)}
}

func newGroup(a *admin) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "group",
		Short: "List, describe, create, reset, pause and delete consumer groups",
		Long: `Look after consumer groups: how far they are, who is in them, and where they go on.

A group comes to be when its first consumer joins, or by create. Its progress stays when all have
left, until the group is deleted.`,
	}
	addCommands(cmd, newGroupList(a), newGroupDescribe(a), newGroupCreate(a), newGroupReset(a), newGroupPause(a, true), newGroupPause(a, false), newGroupDelete(a))
	return cmd
}

func newGroupList(a *admin) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the consumer groups",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				groups, err := admin.Groups(ctx)
				if err != nil {
					return err
				}
				all, rows := []consumerGroup{}, [][]any{}
				for i := range groups {
					g := toConsumerGroup(&groups[i])
					all = append(all, g)
					rows = append(rows, []any{g.Name, g.Assignment, g.Members, g.Queues, g.Lag, stateOf(g)})
				}
				return a.print(all, []any{"group", "assignment", "members", "queues", "lag", "state"}, rows)
			})
		},
	}
}

func stateOf(g consumerGroup) string {
	switch {
	case g.Paused:
		return "paused"
	case g.Assignment == client.AssignWork.String():
		return "-" // its consumers are not known
	case g.Members == 0:
		return "empty"
	}
	return "active"
}

func newGroupDescribe(a *admin) *cobra.Command {
	return &cobra.Command{
		Use:   "describe NAME",
		Short: "Show what a consumer group is, how far it is, queue by queue, and who owns what",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				d, err := admin.DescribeGroup(ctx, args[0])
				if err != nil {
					return fmt.Errorf("group %q: %w", args[0], err)
				}
				return a.printDescribedGroup(toDescribedGroup(d))
			})
		},
	}
}

func (a *admin) printDescribedGroup(out describedGroup) error {
	if a.output.Value == "json" {
		return cli.PrintJSON(a.streams.Out, out)
	}
	about := [][]any{{out.Name, out.Assignment, stateOf(out.consumerGroup), out.Members, out.Lag, out.Work}}
	if err := cli.PrintTable(a.streams.Out, []any{"group", "assignment", "state", "members", "lag", "policy"}, about); err != nil {
		return err
	}
	rows := [][]any{}
	for _, q := range out.QueueList {
		rows = append(rows, []any{
			q.Topic + "/" + strconv.Itoa(q.Queue), dashIfNone(q.Offset), q.End, q.Lag,
			time.Duration(q.LagSeconds * float64(time.Second)).Round(time.Millisecond), orDash(q.Owner), committedAt(q.Committed),
		})
	}
	return cli.PrintTable(a.streams.Out, []any{"queue", "offset", "end", "lag", "waiting", "owner", "committed"}, rows)
}

func toDescribedGroup(d *client.GroupDescription) describedGroup {
	out := describedGroup{consumerGroup: toConsumerGroup(&d.Group), MemberList: []consumerMember{}, QueueList: []consumerQueue{}}
	for _, m := range d.MemberList {
		out.MemberList = append(out.MemberList, consumerMember{m.Name, m.Queues, m.Healthy, m.Heard.Milliseconds()})
	}
	for _, q := range d.QueueList {
		queue := consumerQueue{q.Topic, q.Queue, q.Offset, q.First, q.End, q.Lag, q.Waiting.Seconds(), q.Owner, nil}
		if !q.Committed.IsZero() {
			queue.Committed = new(q.Committed)
		}
		out.QueueList = append(out.QueueList, queue)
	}
	return out
}

func dashIfNone(offset int64) any {
	if offset < 0 {
		return "-"
	}
	return offset
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func committedAt(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

func newGroupPause(a *admin, paused bool) *cobra.Command {
	word, short := "resume", "Have the members of a consumer group go on"
	if paused {
		word, short = "pause", "Have the members of a consumer group stop reading"
	}
	return &cobra.Command{
		Use:   word + " NAME",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				if err := admin.PauseGroup(ctx, args[0], paused); err != nil {
					return fmt.Errorf("group %q: %w", args[0], err)
				}
				done := map[string]any{"group": args[0], "paused": paused}
				return a.print(done, []any{"group", "paused"}, [][]any{{args[0], paused}})
			})
		},
	}
}

func newGroupDelete(a *admin) *cobra.Command {
	force := false
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a consumer group with its progress",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				if err := admin.DeleteGroup(ctx, args[0], force); err != nil {
					return fmt.Errorf("group %q: %w", args[0], err)
				}
				deleted := map[string]string{"deleted": args[0]}
				return a.print(deleted, []any{"deleted"}, [][]any{{args[0]}})
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also if it has members, or its consumers hold messages; those that go on make it anew")
	return cmd
}
