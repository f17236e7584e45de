package broker

import (
	"context"
	"strconv"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/lease"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// deadQueueOf is where the dead letters of a group are; ok is false if it never had any.
func (w *workQueues) deadQueueOf(group string) (g *state.Group, v workView, ok bool) {
	name := deadLetters(group)
	t, ok := w.store.Topic(name)
	if !ok {
		return nil, v, false
	}
	if g, ok = w.store.Group(name); !ok || g.Work == nil {
		return nil, v, false
	}
	v, ok = w.view(g.ID, t.Queues[0])
	return g, v, ok && v.begun()
}

// list reads the dead letters of a group.
func (w *workQueues) list(ctx context.Context, group string, from state.Offset, limit int, redriven bool) (*brokerv1.ListDeadLettersResponse, error) {
	g, v, ok := w.deadQueueOf(group)
	if !ok {
		return &brokerv1.ListDeadLettersResponse{}, nil
	}
	resp := &brokerv1.ListDeadLettersResponse{EndOffset: int64(v.end)}
	at := max(from, v.first)
	if !redriven {
		at = max(at, v.progress.Offset)
	}
	size := 0
	for at < v.end && len(resp.GetLetters()) < limit && size < workReadBytes {
		records, err := w.readRecords(ctx, v.queue, at, workReadBytes)
		if first, _, _ := w.store.QueueRange(v.id); gone(err) && first > at {
			at = first // retention was faster
			continue
		}
		if err != nil {
			return nil, err
		}
		var standings []state.WorkStanding
		if len(records) > 0 {
			standings = w.store.Work(g.ID, v.id, records[0].offset, len(records))
		}
		if len(standings) == 0 {
			break // nothing there now, or the group of notes is gone: the answer says how far it came
		}
		for i, r := range records {
			if i >= len(standings) || len(resp.GetLetters()) == limit {
				break
			}
			at = r.offset + 1
			if standings[i].Done && !redriven {
				continue
			}
			resp.Letters = append(resp.Letters, &brokerv1.DeadLetter{Message: r.message(0), Redriven: standings[i].Done})
			size += r.size
		}
	}
	resp.NextOffset = int64(at)
	return resp, nil
}

// redrive puts dead letters back into the queues that they came from.
func (w *workQueues) redrive(ctx context.Context, group string, offsets []int64, dryRun bool) ([]*brokerv1.Redriven, error) {
	g, v, ok := w.deadQueueOf(group)
	results := make([]*brokerv1.Redriven, 0, len(offsets))
	var all []moving
	var whose []*brokerv1.Redriven
	for _, offset := range offsets {
		r := &brokerv1.Redriven{Offset: offset, NewOffset: int64(state.NoOffset)}
		results = append(results, r)
		if !ok || offset < int64(v.first) || offset >= int64(v.end) {
			r.Error = resultError(errorf(CodeOffsetTooHigh, "group %q has no dead letter %d: those that are kept are %d to %d", group, offset, v.first, v.end-1))
			continue
		}
		m, err := w.planRedrive(ctx, g, v, r)
		switch {
		case err != nil && ownError(err) == nil:
			return nil, err
		case err != nil:
			r.Error = resultError(ownError(err))
		case !r.GetBefore():
			all, whose = append(all, m), append(whose, r)
		}
	}
	if dryRun || len(all) == 0 {
		return results, nil
	}
	if err := w.disk.refusal(); err != nil {
		return nil, err
	}
	for len(all) > 0 {
		n, size := 0, 0
		for n < len(all) && (n == 0 || size+len(all[n].body) <= buryBytes) {
			size += len(all[n].body)
			n++
		}
		moved, err := w.move(ctx, workKey{g.ID, v.id}, v.progress.Epoch, all[:n])
		if err != nil {
			return nil, err // what was moved before is; asking again finds that
		}
		for i, m := range moved {
			switch {
			case m.Code == state.CodeLimitExceeded:
				whose[i].Error = resultError(errorf(CodeLimitExceeded, "the dead letter %d is %d or more behind the oldest that is still there: put that back, or reset the group %q behind it",
					whose[i].GetOffset(), state.WorkWindow, g.Name))
			case m.Code != state.CodeOK:
				whose[i].Error = resultError(errorf(Code(m.Code), "the dead letter %d was not put back", whose[i].GetOffset()))
			default:
				whose[i].NewOffset, whose[i].Before = int64(m.Offset), m.Offset == state.NoOffset
			}
		}
		all, whose = all[n:], whose[n:]
	}
	return results, nil
}

// planRedrive finds where a dead letter came from, and makes the copy that goes back there.
func (w *workQueues) planRedrive(ctx context.Context, g *state.Group, v workView, r *brokerv1.Redriven) (moving, error) {
	at := state.Offset(r.GetOffset())
	record, err := w.readRecord(ctx, v.queue, at)
	if err != nil {
		return moving{}, err
	}
	if record == nil {
		return moving{}, errorf(CodeOffsetTooLow, "the dead letter %d is not kept any more", at)
	}
	r.Topic = headerText(&record.record, deadTopic)
	number, err := strconv.ParseUint(headerText(&record.record, deadQueue), 10, 31)
	t, ok := w.store.Topic(r.GetTopic())
	if err != nil || !ok {
		return moving{}, errorf(CodeUnknownTopic, "the dead letter %d came from the topic %q, which is gone", at, r.GetTopic())
	}
	if r.Queue = uint32(number); int64(number) >= int64(len(t.Queues)) {
		return moving{}, errorf(CodeUnknownQueue, "the dead letter %d came from %s/%d, and there are %d queues now", at, t.Name, number, len(t.Queues))
	}
	if s := w.store.Work(g.ID, v.id, at, 1); len(s) > 0 && s[0].Done {
		r.Before = true
		return moving{}, nil
	}
	to := t.Queues[number]
	body, err := w.copyOf(record, to, nil)
	return moving{offset: at, to: to, body: body}, err
}

func headerText(r *batch.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func resultError(e *Error) *brokerv1.ErrorDetail {
	return &brokerv1.ErrorDetail{Code: string(e.Code), Message: e.Message, Indefinite: e.Indefinite, RetryAfterMs: e.retryAfter().Milliseconds()}
}

// trace says how a work-queue group stands to one message.
func (w *workQueues) trace(t *brokerv1.TracedGroup, group uint64, queue state.QueueID, at state.Offset) {
	t.Work = true
	if s := w.store.Work(group, queue, at, 1); len(s) > 0 {
		t.Past, t.Attempts, t.VisibleAtUnixMs = s[0].Done, uint32(s[0].Attempts), s[0].VisibleAtMs
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if q := w.mu.queues[workKey{group, queue}]; q != nil {
		if l, ok := q.table.LeaseOf(lease.Offset(at)); ok {
			t.LeasedUntilUnixMs = l.Until.UnixMilli()
		}
	}
}
