package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/broker"
)

func newServe(streams cli.Streams) *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a broker",
		Long: `Run a broker until SIGTERM or Ctrl-C, which hand its leadership over first; a
second one ends it at once. Without --peers it is a group of its own.

Settings come from defaults, --config, LEDGERMQ_* and flags, the later one wins;
broker config print --origin shows the result.`,
		Example: `  broker serve
  broker serve --id n1 --peers n1=mq1:40911,n2=mq2:40911,n3=mq3:40911 --data /var/lib/ledgermq`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, err := flags.load()
			if err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, streams.Err)
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

func serve(ctx context.Context, cfg *broker.Config, logs io.Writer) error {
	cfg.Logger = newLogger(logs, cfg.Log)
	b := cli.ThisBuild()
	cfg.Version, cfg.Revision = b.Version, b.Revision
	for _, warning := range warnings(cfg) {
		cfg.Logger.Warn(warning)
	}
	cfg.LimitMemory()
	cfg.Fatal = func(err error) {
		err = startError(err)
		_, _ = fmt.Fprintln(logs, cli.Describe("broker", err))
		os.Exit(int(cli.ExitCodeOf(err)))
	}
	return startError(broker.Serve(ctx, *cfg, nil))
}

// startError gives an error of a broker its exit code and stable code.
func startError(err error) error {
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, broker.ErrConfig):
		return invalid(err)
	case errors.Is(err, broker.ErrDataDir):
		return &cli.Error{Exit: cli.ExitUsage, Code: "DATA_DIR_REFUSED", Err: err}
	case errors.Is(err, syscall.EADDRINUSE):
		err = fmt.Errorf("%w: another process listens there; stop it or choose another address", err)
		return &cli.Error{Exit: cli.ExitFailed, Code: "ADDRESS_IN_USE", Err: err}
	case errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EADDRNOTAVAIL):
		return &cli.Error{Exit: cli.ExitUsage, Code: "ADDRESS_UNUSABLE", Err: err}
	}
	return &cli.Error{Exit: cli.ExitFailed, Code: "FATAL", Err: err}
}

// newLogger writes text for people and JSON for machines.
func newLogger(w io.Writer, cfg broker.LogConfig) *slog.Logger {
	var options slog.HandlerOptions
	var level slog.Level
	if level.UnmarshalText([]byte(cfg.Level)) == nil {
		options.Level = level
	}
	if cfg.Format == "json" || cfg.Format != "text" && !cli.IsTerminal(w) {
		return slog.New(slog.NewJSONHandler(w, &options))
	}
	return slog.New(slog.NewTextHandler(w, &options))
}
