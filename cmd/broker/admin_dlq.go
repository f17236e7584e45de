package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// deadLetter is a dead letter as `-o json` shows it.
type deadLetter struct {
	Offset   int64            `json:"offset"`
	Redriven bool             `json:"redriven"`
	Topic    string           `json:"topic"`
	Queue    string           `json:"queue"`
	From     string           `json:"from_offset"`
	Attempts string           `json:"attempts"`
	Reason   string           `json:"reason"`
	Dead     *time.Time       `json:"dead,omitempty"`
	Message  *cli.JSONMessage `json:"message"`
}

func toDeadLetter(l *client.DeadLetter) deadLetter {
	topic, queue, offset := l.Origin()
	out := deadLetter{
		Offset: l.Offset, Redriven: l.Redriven, Topic: topic, Queue: queue, From: offset,
		Attempts: l.Header("dlq.attempts"), Reason: l.Header("dlq.reason"), Message: cli.ToJSON(&l.Message),
	}
	if at := l.DeadAt(); !at.IsZero() {
		out.Dead = &at
	}
	return out
}

func newDLQ(a *admin) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "List, show and put back the dead letters of work-queue groups",
		Long: `Look after dead letters: messages that a work-queue group was given in vain as often as
its policy allows. They are kept in the topic %DLQ%GROUP, which can be read like any other,
until retention removes them.

Putting one back (redrive) gives it a new place at the end of the queue that it came from, and
notes that in the same entry of the ledger: each is put back once, however often that is asked
for, and after an interrupted run those that are left are found by the same selection.`,
	}
	addCommands(cmd, newDLQList(a), newDLQShow(a), newDLQRedrive(a))
	return cmd
}

// selection says which dead letters are meant.
type selection struct {
	offsets             []int64
	topic, tag, key, id string
	after, before       string
	died                timeRange // what after and before say
	redriven            bool
	count               int
}

func (s *selection) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.Int64SliceVar(&s.offsets, "offset", nil, "these offsets among the dead letters")
	fs.StringVar(&s.topic, "topic", "", "that came from this topic")
	fs.StringVar(&s.tag, "tag", "", "with this tag")
	fs.StringVar(&s.key, "key", "", "with this key")
	fs.StringVar(&s.id, "id", "", "with this message id")
	fs.StringVar(&s.after, "from", "", "that died then or later: a time, or how long ago")
	fs.StringVar(&s.before, "to", "", "that died before: a time, or how long ago")
	fs.IntVarP(&s.count, "count", "n", 0, "at most so many; 0 is no limit")
}

// read checks the flags, and makes times of their texts.
func (s *selection) read() (err error) {
	if s.died, err = parseTimeRange(s.after, s.before, time.Now()); err != nil {
		return err
	}
	if s.count < 0 {
		return cli.Usagef("-n %d: want 0 or more", s.count)
	}
	return nil
}

// wants says whether a dead letter is meant.
func (s *selection) wants(l *client.DeadLetter) bool {
	topic, _, _ := l.Origin()
	dead := l.DeadAt()
	switch {
	case len(s.offsets) > 0 && !slices.Contains(s.offsets, l.Offset):
	case s.topic != "" && s.topic != topic, s.tag != "" && s.tag != l.Tag, s.id != "" && s.id != l.ID:
	case s.key != "" && s.key != string(l.Key):
	case !s.died.from.IsZero() && dead.Before(s.died.from), !s.died.to.IsZero() && !dead.Before(s.died.to):
	default:
		return true
	}
	return false
}

// empty says that nothing was selected.
func (s *selection) empty() bool {
	return len(s.offsets) == 0 && s.topic == "" && s.tag == "" && s.key == "" && s.id == "" && s.after == "" && s.before == ""
}

