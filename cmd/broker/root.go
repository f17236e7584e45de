package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/broker/demo"
	"github.com/ledgermq/ledgermq/cmd/internal/cli"
)

// newRoot builds the whole command tree on the given streams.
func newRoot(streams cli.Streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "broker",
		Short: "Run LedgerMQ brokers and look after them",
		Long: `A message broker whose commit log is a replicated ledger.

  broker demo                    three brokers, traffic, leaders killed: see it work
  broker serve                   a broker of its own on ./data
  broker admin status            how the cluster is

` + cli.ExitHelp,
	}
	addCommands(
		root,
		newServe(streams),
		demo.NewCommand(streams, cli.ThisBuild().Version),
		newAdmin(streams),
		newCheck(streams),
		newRecover(streams),
		newConfig(streams),
		newVerify(streams),
		cli.VersionCommand("broker"),
	)
	return root
}

// addCommands makes a command that does nothing but hold others. Alone it is wrong usage, which
// its help explains: a health check that forgets a word must not look healthy. So is a word that
// is none of its commands.
func addCommands(parent *cobra.Command, commands ...*cobra.Command) {
	parent.AddCommand(commands...)
	parent.Args = cobra.ArbitraryArgs
	parent.SuggestionsMinimumDistance = 2
	parent.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			cmd.SetOut(cmd.ErrOrStderr())
			if err := cmd.Help(); err != nil {
				return err
			}
			return cli.Usagef("%s does nothing alone: name one of its commands", cmd.CommandPath())
		}
		hint := ""
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = fmt.Sprintf(" — did you mean %q?", near[0])
		}
		return cli.Usagef("unknown command %q for %q%s", args[0], cmd.CommandPath(), hint)
	}
}
