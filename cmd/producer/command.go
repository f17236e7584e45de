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
	fields       fields
	name         string
	queue        int
	rate         cli.Rate
	linger       time.Duration
	batchBytes   cli.Bytes
	compress     cli.Choice
	delay        time.Duration
	at           string
	transaction  bool
	deliverAt    time.Time // of at
	timeout      time.Duration
	output       cli.Choice
	progress     cli.Choice
	bench        bool
	count        cli.Count
	size         cli.Bytes
}

const long = `Publish messages to a topic: a line of stdin or of the files each, by default.

Every message is acknowledged when it is on disk on a majority of the brokers; a
failed leader costs a pause, not an error. Where there is no leader at the start, it
is waited for up to --timeout, and after 2 s a line on stderr says so. The first Ctrl-C
stops reading and flushes, the second leaves at once.

` + cli.ExitHelp

const examples = `  echo hello | producer orders
  producer orders access.log --key-delimiter ' ' --compress zstd
  consumer orders -o jsonl | producer copy -i jsonl
  echo reminder | producer orders --delay 24h -o jsonl
  echo 17.50 | producer orders --key anna --tag paid -H region=EU
  tail -F till.log | producer orders --name till-7
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
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cli.Only(cmd.Flags(), "bench", "count", "size"); err != nil {
				return err
			}
			return p.publish(cmd.Context(), args[0], args[1:])
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	f.server.Register(fs)
	fs.VarP(&f.input, "input", "i", "what a message is: a line, a JSON object per line, or all of the input")
	fs.StringVar(&f.delimiter, "delimiter", `\n`, `what ends a line; \n \t \0 \xHH are understood`)
	fs.StringVar(&f.keyDelimiter, "key-delimiter", "", "what separates a key from the value in a line")
	fs.StringVar(&f.fields.key, "key", "", "the key of messages that bring none: they share a queue, and keep their order")
	fs.StringVar(&f.fields.tag, "tag", "", "the tag of messages that bring none")
	fs.StringVar(&f.fields.group, "message-group", "", "the message group of messages that bring none: topics of type FIFO want one, and keep its order")
	fs.StringArrayVarP(&f.fields.texts, "header", "H", nil, "a header NAME=VALUE of messages that bring none; may be repeated")
	fs.StringVar(&f.name, "name", "", "be the topic's only producer of this name: an older one can store nothing more")
	fs.IntVar(&f.queue, "queue", -1, "publish to this queue instead of choosing by key or in turn")
	fs.DurationVar(&f.delay, "delay", 0, "have each message delivered so long after it was read, such as 90s or 24h")
	fs.StringVar(&f.at, "at", "", "have the messages delivered at this time, such as 2027-01-31T08:00:00Z")
	fs.BoolVar(&f.transaction, "transaction", false, "deliver nothing before all of the input is stored; an error or Ctrl-C drops it")
	fs.Var(&f.rate, "rate", "at most so many messages per second, such as 5k/s")
	fs.DurationVar(&f.linger, "linger", 0, "let batches wait for company")
	f.batchBytes = client.DefaultBatchBytes
	fs.Var(&f.batchBytes, "batch-bytes", "close a batch at this size")
	fs.Var(&f.compress, "compress", "compression of batches")
	fs.DurationVar(&f.timeout, "timeout", 2*time.Minute, "give a message up after this time, and the topic if it is not found within it")
	fs.VarP(&f.output, "output", "o", "receipts on stdout; json only for the result of --bench")
	fs.Var(&f.progress, "progress", "progress on stderr; auto is for terminals only; none does not tell either what is waited for at the start")
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
	case f.transaction && (f.bench || f.delay > 0 || f.at != "" || f.rate != 0):
		return cli.Usagef("--transaction goes with none of --bench, --delay, --at, --rate")
	case f.delay < 0:
		return cli.Usagef("--delay %v is negative", f.delay)
	case f.delay > 0 && f.at != "":
		return cli.Usagef("--delay and --at say the same thing twice: give one")
	case f.timeout <= 0 || f.linger < 0:
		return cli.Usagef("--timeout must be positive and --linger not negative")
	}
	if err := f.fields.check(f.bench, f.keyDelimiter != ""); err != nil {
		return err
	}
	return f.parseAt()
}

func (f *flags) parseAt() (err error) {
	if f.at == "" {
		return nil
	}
	if f.deliverAt, err = time.Parse(time.RFC3339, f.at); err != nil {
		return cli.Usagef("--at %s: want a time such as 2027-01-31T08:00:00Z or 2027-01-31T08:00:00.250+01:00", f.at)
	}
	return nil
}

func (f *flags) producerConfig(topic string) (client.ProducerConfig, error) {
	compression, err := client.ParseCompression(f.compress.Value)
	return client.ProducerConfig{
		Topic: topic, Name: f.name, MaxBatchBytes: int(f.batchBytes), Linger: f.linger,
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
