package main

import (
	"errors"
	"os"
	"time"

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
	from      cli.Start
	group     string
	receive   bool
	invisible time.Duration
	attempts  int
	fifo      bool
	queues    []int
	tag       string
	filter    string
	count     cli.Count
	follow    bool
	exitAtEnd bool
	output    cli.Choice
	bench     bool
	exec      execFlags
}

const long = `Print the committed messages of a topic, in order per queue.

On a terminal messages are shown readably and new ones are waited for; in a pipe
the bare values of what is there are written, one per line. Nothing is committed:
reading twice prints the same. When the topic is not found within 2 s because no leader
answers, a line on stderr says so; after 30 s it is given up.

With --group it reads as a member of a consumer group, until it is ended: it shares the
queues with the others, goes on where the group is, and commits what was written out. With
--receive the group is a work-queue group: any number of consumers share every queue, and each
message is acknowledged by itself when it was written out.

With --exec each message is given to a command of the shell: the value is its stdin, and
MESSAGE_TOPIC, _QUEUE, _OFFSET, _TIMESTAMP_MS, _ATTEMPT, _KEY, _TAG, _ID and _GROUP are in its
environment, each header as MESSAGE_HEADER_NAME and all of them exactly, as JSON, in
MESSAGE_HEADERS. A key that no variable can hold is in MESSAGE_KEY_BASE64. Exit code 0 means
done, and only what is done is committed; else the same message comes again after --backoff,
then twice that, up to a minute, while the rest of its queue waits. With --receive too, it is
the group's policy that says when, others go on meanwhile, and --count counts attempts.

` + cli.ExitHelp

const examples = `  consumer orders
  consumer orders --from @812 --queue 0 -n 10 -o jsonl
  consumer orders --from 2026-11-22T09:30 -n 10
  consumer orders --tag 'paid || refunded'
  consumer orders --filter "region = 'EU' AND price > 10"
  consumer orders -o value --follow | grep error
  consumer orders -g billing -o jsonl
  consumer orders -g packing --receive -o jsonl
  consumer orders -g billing --exec ./bill --workers 4 --attempts 5 --on-failure skip
  consumer packing -g packing --receive --exec ./pack --workers 8`

func (p *program) command() *cobra.Command {
	f := &p.flags
	f.output = cli.NewChoice("", "pretty", "value", "jsonl", "json")
	f.from = cli.Start{Text: "earliest", At: client.Earliest()}
	cmd := &cobra.Command{
		Use: "consumer TOPIC", Short: "Print the messages of a topic", Long: long, Example: examples,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("give exactly one topic")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			fs := cmd.Flags()
			if err := errors.Join(
				p.defaults(fs.Changed("follow")), cli.Only(fs, "receive", "invisible"),
				cli.Only(fs, "exec", "workers", "attempts", "backoff", "exec-timeout", "on-failure"),
			); err != nil {
				return err
			}
			return p.consume(cmd.Context(), args[0])
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	f.server.Register(fs)
	fs.StringVarP(&f.group, "group", "g", "", "read as a member of this consumer group and commit")
	fs.BoolVar(&f.receive, "receive", false, "the group is a work-queue group: receive single messages, acknowledge what was written")
	fs.DurationVar(&f.invisible, "invisible", 30*time.Second, "with --receive: how long nobody else is given a message")
	fs.IntVar(&f.attempts, "max-attempts", 0, "with --receive, if it makes the group: attempts until a message is a dead letter (default 16, -1: never)")
	fs.BoolVar(&f.fifo, "fifo", false, "with --receive, if it makes the group: messages of one message group one after the other")
	fs.Var(&f.from, "from", "where to begin in each queue; in a group where it has not begun yet")
	fs.IntSliceVar(&f.queues, "queue", nil, "read these queues only")
	fs.StringVar(&f.tag, "tag", "", "only messages with one of these tags, such as 'paid || refunded'")
	fs.StringVar(&f.filter, "filter", "", "only messages of which this SQL92 expression is true, such as \"region = 'EU' AND price > 10\"")
	fs.VarP(&f.count, "count", "n", "end after so many messages; 0 is no limit")
	fs.BoolVarP(&f.follow, "follow", "f", false, "wait for new messages (default on a terminal)")
	fs.BoolVar(&f.exitAtEnd, "exit-at-end", false, "end with what is there at the start (default in a pipe)")
	fs.VarP(&f.output, "output", "o", "how to print (default pretty on a terminal, value in a pipe); json only for the result of --bench")
	fs.BoolVar(&f.bench, "bench", false, "print no messages but the rate as JSON")
	f.exec.register(fs)
	cmd.AddCommand(cli.VersionCommand("consumer"))
	return cmd
}

// defaults fills in what depends on where the output goes.
func (p *program) defaults(followGiven bool) error {
	f := &p.flags
	if f.follow && f.exitAtEnd {
		return cli.Usagef("--follow and --exit-at-end exclude each other")
	}
	if f.output.Value == "json" && !f.bench {
		return cli.Usagef("-o json is for --bench; messages are pretty, value or jsonl")
	}
	if f.tag != "" && f.filter != "" {
		return cli.Usagef("--tag and --filter exclude each other: TAGS = 'x' in a filter is the tag")
	}
	if err := f.checkReceive(); err != nil {
		return err
	}
	if err := errors.Join(f.checkGroup(), f.exec.check(f)); err != nil {
		return err
	}
	terminal := cli.IsTerminal(p.streams.Out)
	if f.output.Value == "" {
		f.output.Value = "value"
		if terminal {
			f.output.Value = "pretty"
		}
	}
	if !followGiven && !f.exitAtEnd {
		f.follow = f.group != "" || terminal && !f.bench
	}
	f.exitAtEnd = !f.follow
	return nil
}

// wanted is which messages are asked for.
func (f *flags) wanted() client.Filter {
	switch {
	case f.filter != "":
		return client.SQLFilter(f.filter)
	case f.tag != "":
		return client.TagFilter(f.tag)
	}
	return client.Filter{}
}

// colors tells whether the output may have some.
func (p *program) colors() bool {
	return cli.IsTerminal(p.streams.Out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
