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

// admin is what the subcommands of `broker admin` share.
type admin struct {
	streams cli.Streams
	server  cli.ServerFlags
	timeout time.Duration
	output  cli.Choice
}

func newAdmin(streams cli.Streams) *cobra.Command {
	a := &admin{streams: streams, output: cli.NewOutput()}
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Look after a cluster: status, topics, leadership",
		Long: `Look after a cluster. Any broker can be asked; what only the leader can do is
forwarded to it.

` + cli.ExitHelp,
	}
	a.server.Register(cmd.PersistentFlags())
	cmd.PersistentFlags().DurationVar(&a.timeout, "timeout", 10*time.Second, "how long to try")
	cmd.PersistentFlags().VarP(&a.output, "output", "o", "how to print")
	addCommands(cmd, newStatus(a), newTopic(a), newTransfer(a))
	return cmd
}

// with runs do with a connection to the cluster.
func (a *admin) with(ctx context.Context, do func(context.Context, *client.Admin) error) error {
	seeds, err := a.server.Seeds()
	if err != nil {
		return err
	}
	trust, err := a.server.TLS.Config()
	if err != nil {
		return err
	}
	c, err := client.Dial(ctx, client.Config{Seeds: seeds, TLS: trust, DialTimeout: a.timeout})
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return do(ctx, c.Admin())
}

// print prints a value: as JSON, or as the table made of it.
func (a *admin) print(v any, header []any, rows [][]any) error {
	if a.output.Value == "json" {
		return cli.PrintJSON(a.streams.Out, v)
	}
	return cli.PrintTable(a.streams.Out, header, rows)
}

// topic is a topic as `-o json` shows it.
type topic struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Queues  []queue   `json:"queues"`
}

type queue struct {
	Queue    int   `json:"queue"`
	First    int64 `json:"first_offset"`
	End      int64 `json:"end_offset"`
	Messages int64 `json:"messages"`
}

func toTopic(t *client.Topic) topic {
	out := topic{Name: t.Name, Created: t.Created, Queues: []queue{}}
	for _, q := range t.Queues {
		out.Queues = append(out.Queues, queue{q.Queue, q.First, q.End, q.End - q.First})
	}
	return out
}

func newTopic(a *admin) *cobra.Command {
	cmd := &cobra.Command{Use: "topic", Short: "Create, list, describe and delete topics"}
	addCommands(cmd, newTopicCreate(a), newTopicList(a), newTopicDescribe(a), newTopicDelete(a))
	return cmd
}

func newTopicCreate(a *admin) *cobra.Command {
	queues := 1
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a topic",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				t, err := admin.CreateTopic(ctx, args[0], queues)
				if err != nil {
					return fmt.Errorf("topic %q: %w", args[0], err)
				}
				return a.print(toTopic(t), []any{"topic", "queues"}, [][]any{{t.Name, len(t.Queues)}})
			})
		},
	}
	cmd.Flags().IntVar(&queues, "queues", 1, "how many queues it has; order is kept within a queue")
	return cmd
}

// listed is a topic as `topic list -o json` shows it.
type listed struct {
	Name    string    `json:"name"`
	Queues  int       `json:"queues"`
	Created time.Time `json:"created"`
}

func newTopicList(a *admin) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the topics",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				topics, err := admin.ListTopics(ctx)
				if err != nil {
					return err
				}
				all, rows := []listed{}, [][]any{}
				for _, t := range topics {
					all = append(all, listed{t.Name, len(t.Queues), t.Created})
					rows = append(rows, []any{t.Name, len(t.Queues), t.Created.Format(time.DateTime)})
				}
				return a.print(all, []any{"topic", "queues", "created"}, rows)
			})
		},
	}
}

func newTopicDescribe(a *admin) *cobra.Command {
	return &cobra.Command{
		Use:   "describe NAME",
		Short: "Show what the queues of a topic hold",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				t, err := admin.DescribeTopic(ctx, args[0])
				if err != nil {
					return fmt.Errorf("topic %q: %w", args[0], err)
				}
				rows := [][]any{}
				for _, q := range toTopic(t).Queues {
					rows = append(rows, []any{args[0] + "/" + strconv.Itoa(q.Queue), q.First, q.End, q.Messages})
				}
				return a.print(toTopic(t), []any{"queue", "first", "end", "messages"}, rows)
			})
		},
	}
}

func newTopicDelete(a *admin) *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a topic with its messages",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				if err := admin.DeleteTopic(ctx, args[0]); err != nil {
					return fmt.Errorf("topic %q: %w", args[0], err)
				}
				deleted := map[string]string{"deleted": args[0]}
				return a.print(deleted, []any{"deleted"}, [][]any{{args[0]}})
			})
		},
	}
}

// transferred is the outcome of a transfer as `-o json` shows it.
type transferred struct {
	Leader string `json:"leader"`
	Term   int64  `json:"term"`
}

func newTransfer(a *admin) *cobra.Command {
	return &cobra.Command{
		Use:   "transfer ID",
		Short: "Hand the leadership over to a member",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				leader, term, err := admin.Transfer(ctx, args[0])
				if err != nil {
					return fmt.Errorf("transfer to %s: %w", args[0], err)
				}
				return a.print(transferred{leader, term}, []any{"leader", "term"}, [][]any{{leader, term}})
			})
		},
	}
}
