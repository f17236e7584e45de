package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

const (
	// maxEnvBytes is what one variable may take: systems have limits (Linux: 128 KiB).
	maxEnvBytes = 100 << 10
	// maxWorkers bounds --workers.
	maxWorkers = 1_000
	// afterKill is for how long the output of a command that was killed is waited for.
	afterKill = 2 * time.Second
)

// execFlags are the settings of --exec.
type execFlags struct {
	command   string
	workers   int
	attempts  int
	backoff   time.Duration
	timeout   time.Duration
	onFailure string
	choice    cli.Choice
}

func (f *execFlags) register(fs *pflag.FlagSet) {
	f.choice = cli.NewChoice("stop", "skip")
	fs.StringVar(&f.command, "exec", "", "with --group: give each message to this command of the shell, and commit it when that exits with 0")
	fs.IntVar(&f.workers, "workers", 1, "commands of --exec at a time; one per queue, so order is kept")
	fs.IntVar(&f.attempts, "attempts", 0, "try a message so often; 0: until it is done")
	fs.DurationVar(&f.backoff, "backoff", time.Second, "pause before the second attempt; each further one is twice as long, up to a minute")
	fs.DurationVar(&f.timeout, "exec-timeout", 0, "kill a command that takes longer: it has failed; 0: never")
	fs.Var(&f.choice, "on-failure", "after the last attempt: end without committing the message, or commit it and go on")
}

func (f *execFlags) check(all *flags) error {
	f.onFailure = f.choice.Value
	switch {
	case f.command == "":
		return nil
	case all.group == "":
		return cli.Usagef("--exec commits what is done: name a --group")
	case all.output.Value != "":
		return cli.Usagef("--exec prints nothing of its own: -o cannot be used with it")
	case f.workers < 1 || f.workers > maxWorkers:
		return cli.Usagef("--workers %d: want 1 to %d", f.workers, maxWorkers)
	case all.receive && (f.attempts != 0 || f.onFailure != "stop" || f.backoff != time.Second):
		return cli.Usagef("--attempts, --backoff and --on-failure are for offset groups: with --receive the group's policy says when a message comes again")
	case all.receive && all.count > 0 && f.workers > 1:
		return cli.Usagef("--receive with --count gives one message at a time to --exec: leave out --workers")
	case f.attempts < 0 || f.backoff < 0 || f.timeout < 0:
		return cli.Usagef("--attempts, --backoff and --exec-timeout must not be negative")
	}
	return nil
}

// commandLine runs the command for one message.
type commandLine struct {
	execFlags
	streams cli.Streams
	environ []string
}

func newCommandLine(f execFlags, streams cli.Streams) commandLine {
	return commandLine{execFlags: f, streams: streams, environ: os.Environ()}
}

// run gives a message to the command and waits for its end. The error says how it failed.
func (c *commandLine) run(ctx context.Context, m *client.Message, attempt int) error {
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", c.command)
	apart(cmd)
	cmd.WaitDelay = afterKill
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(m.Value), c.streams.Out, c.streams.Err
	cmd.Env = append(c.environ[:len(c.environ):len(c.environ)], environment(m, attempt)...)
	err := cmd.Run()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("it took longer than %v", c.timeout)
	case ctx.Err() != nil:
		return errors.New("it was ended with this consumer")
	case err != nil:
		return fmt.Errorf("the command failed: %w", err)
	}
	return nil
}

// environment is what the command is told of a message beside its value.
func environment(m *client.Message, attempt int) []string {
	env := []string{
		"MESSAGE_TOPIC=" + m.Topic, "MESSAGE_QUEUE=" + strconv.Itoa(*m.Queue), "MESSAGE_OFFSET=" + strconv.FormatInt(m.Offset, 10),
		"MESSAGE_TIMESTAMP_MS=" + strconv.FormatInt(m.Timestamp.UnixMilli(), 10), "MESSAGE_ATTEMPT=" + strconv.Itoa(attempt),
	}
	add := func(name, value string) bool {
		fits := !strings.ContainsRune(value, 0) && len(value) <= maxEnvBytes
		if fits {
			env = append(env, name+"="+value)
		}
		return fits
	}
	if m.Key != nil && !add("MESSAGE_KEY", string(m.Key)) {
		add("MESSAGE_KEY_BASE64", base64.StdEncoding.EncodeToString(m.Key))
	}
	for _, v := range [][2]string{{"MESSAGE_TAG", m.Tag}, {"MESSAGE_ID", m.ID}, {"MESSAGE_GROUP", m.MessageGroup}} {
		if v[1] != "" {
			add(v[0], v[1])
		}
	}
	for _, h := range m.Headers {
		add("MESSAGE_HEADER_"+variable(h.Key), string(h.Value))
	}
	if headers, err := json.Marshal(cli.ToJSON(m).Headers); err == nil && len(m.Headers) > 0 {
		add("MESSAGE_HEADERS", string(headers))
	}
	return env
}

// variable makes a name of an environment variable of a header's.
func variable(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, name)
}
