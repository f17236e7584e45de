package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

func newMessage(a *admin) *cobra.Command {
	cmd := &cobra.Command{Use: "message", Short: "Show, find and trace messages"}
	addCommands(cmd, newMessageGet(a), newMessageFind(a), newMessageTrace(a))
	return cmd
}

// foundMessage is a message as `message … -o json` shows it.
type foundMessage struct {
	*cli.JSONMessage
	Stored time.Time `json:"stored"`
}

func newMessageGet(a *admin) *cobra.Command {
	return &cobra.Command{
		Use:   "get TOPIC/QUEUE@OFFSET",
		Short: "Show the message at an offset",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, queue, offset, err := parsePlace(args[0])
			if err != nil {
				return err
			}
			return a.dialed(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return a.brief(ctx, func(ctx context.Context) error {
					m, err := messageAt(ctx, c, topic, queue, offset)
					if err != nil {
						return err
					}
					return a.printMessages([]client.Message{*m}, true)
				})
			})
		},
	}
}

// parsePlace reads TOPIC/QUEUE@OFFSET, as receipts and consumers print it.
func parsePlace(s string) (topic string, queue int, offset int64, err error) {
	rest, number, ok := cutLast(s, "@")
	if ok {
		offset, err = strconv.ParseInt(number, 10, 64)
	}
	topic, number, found := cutLast(rest, "/")
	if err == nil && found {
		queue, err = strconv.Atoi(number)
	}
	if !ok || !found || err != nil || topic == "" || queue < 0 || offset < 0 {
		return "", 0, 0, cli.Usagef("%q: want TOPIC/QUEUE@OFFSET, such as orders/0@812", s)
	}
	return topic, queue, offset, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// messageAt reads one message; one that is not there yet is an error.
func messageAt(ctx context.Context, c *client.Client, topic string, queue int, offset int64) (*client.Message, error) {
	cs, err := c.Consumer(ctx, client.ConsumerConfig{Topic: topic, Queues: []int{queue}, From: client.Offset(offset), MaxBytes: 1})
	if err != nil {
		return nil, err
	}
	defer cs.Close()
	ranges, err := cs.Ranges(ctx)
	if err != nil {
		return nil, err
	}
	if len(ranges) == 1 && offset >= ranges[0].End {
		return nil, cli.Exit(cli.ExitNotFound, fmt.Errorf("%s/%d has no offset %d yet: its end is %d", topic, queue, offset, ranges[0].End))
	}
	m, err := cs.Next(ctx)
	return &m, err
}

// search is what `message find` looks for.
type search struct {
	id, key, tag, filter string
	from, to             string
	between              timeRange // what from and to say
	count                int
}

func newMessageFind(a *admin) *cobra.Command {
	s := &search{}
	cmd := &cobra.Command{
		Use:   "find TOPIC",
		Short: "Find messages by id, key, tag, properties and time",
		Long: `Find messages. The brokers go through what was stored in the time asked for and send
only what matches. A smaller time is found faster. A key or an id alone is looked up in
the topic's key index, if it has one (topic create --key-index, topic key-index).`,
		Example: `  broker admin message find orders --key customer-7 --from 1h
  broker admin message find orders --filter "region = 'EU' AND price > 10" --from 2026-11-22T09:00 --to 2026-11-22T10:00
  broker admin message find orders --from 2026-11-22T09:30 -n 1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if s.between, err = parseTimeRange(s.from, s.to, time.Now()); err != nil {
				return err
			}
			return a.dialed(cmd.Context(), func(ctx context.Context, c *client.Client) error { return a.find(ctx, c, args[0], s) })
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&s.id, "id", "", "the message id that its sender gave it")
	fs.StringVar(&s.key, "key", "", "its key")
	fs.StringVar(&s.tag, "tag", "", "its tag, or several: 'paid || refunded'")
	fs.StringVar(&s.filter, "filter", "", "an SQL92 expression (docs/filters.md)")
	fs.StringVar(&s.from, "from", "", "stored then or later: a time, or how long ago; default the oldest")
	fs.StringVar(&s.to, "to", "", "stored before: a time, or how long ago; default now")
	fs.IntVarP(&s.count, "count", "n", 20, "end after so many messages")
	return cmd
}

// wanted makes one filter of what is asked for.
func (s *search) wanted() (client.Filter, error) {
	if s.count < 1 {
		return client.Filter{}, cli.Usagef("-n %d: want 1 or more", s.count)
	}
	if s.tag != "" {
		if s.id != "" || s.key != "" || s.filter != "" {
			return client.Filter{}, cli.Usagef("--tag stands alone; TAGS = 'x' in --filter is the tag")
		}
		return client.TagFilter(s.tag), nil
	}
	var parts []string
	if s.id != "" {
		parts = append(parts, "UNIQ_KEY = "+quoteSQL(s.id))
	}
	if s.key != "" {
		parts = append(parts, "KEYS = "+quoteSQL(s.key))
	}
	if s.filter != "" {
		parts = append(parts, "("+s.filter+"\n)") // a comment at its end ends there
	}
	switch {
	case len(parts) == 0:
		return client.Filter{}, nil
	case len(parts) == 1 && s.filter != "":
		return client.SQLFilter(s.filter), nil // as it is, so that columns are right
	}
	return client.SQLFilter(strings.Join(parts, " AND ")), nil
}

func quoteSQL(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// span are the offsets at which looking begins and ends.
type span struct{ from, to map[int]int64 }

func (s *search) span(ctx context.Context, admin *client.Admin, topic string) (span, error) {
	all := span{map[int]int64{}, map[int]int64{}}
	described, err := admin.DescribeTopic(ctx, topic)
	if err != nil {
		return all, err
	}
	for _, q := range described.Queues {
		all.from[q.Queue], all.to[q.Queue] = q.First, q.End
	}
	err = moveTo(ctx, admin, topic, s.between.from, all.from)
	if err == nil {
		err = moveTo(ctx, admin, topic, s.between.to, all.to)
	}
	return all, err
}

// moveTo makes the offsets of queues those of a time, if one was given.
func moveTo(ctx context.Context, admin *client.Admin, topic string, at time.Time, offsets map[int]int64) error {
	if at.IsZero() {
		return nil
	}
	found, err := admin.FindOffsets(ctx, topic, at)
	for _, f := range found {
		offsets[f.Queue] = f.Offset
	}
	return err
}

func (a *admin) find(ctx context.Context, c *client.Client, topic string, s *search) error {
	if s.plain() {
		return a.findPlain(ctx, c, topic, s)
	}
	wanted, err := s.wanted()
	if err != nil {
		return err
	}
	all, err := s.span(ctx, c.Admin(), topic)
	if err != nil {
		return err
	}
	cs, err := c.Consumer(ctx, client.ConsumerConfig{Topic: topic, Filter: wanted})
	if err != nil {
		return err
	}
	defer cs.Close()
	left := map[int]int64{}
	for q, from := range all.from {
		if from < all.to[q] {
			left[q] = all.to[q]
			err = errors.Join(err, cs.Seek(q, from))
		} else {
			err = errors.Join(err, cs.Pause(q))
		}
	}
	var found []client.Message
	for err == nil && len(left) > 0 && len(found) < s.count {
		found, err = s.step(ctx, cs, left, found)
	}
	if err == nil && len(found) == 0 {
		err = cli.Exit(cli.ExitNotFound, fmt.Errorf("topic %q has no such message in what was looked at", topic))
	}
	if err != nil {
		return err
	}
	return a.printMessages(found, false)
}

// step takes the next message, or crosses off queues that were gone through.
func (s *search) step(ctx context.Context, cs *client.Consumer, left map[int]int64, found []client.Message) ([]client.Message, error) {
	m, ok, err := cs.TryNext()
	if err != nil {
		return found, err
	}
	if end, wanted := left[queueOf(&m)]; ok && wanted && m.Offset < end {
		return append(found, m), nil
	}
	for q, end := range left {
		at, err := cs.Position(q)
		if err != nil {
			return found, err
		}
		if at >= end {
			delete(left, q)
			if err := cs.Pause(q); err != nil {
				return found, err
			}
		}
	}
	if ok || len(left) == 0 {
		return found, nil
	}
	return found, cs.Await(ctx)
}

func queueOf(m *client.Message) int {
	if m.Queue == nil {
		return -1
	}
	return *m.Queue
}

// printMessages shows messages as JSON or as a table; one alone with all it has.
func (a *admin) printMessages(found []client.Message, single bool) error {
	all := make([]foundMessage, len(found))
	var rows [][]any
	for i := range found {
		m := &found[i]
		all[i] = foundMessage{cli.ToJSON(m), m.AppendTime}
		place := fmt.Sprintf("%s/%d@%d", m.Topic, queueOf(m), m.Offset)
		rows = append(rows, []any{place, m.AppendTime.Format("2006-01-02 15:04:05.000"), m.Tag, m.ID, shown(m.Key, single), shown(m.Value, single)})
		if single {
			for _, h := range m.Headers {
				rows = append(rows, []any{"", "", "", "", h.Key, shown(h.Value, true)})
			}
		}
	}
	header := []any{"message", "stored", "tag", "id", "key", "value"}
	if single {
		return a.print(all[0], header, rows)
	}
	return a.print(all, header, rows)
}

// shown is text for a table: short, if it is not the only message, and harmless.
func shown(b []byte, whole bool) string {
	s := string(b)
	if most := 60; !whole && len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
