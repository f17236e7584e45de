package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// messageTrace is a trace as `message trace -o json` shows it. Times that are not known
// are absent.
type messageTrace struct {
	Topic        string           `json:"topic"`
	Queue        int              `json:"queue"`
	Offset       int64            `json:"offset"`
	Waiting      *tracedWaiting   `json:"waiting,omitempty"`
	RolledBack   bool             `json:"rolled_back,omitempty"`
	Readable     bool             `json:"readable"`
	Key          *string          `json:"key,omitempty"`
	KeyBase64    []byte           `json:"key_base64,omitempty"`
	ID           string           `json:"message_id,omitempty"`
	Tag          string           `json:"tag,omitempty"`
	MessageGroup string           `json:"message_group,omitempty"`
	Sent         *time.Time       `json:"sent,omitempty"`
	ValueBytes   int64            `json:"value_bytes"`
	SizeBytes    int64            `json:"size_bytes"`
	Stored       tracedStore      `json:"stored"`
	Producer     *tracedProducer  `json:"producer,omitempty"`
	Delivery     *tracedDelivery  `json:"delivery,omitempty"`
	Groups       []tracedConsumer `json:"groups"`
	LeftOff      int              `json:"groups_left_off,omitempty"`
}

// tracedWaiting is what a message waits for: a time, or the end of its transaction.
type tracedWaiting struct {
	Due              *time.Time `json:"due,omitempty"`
	TransactionGroup uint32     `json:"transaction_group,omitempty"`
}

type tracedStore struct {
	LedgerIndex int64      `json:"ledger_index"`
	Term        int64      `json:"term"`
	Time        *time.Time `json:"time,omitempty"`
	Carried     bool       `json:"carried"`
	Members     []string   `json:"members"`
	First       int64      `json:"segment_first"`
	Last        *int64     `json:"segment_last,omitempty"`
	Bytes       int64      `json:"batch_bytes"`
	Records     int        `json:"batch_records"`
	Record      int        `json:"record"`
	Compression string     `json:"compression"`
}

type tracedProducer struct {
	ID       uint64 `json:"id"`
	Name     string `json:"name,omitempty"`
	Epoch    uint32 `json:"epoch"`
	Sequence int64  `json:"sequence"`
}

type tracedDelivery struct {
	LedgerIndex      int64      `json:"ledger_index"`
	Time             *time.Time `json:"time,omitempty"`
	Due              *time.Time `json:"due,omitempty"`
	TransactionGroup uint32     `json:"transaction_group,omitempty"`
}

type tracedConsumer struct {
	Group     string     `json:"group"`
	Offset    int64      `json:"offset"`
	Past      bool       `json:"past"`
	Committed *time.Time `json:"committed,omitempty"`
	Owner     string     `json:"owner,omitempty"`
	Paused    bool       `json:"paused"`
	Work      bool       `json:"work,omitempty"`
	Attempts  int        `json:"attempts,omitempty"`
	VisibleAt *time.Time `json:"visible_at,omitempty"`
	Leased    *time.Time `json:"leased_until,omitempty"`
}

