package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
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
	server       cli.ServerFlags
	input        cli.Choice
	delimiter    string
	keyDelimiter string
	queue        int
	rate         cli.Rate
	linger       time.Duration
	batchBytes   cli.Bytes
	compress     cli.Choice
	timeout      time.Duration
	output       cli.Choice
	progress     cli.Choice
	bench        bool
	count        cli.Count
	size         cli.Bytes
}

const long = `Publish messages to a topic: a line of stdin or of the files each, by default.

Every message is acknowledged when it is on disk on a majority of the brokers; a
failed leader costs a pause, not an error. The first Ctrl-C stops reading and
flushes, the second leaves at once.

` + cli.ExitHelp

const examples = `  echo hello | producer orders
  producer orders access.log --key-delimiter ' ' --compress zstd
  consumer orders -o jsonl | producer copy -i jsonl
  producer orders --bench -n 1M --size 1KiB -o json`

func (p *program) command() *cobra.Command {
	f := &p.flags
	f.input = cli.NewChoice("line", "jsonl", "raw")
	f.compress = cli.NewChoice("none", "s2", "zstd")
	f.output = cli.NewChoice("", "none", "text", "jsonl", "json")
	f.progress = cli.NewChoice("auto", "plain", "none")
	f.count, f.size = 1_000_000, 1024
	cmd := &cobra.Command{
		Use: "producer TOPIC [FILE…]", Short: "Publish messages to a topic", Long: long, Example: examples,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no topic given")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return p.publish(cmd.Context(), args[0], args[1:]) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	f.server.Register(fs)
	fs.VarP(&f.input, "input", "i", "what a message is: a line, a JSON object per line, or all of the input")
	fs.StringVar(&f.delimiter, "delimiter", `\n`, `what ends a line; \n \t \0 \xHH are understood`)
	fs.StringVar(&f.keyDelimiter, "key-delimiter", "", "what separates a key from the value in a line")
	fs.IntVar(&f.queue, "queue", -1, "publish to this queue instead of choosing by key or in turn")
	fs.Var(&f.rate, "rate", "at most so many messages per second, such as 5k/s")
	fs.DurationVar(&f.linger, "linger", 0, "let batches wait for company")
	f.batchBytes = 1 << 20
	fs.Var(&f.batchBytes, "batch-bytes", "close a batch at this size")
	fs.Var(&f.compress, "compress", "compression of batches")
	fs.DurationVar(&f.timeout, "timeout", 2*time.Minute, "give a message up after this time")
	fs.VarP(&f.output, "output", "o", "receipts on stdout; json only for the result of --bench")
	fs.Var(&f.progress, "progress", "progress on stderr; auto is for terminals only")
	fs.BoolVar(&f.bench, "bench", false, "publish -n messages of --size bytes and print rates and latencies")
	fs.VarP(&f.count, "count", "n", "messages of --bench")
	fs.Var(&f.size, "size", "bytes per message of --bench")
	cmd.AddCommand(cli.VersionCommand("producer"))
	return cmd
}

// check refuses combinations that make no sense.
func (f *flags) check(files []string) error {
	switch {
	case f.bench && len(files) > 0:
		return cli.Usagef("--bench makes its own messages: name no files")
	case f.bench && f.count == 0:
		return cli.Usagef("--bench -n 0: nothing to do")
	case !f.bench && f.output.Value == "json":
		return cli.Usagef("-o json is for --bench; receipts are text or jsonl")
	case f.keyDelimiter != "" && f.input.Value != "line":
		return cli.Usagef("--key-delimiter is for lines, not for -i %s", f.input.Value)
	case f.batchBytes < 1024 || f.batchBytes > 16<<20:
		return cli.Usagef("--batch-bytes %d: want 1KiB to 16MiB", uint64(f.batchBytes))
	case f.timeout <= 0 || f.linger < 0:
		return cli.Usagef("--timeout must be positive and --linger not negative")
	}
	return nil
}

func (f *flags) producerConfig(topic string) (client.ProducerConfig, error) {
	compression, err := client.ParseCompression(f.compress.Value)
	return client.ProducerConfig{
		Topic: topic, MaxBatchBytes: int(f.batchBytes), Linger: f.linger,
		Compression: compression, DeliveryTimeout: f.timeout,
	}, err
}

// unescape reads a delimiter as it is typed in a shell.
func unescape(s string) ([]byte, error) {
	if s == "" {
		return nil, cli.Usagef("--delimiter is empty; use -i raw for one message")
	}
	quoted := strings.ReplaceAll(strings.ReplaceAll(s, `\0`, `\x00`), `"`, `\"`)
	text, err := strconv.Unquote(`"` + quoted + `"`)
	if err != nil {
		return nil, cli.Usagef("--delimiter %s: want plain text or %s", s, fmt.Sprintf(`%s %s %s`, `\n`, `\0`, `\xHH`))
	}
	return []byte(text), nil
}
