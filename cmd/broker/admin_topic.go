package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// topic is a topic as `-o json` shows it.
type topic struct {
	Name     string    `json:"name"`
	Created  time.Time `json:"created"`
	Settings settings  `json:"settings"`
	Groups   []string  `json:"groups"`
	Queues   []queue   `json:"queues"`
}

// settings of a topic; 0: no bound.
type settings struct {
	Type              string `json:"type"`
	MaxMessageBytes   int    `json:"max_message_bytes"`
	RetentionMs       int64  `json:"retention_ms"`
	RetentionMessages int64  `json:"retention_messages"`
	KeyIndex          bool   `json:"key_index"`
}

type queue struct {
	Queue    int   `json:"queue"`
	First    int64 `json:"first_offset"`
	End      int64 `json:"end_offset"`
	Messages int64 `json:"messages"`
}

func toTopic(t *client.Topic) topic {
	out := topic{Name: t.Name, Created: t.Created, Settings: toSettings(t.Settings), Groups: append([]string{}, t.Groups...), Queues: []queue{}}
	for _, q := range t.Queues {
		out.Queues = append(out.Queues, queue{q.Queue, q.First, q.End, q.End - q.First})
	}
	return out
}

func toSettings(s client.TopicSettings) settings {
	return settings{s.Type.String(), s.MaxMessageBytes, s.Retention.Milliseconds(), s.RetentionMessages, s.KeyIndex}
}

// kept says in a word or two how long messages are served.
func kept(s client.TopicSettings) string {
	var parts []string
	if s.Retention != 0 {
		parts = append(parts, s.Retention.String())
	}
	if s.RetentionMessages != 0 {
		parts = append(parts, fmt.Sprintf("%d messages", s.RetentionMessages))
	}
	if len(parts) == 0 {
		return "as the ledger"
	}
	return strings.Join(parts, ", ")
}

func newTopic(a *admin) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topic",
		Short: "Create, alter, list, describe, trim, delete and undelete topics",
		Long: `Look after topics: what they take, how many queues they have, how long they serve
messages. docs/topics.md says what each setting does.`,
	}
	addCommands(cmd, newTopicCreate(a), newTopicAlter(a), newTopicList(a), newTopicDescribe(a), newTopicKeyIndex(a), newTopicTrim(a), newTopicDelete(a), newTopicUndelete(a))
	return cmd
}

// topicFlags are the settings of a topic on the command line.
type topicFlags struct {
	queues            int
	kind              string
	maxMessageBytes   int
	retention         time.Duration
	retentionMessages cli.Count
	keyIndex          bool // of create only
}

func (f *topicFlags) register(cmd *cobra.Command, queues int, means string) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.IntVar(&f.queues, "queues", queues, means)
	fs.StringVar(&f.kind, "type", "MIXED", "which messages it takes: MIXED (any), NORMAL, FIFO, DELAY or TRANSACTION")
	fs.IntVar(&f.maxMessageBytes, "max-message-bytes", 0, "the largest message, 1024 or more; 0: as the brokers say")
	fs.DurationVar(&f.retention, "retention", 0, "for how long messages are served, such as 168h; 0: as long as the ledger has them")
	fs.Var(&f.retentionMessages, "retention-messages", "how many of the newest messages of each queue are served; 0: all")
}

func (f *topicFlags) settings() (client.TopicSettings, error) {
	kind, err := client.ParseTopicType(f.kind)
	if err != nil {
		return client.TopicSettings{}, cli.Usagef("--type %s: want MIXED, NORMAL, FIFO, DELAY or TRANSACTION", f.kind)
	}
	return client.TopicSettings{Type: kind, MaxMessageBytes: f.maxMessageBytes, Retention: f.retention, RetentionMessages: int64(f.retentionMessages), KeyIndex: f.keyIndex}, nil
}

func (a *admin) printTopic(t *client.Topic) error {
	return a.print(toTopic(t), []any{"topic", "queues", "type", "kept"}, [][]any{{t.Name, len(t.Queues), t.Settings.Type, kept(t.Settings)}})
}

func newTopicCreate(a *admin) *cobra.Command {
	f := &topicFlags{}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a topic",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := f.settings()
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				t, err := admin.CreateTopicWith(ctx, args[0], f.queues, s)
				if err != nil {
					err = fmt.Errorf("topic %q: %w", args[0], err)
				}
				if errors.Is(err, client.ErrTopicDeleted) {
					err = cli.Exit(cli.ExitFailed, err) // as for one that is there: nothing is looked for
				}
				if err != nil {
					return err
				}
				return a.printTopic(t)
			})
		},
	}
	f.register(cmd, 1, "how many queues it has; order is kept within a queue")
	cmd.Flags().BoolVar(&f.keyIndex, "key-index", false, "have messages found by key and id without a scan")
	return cmd
}

