package main

import (
	"context"
	"errors"
	"fmt"
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
		Short: "Look after a cluster: status, topics, messages, consumer groups, dead letters, leadership, members",
		Long: `Look after a cluster. Any broker can be asked; what only the leader can do is
forwarded to it.

` + cli.ExitHelp,
	}
	a.server.Register(cmd.PersistentFlags())
	cmd.PersistentFlags().DurationVar(&a.timeout, "timeout", 10*time.Second, "how long to try")
	cmd.PersistentFlags().VarP(&a.output, "output", "o", "how to print")
	addCommands(cmd, newStatus(a), newTopic(a), newTransfer(a), newMember(a), newGroup(a), newMessage(a), newDLQ(a))
	return cmd
}

// with runs do with a connection to the cluster, for no longer than --timeout.
func (a *admin) with(ctx context.Context, do func(context.Context, *client.Admin) error) error {
	return a.connected(ctx, func(ctx context.Context, admin *client.Admin) error {
		return a.brief(ctx, func(ctx context.Context) error { return do(ctx, admin) })
	})
}

// brief runs do for no longer than --timeout, and says so where that ended it: nobody is helped
// by the bare error of a context. What has a code says more, and stays as it is.
func (a *admin) brief(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	err := do(ctx)
	var own *cli.Error
	if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &own) || client.CodeOf(err) != "" {
		return err
	}
	return &cli.Error{Exit: cli.ExitNoLeader, Code: string(client.CodeTimeout), Err: fmt.Errorf(
		"no answer within %v: %w: nobody leads, or the leader is slow or cut off; a change that was asked for may have been made or not; see broker admin status", a.timeout, err)}
}

// connected runs do with a connection to the cluster; --timeout bounds the making of it.
func (a *admin) connected(ctx context.Context, do func(context.Context, *client.Admin) error) error {
	return a.dialed(ctx, func(ctx context.Context, c *client.Client) error { return do(ctx, c.Admin()) })
}

// dialed is connected for what needs the whole client.
func (a *admin) dialed(ctx context.Context, do func(context.Context, *client.Client) error) error {
	if a.timeout <= 0 {
		return cli.Usagef("--timeout %v: want a time above 0", a.timeout)
	}
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
	return do(ctx, c)
}

// print prints a value: as JSON, or as the table made of it.
func (a *admin) print(v any, header []any, rows [][]any) error {
	if a.output.Value == "json" {
		return cli.PrintJSON(a.streams.Out, v)
	}
	return cli.PrintTable(a.streams.Out, header, rows)
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
