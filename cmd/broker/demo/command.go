package demo

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
)

// NewCommand builds `broker demo`.
func NewCommand(streams cli.Streams, version string) *cobra.Command {
	cfg := config{version: version, downFor: 2 * time.Second}
	output := cli.NewOutput()
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run three brokers with traffic, and kill their leaders",
		Long: `Run three real brokers in this process, on loopback and on disk, with producers
and consumers, and kill their leader again and again: nothing is flushed, its
sockets are cut. Every message is accounted for. Ends after --for, or with Ctrl-C,
by consuming everything that is left and giving a verdict.

Exit code 0: every acknowledged message came out once and in order; 7: not so.`,
		Example: `  broker demo
  broker demo --for 30s -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.validate(); err != nil {
				return cli.Usagef("%w", err)
			}
			out, logs := streams.Out, io.Discard
			if output.Value == "json" {
				out = streams.Err
			}
			if cfg.verbose {
				logs = streams.Err
			}
			v, err := run(cmd.Context(), cfg, out, logs)
			if err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			if output.Value == "json" {
				err = cli.PrintJSON(streams.Out, v)
			} else {
				v.print(streams.Out)
			}
			if err != nil {
				return err
			}
			return v.err()
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.DurationVar(&cfg.runFor, "for", 0, "how long to run (default: until Ctrl-C)")
	flags.DurationVar(&cfg.every, "every", 10*time.Second, "how often a leader is killed")
	flags.IntVar(&cfg.rate, "rate", 2000, "messages per second, of all producers together")
	flags.IntVar(&cfg.size, "size", 128, "bytes of a message")
	flags.IntVar(&cfg.producers, "producers", 3, "how many producers")
	flags.IntVar(&cfg.queues, "queues", 4, "how many queues, each with its consumer")
	flags.StringVar(&cfg.data, "data", "", "keep the brokers' data in a new directory below this one")
	flags.BoolVar(&cfg.verbose, "verbose", false, "write the brokers' logs to stderr")
	flags.VarP(&output, "output", "o", "how to print the verdict")
	return cmd
}