func newTopicAlter(a *admin) *cobra.Command {
	f := &topicFlags{}
	cmd := &cobra.Command{
		Use:   "alter NAME",
		Short: "Change a topic, or add queues to it",
		Long: `Change a topic. What no flag names stays as it is.

Queues can be added and never taken away. Keys and message groups may go to another
queue then: docs/topics.md says what becomes of their order.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := f.settings()
			if err != nil {
				return err
			}
			change := client.TopicChange{Queues: f.queues}
			named := cmd.Flags().Changed
			if named("type") {
				change.Type = &s.Type
			}
			if named("max-message-bytes") {
				change.MaxMessageBytes = &s.MaxMessageBytes
			}
			if named("retention") {
				change.Retention = &s.Retention
			}
			if named("retention-messages") {
				change.RetentionMessages = &s.RetentionMessages
			}
			if change == (client.TopicChange{}) {
				return cli.Usagef("nothing to change: name a flag")
			}
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				t, err := admin.AlterTopic(ctx, args[0], change)
				if err != nil {
					return fmt.Errorf("topic %q: %w", args[0], err)
				}
				return a.printTopic(t)
			})
		},
	}
	f.register(cmd, 0, "how many queues it shall have, no fewer than now")
	cmd.Flags().Lookup("type").DefValue = "" // it stays as it is
	return cmd
}

// listed is a topic as `topic list -o json` shows it.
type listed struct {
	Name          string     `json:"name"`
	Queues        int        `json:"queues"`
	Created       time.Time  `json:"created"`
	Settings      settings   `json:"settings"`
	UndeleteUntil *time.Time `json:"undelete_until,omitempty"`
}

func newTopicList(a *admin) *cobra.Command {
	deleted := false
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the topics",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				list := admin.ListTopics
				if deleted {
					list = admin.ListAllTopics
				}
				topics, err := list(ctx)
				if err != nil {
					return err
				}
				all, rows := []listed{}, [][]any{}
				for _, t := range topics {
					one, until := listed{t.Name, len(t.Queues), t.Created, toSettings(t.Settings), nil}, ""
					if !t.UndeleteUntil.IsZero() {
						one.UndeleteUntil, until = &t.UndeleteUntil, t.UndeleteUntil.Format(time.DateTime)
					}
					all = append(all, one)
					rows = append(rows, []any{t.Name, len(t.Queues), t.Settings.Type, kept(t.Settings), t.Created.Format(time.DateTime), until})
				}
				return a.print(all, []any{"topic", "queues", "type", "kept", "created", "undelete until"}, rows)
			})
		},
	}
	cmd.Flags().BoolVar(&deleted, "deleted", false, "with the deleted topics that can be had back")
	return cmd
}

func newTopicDescribe(a *admin) *cobra.Command {
	return &cobra.Command{
		Use:   "describe NAME",
		Short: "Show what a topic takes, what its queues hold and who reads it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				t, err := admin.DescribeTopicAndReaders(ctx, args[0])
				if err != nil {
					return fmt.Errorf("topic %q: %w", args[0], err)
				}
				if a.output.Value == "json" {
					return cli.PrintJSON(a.streams.Out, toTopic(t))
				}
				size, readers := "as the brokers say", "nobody"
				if n := t.Settings.MaxMessageBytes; n != 0 {
					size = strconv.Itoa(n)
				}
				if len(t.Groups) > 0 {
					readers = strings.Join(t.Groups, " ")
				}
				about := [][]any{{t.Name, t.Settings.Type, kept(t.Settings), size, t.Created.Format(time.DateTime), readers}}
				if err := cli.PrintTable(a.streams.Out, []any{"topic", "type", "kept", "max bytes", "created", "read by"}, about); err != nil {
					return err
				}
				return cli.PrintTable(a.streams.Out, []any{"queue", "first", "end", "messages"}, queueRows(args[0], toTopic(t).Queues))
			})
		},
	}
}

func queueRows(topic string, queues []queue) (rows [][]any) {
	for _, q := range queues {
		rows = append(rows, []any{topic + "/" + strconv.Itoa(q.Queue), q.First, q.End, q.Messages})
	}
	return rows
}

// gone is a deleted topic as `-o json` shows it.
type gone struct {
	Deleted       string     `json:"deleted"`
	UndeleteUntil *time.Time `json:"undelete_until,omitempty"`
}

func newTopicDelete(a *admin) *cobra.Command {
	now, grace := false, client.DefaultGrace
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a topic with its messages",
		Long: `Delete a topic. Until its grace is over (topics.delete_grace of the brokers, 1h by
default) it can be had back with all its messages: broker admin topic undelete NAME.
A topic of dead letters has no grace unless --grace says one.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen := cmd.Flags().Changed("grace")
			if now && chosen || chosen && grace < time.Millisecond { // below it would be none
				return cli.Usagef("--now is without a grace; --grace takes a time of 1ms or more")
			}
			if now {
				grace = 0
			}
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				until, err := admin.DeleteTopicWithGrace(ctx, args[0], grace)
				if err != nil {
					return fmt.Errorf("topic %q: %w", args[0], err)
				}
				out, text := gone{Deleted: args[0]}, "gone"
				if !until.IsZero() {
					out.UndeleteUntil, text = &until, until.Format(time.DateTime)
				}
				return a.print(out, []any{"deleted", "undelete until"}, [][]any{{args[0], text}})
			})
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "without a grace: it cannot be had back; also for one that is deleted already")
	cmd.Flags().DurationVar(&grace, "grace", client.DefaultGrace, "for how long it can be had back, up to 720h; default as the brokers say")
	cmd.Flags().Lookup("grace").DefValue = "0s" // which --help does not show: it is for the brokers to say
	return cmd
}

func newTopicUndelete(a *admin) *cobra.Command {
	return &cobra.Command{
		Use:   "undelete NAME",
		Short: "Have a deleted topic back, while its grace lasts",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				t, err := admin.UndeleteTopic(ctx, args[0])
				if err != nil {
					return fmt.Errorf("topic %q: %w", args[0], err)
				}
				return a.printTopic(t)
			})
		},
	}
}
