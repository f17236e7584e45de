package broker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/lease"
	"github.com/ledgermq/ledgermq/pkg/state"
)

const (
	// deadLetterPrefix begins the name of the topic that holds a group's dead letters, and of
	// the work-queue group that knows which of them were put back. Users' names have no %.
	deadLetterPrefix = "%DLQ%"
	// maxBuried is how many dead letters are moved at once, and buryBytes how large.
	maxBuried = 64
	buryBytes = 4 << 20
	// buryPause follows a move that failed.
	buryPause = time.Second
)

func deadLetters(group string) string { return deadLetterPrefix + group }

// The headers of a dead letter say where it comes from.
const (
	deadHeaders  = "dlq."
	deadTopic    = "dlq.topic"
	deadQueue    = "dlq.queue"
	deadOffset   = "dlq.offset"
	deadGroup    = "dlq.group"
	deadAttempts = "dlq.attempts"
	deadReason   = "dlq.reason"
	deadTime     = "dlq.time"
)

// moving is a message that is made done in one queue and gets a copy in another.
type moving struct {
	offset state.Offset
	to     state.QueueID
	body   []byte
}

// bury moves some dead letters of a queue to their topic. What fails is tried again.
func (w *workQueues) bury(ctx context.Context, lead *leadership, q *workQueue) {
	var offsets []lease.Offset
	_ = w.with(lead, func() {
		if !q.dropped {
			w.touchLocked(q, func() { offsets = q.table.Dead(maxBuried) })
		}
	})
	if len(offsets) == 0 {
		return
	}
	var moved map[state.Offset]bool
	over := w.outdated(q)
	var err error
	if !over {
		moved, err = w.buryAll(ctx, q, offsets)
		over = w.outdated(q)
	}
	if over {
		_ = w.with(lead, func() { w.dropLocked(q) })
		return
	}
	if err != nil {
		w.log.Warn("dead letters are not moved now; that is tried again", "group", q.group.Name, "topic", q.topic, "queue", q.number, "error", err)
	}
	_ = w.with(lead, func() {
		now := w.now()
		for _, o := range offsets {
			w.touchLocked(q, func() {
				if moved[state.Offset(o)] {
					q.table.Done(now, o)
				}
				q.table.Unpin(now, o)
			})
			w.unholdLocked(q, state.Offset(o))
		}
		if q.buryAt = now; err != nil {
			q.buryAt = now.Add(buryPause)
		}
		w.lookLocked(q)
	})
}

// buryAll moves dead letters, and says which are out of the way.
func (w *workQueues) buryAll(ctx context.Context, q *workQueue, offsets []lease.Offset) (moved map[state.Offset]bool, err error) {
	moved = map[state.Offset]bool{}
	if err := w.disk.refusal(); err != nil {
		return moved, err
	}
	to, err := w.ensureDeadLetters(ctx, q.group.Name)
	if err != nil {
		return moved, err
	}
	all, failed := w.copies(ctx, q, to, offsets, moved)
	results, err := w.move(ctx, q.workKey, q.epoch, all)
	count := 0
	for i, r := range results {
		if r.Code == state.CodeOK {
			moved[all[i].offset] = true
			if r.Offset != state.NoOffset {
				count++
			}
		}
	}
	w.metrics.deadLettered(q.group.Name, q.topic, count)
	return moved, cmp.Or(err, failed)
}

// copies makes the copies of dead letters, not too many at once. One that cannot be made does
// not keep the others: err is about the first such. Those that are gone already are moved.
func (w *workQueues) copies(ctx context.Context, q *workQueue, to state.QueueID, offsets []lease.Offset, moved map[state.Offset]bool) (all []moving, err error) {
	size, failed := 0, 0
	for _, o := range offsets {
		at := state.Offset(o)
		body, e := w.copyDead(ctx, q, to, at)
		switch {
		case e != nil:
			if failed++; err == nil {
				err = e
			}
		case body == nil:
			moved[at] = true // retention was faster
		default:
			all = append(all, moving{at, to, body})
			size += len(body)
		}
		if size >= buryBytes || ctx.Err() != nil {
			break
		}
	}
	if failed > 1 {
		err = fmt.Errorf("%w (and %d more)", err, failed-1)
	}
	return all, err
}

// copyDead makes the copy of a dead letter; nil: it is not kept any more.
func (w *workQueues) copyDead(ctx context.Context, q *workQueue, to state.QueueID, at state.Offset) ([]byte, error) {
	r, err := w.readRecord(ctx, queue{id: q.queue, topic: q.topic, number: q.number}, at)
	if err != nil || r == nil {
		return nil, err
	}
	attempts := q.group.Work.MaxAttempts
	if s := w.store.Work(q.workKey.group, q.queue, at, 1); len(s) > 0 {
		attempts = s[0].Attempts
	}
	body, err := w.copyOf(r, to, deadHeadersOf(q, at, attempts, w.now()))
	if err != nil {
		return nil, fmt.Errorf("copy offset %d: %w", at, err)
	}
	return body, nil
}