// each calls do for the dead letters that are meant, page by page. The selection was read.
func (a *admin) each(ctx context.Context, admin *client.Admin, group string, s *selection, do func(*client.DeadLetter) error) error {
	if err := hadDeadLetters(ctx, admin, group); err != nil {
		return err
	}
	found := 0
	for from := int64(0); ; {
		page, err := admin.DeadLetters(ctx, group, from, 200, s.redriven)
		if err != nil {
			return fmt.Errorf("dead letters of %q: %w", group, err)
		}
		for i := range page.Letters {
			if !s.wants(&page.Letters[i]) {
				continue
			}
			if err := do(&page.Letters[i]); err != nil {
				return err
			}
			if found++; found == s.count {
				return nil
			}
		}
		if page.Next >= page.End || page.Next <= from {
			return nil
		}
		from = page.Next
	}
}

// hadDeadLetters refuses a group that is not there, unless it left dead letters when it was
// deleted.
func hadDeadLetters(ctx context.Context, admin *client.Admin, group string) error {
	_, err := admin.DescribeGroup(ctx, group)
	if client.CodeOf(err) == client.CodeUnknownGroup {
		if _, left := admin.DescribeGroup(ctx, "%DLQ%"+group); left == nil {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("group %q: %w", group, err)
	}
	return nil
}

func newDLQList(a *admin) *cobra.Command {
	s := &selection{}
	cmd := &cobra.Command{
		Use:   "list GROUP",
		Short: "List the dead letters of a group",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.read(); err != nil {
				return err
			}
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				all, rows := []deadLetter{}, [][]any{}
				err := a.each(ctx, admin, args[0], s, func(l *client.DeadLetter) error {
					d := toDeadLetter(l)
					all = append(all, d)
					rows = append(rows, []any{d.Offset, d.Topic + "/" + d.Queue + "@" + d.From, d.Attempts, d.Reason, committedAt(d.Dead), d.Redriven, shortened(l.Value)})
					return nil
				})
				if err != nil {
					return err
				}
				return a.print(all, []any{"offset", "from", "attempts", "reason", "dead", "redriven", "value"}, rows)
			})
		},
	}
	s.register(cmd)
	cmd.Flags().BoolVar(&s.redriven, "redriven", false, "also those that were put back")
	return cmd
}

// shortened shows the beginning of a value in one line.
func shortened(value []byte) string {
	const most = 40
	text := value[:min(len(value), most)]
	if !utf8.Valid(text) {
		return strconv.Quote(string(text))
	}
	out := strconv.Quote(string(text))
	if len(value) > most {
		out += "…"
	}
	return out
}

func newDLQShow(a *admin) *cobra.Command {
	return &cobra.Command{
		Use:   "show GROUP OFFSET",
		Short: "Show one dead letter with all that it has",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			offset, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil || offset < 0 {
				return cli.Usagef("offset %q: want a number", args[1])
			}
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				page, err := admin.DeadLetters(ctx, args[0], offset, 1, true)
				if err != nil {
					return fmt.Errorf("dead letters of %q: %w", args[0], err)
				}
				if len(page.Letters) == 0 || page.Letters[0].Offset != offset {
					return cli.Exit(cli.ExitNotFound, fmt.Errorf("group %q has no dead letter %d", args[0], offset))
				}
				l := &page.Letters[0]
				d := toDeadLetter(l)
				rows := [][]any{
					{"offset", d.Offset},
					{"from", d.Topic + "/" + d.Queue + "@" + d.From},
					{"attempts", d.Attempts},
					{"reason", d.Reason},
					{"dead", committedAt(d.Dead)},
					{"redriven", d.Redriven},
					{"key", orDash(string(l.Key))},
					{"tag", orDash(l.Tag)},
					{"id", orDash(l.ID)},
					{"message group", orDash(l.MessageGroup)},
				}
				for _, h := range l.Headers {
					rows = append(rows, []any{"header " + h.Key, string(h.Value)})
				}
				return a.print(d, []any{"what", "value"}, append(rows, []any{"value", string(l.Value)}))
			})
		},
	}
}
