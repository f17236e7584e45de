package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/pkg/client"
)

// dialTimeout is how long a program waits for a first broker to answer.
const dialTimeout = 5 * time.Second

// Dial connects to the cluster that the flags name.
func (f *ServerFlags) Dial(ctx context.Context) (*client.Client, error) {
	seeds, err := f.Seeds()
	if err != nil {
		return nil, err
	}
	tls, err := f.TLS.Config()
	if err != nil {
		return nil, err
	}
	return client.Dial(ctx, client.Config{Seeds: seeds, TLS: tls, DialTimeout: dialTimeout})
}

// TopicHint adds to an UNKNOWN_TOPIC error how to create the topic.
func (f *ServerFlags) TopicHint(err error, topic string) error {
	if !errors.Is(err, client.ErrUnknownTopic) {
		return err
	}
	where := ""
	if seeds, e := f.Seeds(); e == nil {
		where = " --server " + strings.Join(seeds, ",")
	}
	return fmt.Errorf("%w\n  topics are not created by use: broker admin%s topic create %s --queues 1", err, where, topic)
}

// VersionCommand is the version subcommand of a program.
func VersionCommand(program string) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s %s %s/%s\n", program, Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// Version is the module's version as the Go toolchain stamped it, with the commit.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 && !strings.Contains(version, s.Value[:12]) {
			version += "+" + s.Value[:12]
		}
	}
	return version
}
