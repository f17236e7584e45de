package main

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// program is one run of the command line.
type program struct {
	streams cli.Streams
	signals <-chan os.Signal
	flags   flags
}

// flags are the command line's settings.
type flags struct {
	server    cli.ServerFlags
	from      startFlag
	queues    []int
	count     cli.Count
	follow    bool
	exitAtEnd bool
	output    cli.Choice
	bench     bool
}

// startFlag is where reading begins.
type startFlag struct {
	text string
	at   client.StartAt
}

// String returns the flag's text.
func (f *startFlag) String() string { return f.text }

// Type is what --help shows as the kind of the value.
func (f *startFlag) Type() string { return "earliest|latest|@OFFSET" }

// Set reads earliest, latest or @OFFSET.
func (f *startFlag) Set(s string) error {
	f.text = s
	switch s {
	case "earliest":
		f.at = client.Earliest()
		return nil
	case "latest":
		f.at = client.Latest()
		return nil
	}
	if number, ok := strings.CutPrefix(s, "@"); ok {
		if n, err := strconv.ParseInt(number, 10, 64); err == nil && n >= 0 {
			f.at = client.Offset(n)
			return nil
		}
	}
	return errors.New("want earliest, latest or @OFFSET, such as @812")
}

const long = `Print the committed messages of a topic, in order per queue.

On a terminal messages are shown readably and new ones are waited for; in a pipe
the bare values of what is there are written, one per line. Nothing is committed:
reading twice prints the same.

` + cli.ExitHelp

const examples = `  consumer orders
  consumer orders --from @812 --queue 0 -n 10 -o jsonl
  consumer orders -o value --follow | grep error`

func (p *program) command() *cobra.Command {
	f := &p.flags
	f.output = cli.NewChoice("", "pretty", "value", "jsonl")
	f.from = startFlag{text: "earliest", at: client.Earliest()}
	cmd := &cobra.Command{
		Use: "consumer TOPIC", Short: "Print the messages of a topic", Long: long, Example: examples,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("give exactly one topic")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.defaults(cmd.Flags().Changed("follow")); err != nil {
				return err
			}
			return p.consume(cmd.Context(), args[0])
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	f.server.Register(fs)
	fs.Var(&f.from, "from", "where to begin in each queue")
	fs.IntSliceVar(&f.queues, "queue", nil, "read these queues only")
	fs.VarP(&f.count, "count", "n", "end after so many messages; 0 is no limit")
	fs.BoolVarP(&f.follow, "follow", "f", false, "wait for new messages (default on a terminal)")
	fs.BoolVar(&f.exitAtEnd, "exit-at-end", false, "end with what is there at the start (default in a pipe)")
	fs.VarP(&f.output, "output", "o", "how to print (default pretty on a terminal, value in a pipe)")
	fs.BoolVar(&f.bench, "bench", false, "print no messages but the rate as JSON")
	cmd.AddCommand(cli.VersionCommand("consumer"))
	return cmd
}

// defaults fills in what depends on where the output goes.
func (p *program) defaults(followGiven bool) error {
	f := &p.flags
	if f.follow && f.exitAtEnd {
		return cli.Usagef("--follow and --exit-at-end exclude each other")
	}
	terminal := cli.IsTerminal(p.streams.Out)
	if f.output.Value == "" {
		f.output.Value = "value"
		if terminal {
			f.output.Value = "pretty"
		}
	}
	if !followGiven && !f.exitAtEnd {
		f.follow = terminal && !f.bench
	}
	f.exitAtEnd = !f.follow
	return nil
}

// colors tells whether the output may have some.
func (p *program) colors() bool {
	return cli.IsTerminal(p.streams.Out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
