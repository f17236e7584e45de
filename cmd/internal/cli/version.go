package cli

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker, for all programs (make build).
var version string

// Build says what a program was made from.
type Build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// ThisBuild is what this program was made from: its version as the linker set it, else as the
// Go toolchain stamped it.
func ThisBuild() Build {
	b := Build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "(devel)" {
			b.Version = cmp.Or(b.Version, info.Main.Version)
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Revision = s.Value
			}
		}
	}
	b.Version, b.Revision = cmp.Or(b.Version, "devel"), cmp.Or(b.Revision, "unknown")
	return b
}

// VersionCommand is the version subcommand of a program.
func VersionCommand(program string) *cobra.Command {
	output := NewOutput()
	cmd := &cobra.Command{
		Use: "version", Short: "Say what this binary was made from", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, out := ThisBuild(), cmd.OutOrStdout()
			if output.Value == "json" {
				return PrintJSON(out, b)
			}
			_, err := fmt.Fprintf(out, "%s %s (revision %s, %s, %s)\n", program, b.Version, b.Revision, b.Go, b.Platform)
			return err
		},
	}
	cmd.Flags().VarP(&output, "output", "o", "how to print")
	return cmd
}
