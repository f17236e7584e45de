package main

import (
	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/broker/verify"
	"github.com/ledgermq/ledgermq/cmd/internal/cli"
)

func newVerify(streams cli.Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check what was promised against what was seen (exit 7 if it differs)",
	}
	addCommands(cmd, verify.NewHistory(streams))
	return cmd
}