func newMessageTrace(a *admin) *cobra.Command {
	id, handle := "", ""
	cmd := &cobra.Command{
		Use:   "trace TOPIC/QUEUE@OFFSET | TOPIC --id ID | --handle HANDLE",
		Short: "Show where a message came from, where it is, and who is past it",
		Long: `Show what the ledger knows of a message: who sent it, in which entry and on which
members it is, how it was delivered if it had to wait, and how each consumer group stands to it.

A group that is past a message consumed it, or was set beyond it by a reset; "moved" is when it
last committed in that queue, so it was past the message then at the latest.

A handle names a message while it waits, and for a while one whose transaction has ended. A
delayed one that was delivered is found by its id.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkTraced(args, id, handle); err != nil {
				return err
			}
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				if handle != "" {
					t, err := admin.TraceHandle(ctx, handle)
					if errors.Is(err, client.ErrNotWaiting) {
						return &cli.Error{Exit: cli.ExitNotFound, Code: string(client.CodeNotWaiting), Err: err}
					}
					if err != nil {
						return err
					}
					return a.printTrace(t)
				}
				topic, queue, offset, err := a.traced(ctx, admin, args[0], id)
				if err != nil {
					return err
				}
				t, err := admin.Trace(ctx, topic, queue, offset)
				if err != nil {
					return err
				}
				return a.printTrace(t)
			})
		},
	}
	cmd.Flags().StringVar(&handle, "handle", "", "the handle, as its receipt gives it, of a message that waits or whose transaction has ended")
	cmd.Flags().StringVar(&id, "id", "", "the message id that its sender gave it; the first one that has it")
	return cmd
}

// checkTraced refuses what names no message, or more than one.
func checkTraced(args []string, id, handle string) error {
	switch {
	case handle != "" && len(args) > 0:
		return cli.Usagef("%q beside --handle: a handle alone says which message", args[0])
	case handle != "" && id != "":
		return cli.Usagef("--id beside --handle: a handle alone says which message")
	case handle == "" && len(args) == 0:
		return cli.Usagef("say which message: TOPIC/QUEUE@OFFSET, TOPIC --id ID, or --handle HANDLE")
	}
	return nil
}

// traced is the place of the message that is meant.
func (a *admin) traced(ctx context.Context, admin *client.Admin, what, id string) (topic string, queue int, offset int64, err error) {
	if id == "" {
		return parsePlace(what)
	}
	found, err := admin.Find(ctx, client.Search{Topic: what, ID: id, Limit: 2})
	switch {
	case err != nil:
		return "", 0, 0, err
	case len(found.Messages) == 0:
		return "", 0, 0, cli.Exit(cli.ExitNotFound, fmt.Errorf("topic %q has no message with the id %q", what, id))
	case len(found.Messages) > 1:
		_, _ = fmt.Fprintf(a.streams.Err, "more than one message has the id %q: this is the first\n", id)
	}
	return what, found.Messages[0].Queue, found.Messages[0].Offset, nil
}

func (a *admin) printTrace(t *client.Trace) error {
	if a.output.Value == "json" {
		return cli.PrintJSON(a.streams.Out, toMessageTrace(t))
	}
	if t.RolledBack {
		return cli.PrintTable(a.streams.Out, []any{"message", ""}, [][]any{{"place", fmt.Sprintf("%s/%d", t.Topic, t.Queue)}, {"fate", "its transaction was rolled back"}})
	}
	rows := append(storedRows(t), senderRows(t)...)
	if w := t.Waiting; w != nil {
		until := fmt.Sprintf("for the end of its transaction (group %d)", w.TransactionGroup)
		if !w.Due.IsZero() {
			until = "until " + exactTime(w.Due)
		}
		rows = append(rows, []any{"waits", until})
	}
	if d := t.Delivery; d != nil {
		why := "committed its transaction"
		if d.TransactionGroup == 0 {
			why = "it was moved here, as a dead letter or put back"
		}
		if !d.Due.IsZero() {
			why = "it was due at " + exactTime(d.Due)
		}
		rows = append(rows, []any{"delivered", fmt.Sprintf("%s by entry %d: %s", exactTime(d.Time), d.LedgerIndex, why)})
	}
	if err := cli.PrintTable(a.streams.Out, []any{"message", ""}, rows); err != nil {
		return err
	}
	groups := [][]any{}
	for _, g := range t.Groups {
		past := "not yet"
		if g.Past {
			past = "past it"
		}
		if g.Work {
			past = workState(&g)
		}
		groups = append(groups, []any{g.Group, past, dashIfNone(g.Offset), exactTime(g.Committed), orDash(g.Owner)})
	}
	if t.GroupsLeftOff > 0 {
		groups = append(groups, []any{fmt.Sprintf("… and %d more", t.GroupsLeftOff)})
	}
	if t.Waiting != nil {
		return nil // nobody can have read it
	}
	_, _ = fmt.Fprintln(a.streams.Out)
	return cli.PrintTable(a.streams.Out, []any{"group", "message", "wants", "moved", "owner"}, groups)
}

// placeOf is where a message is; one that waits has no offset.
func placeOf(t *client.Trace) string {
	if t.Offset < 0 {
		return fmt.Sprintf("%s/%d", t.Topic, t.Queue)
	}
	return fmt.Sprintf("%s/%d@%d", t.Topic, t.Queue, t.Offset)
}

// workState is how a work-queue group stands to a message.
func workState(g *client.TracedGroup) string {
	tried := ""
	if g.Attempts > 0 {
		tried = fmt.Sprintf(", %d attempts in vain", g.Attempts)
	}
	switch {
	case g.Past:
		return "done"
	case !g.LeasedUntil.IsZero():
		return "leased until " + exactTime(g.LeasedUntil) + tried
	case g.Attempts > 0 && g.VisibleAt.After(time.Now()):
		return "waits until " + exactTime(g.VisibleAt) + tried
	}
	return "not yet" + tried
}

func storedRows(t *client.Trace) [][]any {
	entry := fmt.Sprintf("%d of term %d", t.LedgerIndex, t.Term)
	if t.Carried {
		entry += ", a copy made while it waited"
	}
	segment := fmt.Sprintf("entries %d to %d", t.SegmentFirst, t.SegmentLast)
	if t.SegmentLast < 0 {
		segment = fmt.Sprintf("from entry %d on, it grows", t.SegmentFirst)
	}
	return [][]any{
		{"place", placeOf(t)},
		{"stored", exactTime(t.AppendTime)},
		{"entry", entry},
		{"segment", segment},
		{"on disk of", strings.Join(t.Copies, ", ")},
		{"batch", fmt.Sprintf("message %d of %d, %d bytes, compression %s", t.Record+1, t.Records, t.BatchBytes, t.Compression)},
	}
}

func senderRows(t *client.Trace) (rows [][]any) {
	if !t.Readable {
		rows = append(rows, []any{"content", "cannot be read"})
	} else {
		rows = append(rows, []any{"size", fmt.Sprintf("%d bytes, value %d", t.Size, t.ValueBytes)}, []any{"sent", exactTime(t.Timestamp)})
	}
	for _, r := range [][2]string{{"id", t.ID}, {"key", shown(t.Key, false)}, {"tag", t.Tag}, {"message group", t.MessageGroup}} {
		if r[1] != "" {
			rows = append(rows, []any{r[0], r[1]})
		}
	}
	if t.ProducerID != 0 {
		rows = append(rows, []any{"producer", strings.TrimSpace(fmt.Sprintf("%d, epoch %d, sequence %d %s", t.ProducerID, t.Epoch, t.Sequence, t.ProducerName))})
	}
	return rows
}

func exactTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05.000")
}

func toMessageTrace(t *client.Trace) messageTrace {
	out := messageTrace{
		Topic: t.Topic, Queue: t.Queue, Offset: t.Offset, Readable: t.Readable, ID: t.ID, Tag: t.Tag, MessageGroup: t.MessageGroup,
		Sent: orAbsent(t.Timestamp), ValueBytes: t.ValueBytes, SizeBytes: t.Size, Groups: []tracedConsumer{}, LeftOff: t.GroupsLeftOff,
		Stored: tracedStore{
			LedgerIndex: t.LedgerIndex, Term: t.Term, Time: orAbsent(t.AppendTime), Carried: t.Carried, Members: t.Copies,
			First: t.SegmentFirst, Bytes: t.BatchBytes, Records: t.Records, Record: t.Record, Compression: t.Compression,
		},
	}
	out.RolledBack = t.RolledBack
	if w := t.Waiting; w != nil {
		out.Waiting = &tracedWaiting{orAbsent(w.Due), w.TransactionGroup}
	}
	if t.SegmentLast >= 0 {
		out.Stored.Last = &t.SegmentLast
	}
	if t.Key != nil {
		out.Key, out.KeyBase64 = cli.SplitText(t.Key)
	}
	if t.ProducerID != 0 {
		out.Producer = &tracedProducer{t.ProducerID, t.ProducerName, t.Epoch, t.Sequence}
	}
	if d := t.Delivery; d != nil {
		out.Delivery = &tracedDelivery{d.LedgerIndex, orAbsent(d.Time), orAbsent(d.Due), d.TransactionGroup}
	}
	for _, g := range t.Groups {
		out.Groups = append(out.Groups, tracedConsumer{g.Group, g.Offset, g.Past, orAbsent(g.Committed), g.Owner, g.Paused, g.Work, g.Attempts, orAbsent(g.VisibleAt), orAbsent(g.LeasedUntil)})
	}
	return out
}

func orAbsent(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
