package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/broker/config"
	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/broker"
)

func newConfig(streams cli.Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show and check a broker's configuration",
		Long: `Show and check a broker's configuration: defaults, then the file, then the
environment (LEDGERMQ_ and the key, as in LEDGERMQ_RAFT_HEARTBEAT=200ms), then
flags; the later one wins.`,
	}
	addCommands(cmd, newConfigPrint(streams), newConfigCheck(streams))
	return cmd
}

// printedSetting is a setting as `config print -o json` shows it.
type printedSetting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

func newConfigPrint(streams cli.Streams) *cobra.Command {
	var flags configFlags
	var origin, defaults bool
	output := cli.NewChoice("yaml", "table", "json")
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print the settings that a broker started like this would have",
		Example: `  broker config print --defaults > broker.yaml    a commented file to start from
  broker config print --config broker.yaml --origin`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if origin && !cmd.Flags().Changed("output") {
				output.Value = "table"
			}
			if defaults {
				cfg := broker.DefaultConfig()
				return printSettings(streams, config.Of(&cfg), output.Value)
			}
			cfg, settings, err := flags.load()
			if err != nil {
				return err
			}
			withDefaults(cfg)
			return printSettings(streams, settings, output.Value)
		},
	}
	cmd.Flags().BoolVar(&origin, "origin", false, "print where each value came from")
	cmd.Flags().BoolVar(&defaults, "defaults", false, "print the defaults instead, with comments")
	cmd.Flags().VarP(&output, "output", "o", "how to print; table and json name the origin of each value")
	flags.register(cmd.Flags())
	return cmd
}

func printSettings(streams cli.Streams, settings *config.Settings, output string) error {
	if output == "yaml" {
		text, err := settings.YAML(func(path string) string { return descriptions[path] })
		if err == nil {
			_, err = streams.Out.Write(text)
		}
		return err
	}
	var printed []printedSetting
	var rows [][]any
	for _, s := range settings.All() {
		printed = append(printed, printedSetting{s.Path, s.Value(), s.Origin})
		rows = append(rows, []any{s.Path, s.Value(), s.Origin})
	}
	if output == "json" {
		return cli.PrintJSON(streams.Out, printed)
	}
	return cli.PrintTable(streams.Out, []any{"key", "value", "origin"}, rows)
}

func newConfigCheck(streams cli.Streams) *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say whether a broker would start with this configuration",
		Long: `Say whether a broker would start with this configuration. The certificates that
it names are read, so check where the broker will run, as the user that runs it.
Whether the addresses are free and the data directory is its own, serve says.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, settings, err := flags.load()
			if err != nil {
				return err
			}
			if err := cfg.Check(); err != nil {
				return invalid(fmt.Errorf("%w: %w", broker.ErrConfig, err))
			}
			given := 0
			for _, s := range settings.All() {
				if s.Origin != "default" {
					given++
				}
			}
			for _, warning := range warnings(cfg) {
				fmt.Fprintln(streams.Err, "warning:", warning)
			}
			_, err = fmt.Fprintf(streams.Out, "ok: %d settings given, %d by default\n", given, len(settings.All())-given)
			return err
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

// warnings are what is allowed and probably not wanted.
func warnings(cfg *broker.Config) []string {
	var all []string
	if n := len(cfg.Cluster.Peers); n > 0 && n%2 == 0 {
		all = append(all, fmt.Sprintf("cluster.peers names %d members: no more of them may fail than of %d", n, n-1))
	}
	if cfg.Durability.Ack == broker.PageCache {
		all = append(all, "durability.ack page-cache: a power cut of a majority loses acknowledged messages")
	}
	return all
}