// move carries copies and the command that gives them offsets through the ledger, together:
// who leads has no part in whether each is moved once.
func (w *workQueues) move(ctx context.Context, key workKey, epoch uint64, all []moving) ([]state.CommitResult, error) {
	if len(all) == 0 {
		return nil, nil
	}
	first, _, _ := w.store.QueueRange(key.queue)
	cmd := &recordv1.MoveWork{GroupId: key.group, QueueId: uint32(key.queue), Epoch: epoch, Low: int64(first)}
	var bodies []commitlog.Body
	for i, m := range all {
		bodies = append(bodies, commitlog.Body{Type: commitlog.TypeCarried, Bytes: m.body})
		cmd.Moves = append(cmd.Moves, &recordv1.WorkMove{Offset: int64(m.offset), ToQueueId: uint32(m.to), Back: uint32(len(all) - i)})
	}
	body, err := state.AppendCommand(nil, &recordv1.Command{TimeUnixMs: w.now().UnixMilli(), Kind: &recordv1.Command_MoveWork{MoveWork: cmd}})
	if err != nil {
		return nil, err
	}
	res, err := w.proposer.propose(ctx, append(bodies, commitlog.Body{Type: commitlog.TypeCommand, Bytes: body}))
	if err != nil {
		return nil, err
	}
	out, ok := res.Outcomes[len(bodies)].(state.Outcome)
	switch {
	case !ok:
		return nil, fmt.Errorf("the applied move has no outcome")
	case out.Code != state.CodeOK:
		return nil, errorf(Code(out.Code), "%s", out.Message)
	}
	return out.Progress, nil
}

// ensureDeadLetters makes the topic of a group's dead letters and the group that knows which
// were put back, where they are missing, and returns the topic's queue.
func (w *workQueues) ensureDeadLetters(ctx context.Context, group string) (state.QueueID, error) {
	name := deadLetters(group)
	if err := w.ensureDeadTopic(ctx, name); err != nil {
		return 0, err
	}
	if _, ok := w.store.Group(name); !ok {
		if err := w.room.create(name); err != nil {
			return 0, err
		}
		_, err := w.proposer.command(ctx, &recordv1.Command{Kind: &recordv1.Command_CreateGroup{CreateGroup: &recordv1.CreateGroup{
			Name: name, Assignment: uint32(state.AssignWork), Work: &recordv1.WorkPolicy{},
		}}})
		if err != nil && reasonOf(err) != CodeGroupExists {
			return 0, err
		}
	}
	t, ok := w.store.Topic(name)
	g, exists := w.store.Group(name)
	if !ok || !exists || g.Work == nil {
		return 0, errorf(CodeUnknownTopic, "the topic %q or its group was deleted", name)
	}
	v, ok := w.view(g.ID, t.Queues[0])
	if ok && !v.begun() {
		return v.id, w.grant(ctx, g, []workView{v}, func(state.QueueID) (state.Offset, error) { return 0, nil })
	}
	return t.Queues[0], nil
}

// ensureDeadTopic makes the topic of dead letters where it is missing. One that is deleted and
// can be had back is had back: else its dead letters, or those that come, would be lost.
func (w *workQueues) ensureDeadTopic(ctx context.Context, name string) error {
	command := &recordv1.Command{Kind: &recordv1.Command_CreateTopic{CreateTopic: &recordv1.CreateTopic{Name: name, Queues: 1}}}
	if t, ok := w.store.AnyTopic(name); ok {
		if !t.Deleted() {
			return nil
		}
		w.log.Info("the deleted topic of dead letters is had back: there are new ones", "topic", name)
		command = &recordv1.Command{Kind: &recordv1.Command_UndeleteTopic{UndeleteTopic: &recordv1.UndeleteTopic{Name: name}}}
	}
	_, err := w.proposer.command(ctx, command)
	if code := reasonOf(err); code == CodeTopicExists || code == CodeTopicNotDeleted {
		return nil // somebody else was faster
	}
	return err
}

func deadHeadersOf(q *workQueue, at state.Offset, attempts int, now time.Time) []batch.RecordHeader {
	text := func(key, value string) batch.RecordHeader { return batch.RecordHeader{Key: key, Value: []byte(value)} }
	return []batch.RecordHeader{
		text(deadTopic, q.topic), text(deadQueue, strconv.Itoa(int(q.number))), text(deadOffset, strconv.FormatInt(int64(at), 10)),
		text(deadGroup, q.group.Name), text(deadAttempts, strconv.Itoa(attempts)), text(deadReason, "max attempts"),
		text(deadTime, now.UTC().Format(time.RFC3339Nano)),
	}
}

// copyOf makes a batch of one message, packed as that was, with other headers about its death.
// A message that is too large with them, or has too many headers, gives up headers of its own,
// the last first.
func (w *workQueues) copyOf(r *workRecord, to state.QueueID, dead []batch.RecordHeader) ([]byte, error) {
	own := slices.DeleteFunc(slices.Clone(r.record.Headers), func(h batch.RecordHeader) bool { return strings.HasPrefix(h.Key, deadHeaders) })
	builder, err := batch.NewBuilder(batch.BuilderConfig{RecordBytes: batch.MaxBatchBytes, Compression: r.packed, Codec: w.codec})
	if err != nil {
		return nil, err
	}
	for {
		record := r.record
		record.Headers = append(slices.Clone(dead), own...)
		if err = builder.Append(&record); err == nil {
			return builder.Build(batch.Stamp{Queue: uint32(to)})
		}
		if len(own) == 0 {
			return nil, err
		}
		own = own[:len(own)-1]
	}
}
