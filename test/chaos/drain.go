package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/history"
)

// drainChunk is how many messages stand in one line of a drain.
const drainChunk = 1000

// drainAll makes each member the leader in turn and reads all queues from it: a leader
// answers pulls from its own ledger and its own state.
func (r *run) drainAll() {
	for _, h := range r.hosts {
		if err := r.drainMember(h); err != nil {
			r.t.Errorf("drain of %s: %v", h.node.ID, err)
		}
	}
}

// drainMember reads one member's copy. What was read while it lost the lead could be
// another's: then it is read again.
func (r *run) drainMember(h *host) error {
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		term, err := r.lead(ctx, h)
		if err != nil {
			return err
		}
		var lines []history.Operation
		for queue := range queues {
			read, err := r.drainQueue(ctx, h, queue)
			if err != nil {
				return err
			}
			lines = append(lines, read...)
		}
		if s, err := h.node.Status(ctx); err != nil || !s.GetServing() || s.GetTerm() != term {
			r.note("%s lost the lead while it was drained; once more", h.node.ID)
			continue
		}
		for _, o := range lines {
			if err := r.record.write(o); err != nil {
				return err
			}
		}
		return nil
	}
	return context.Cause(ctx)
}

// lead makes a host the leader and returns its term.
func (r *run) lead(ctx context.Context, h *host) (int64, error) {
	var last error
	for ctx.Err() == nil {
		if s, err := h.node.Status(ctx); err == nil && s.GetServing() {
			return s.GetTerm(), nil
		}
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, _, last = r.client.Admin().Transfer(try, h.node.ID)
		cancel()
		pause(50 * time.Millisecond)
	}
	return 0, fmt.Errorf("it does not become the leader: %w", errors.Join(last, context.Cause(ctx)))
}

func (r *run) drainQueue(ctx context.Context, h *host, queue int) ([]history.Operation, error) {
	c, err := client.Dial(ctx, client.Config{Seeds: []string{h.node.Client}})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	in, err := c.Consumer(ctx, client.ConsumerConfig{Topic: topic, Queues: []int{queue}})
	if err != nil {
		return nil, err
	}
	ranges, err := in.Ranges(ctx)
	if err != nil {
		return nil, err
	}
	line := unknown(history.Drain, "drain", queue)
	line.Member, line.First, line.End, line.Invoke = h.node.ID, ranges[0].First, ranges[0].End, r.record.now()
	var lines []history.Operation
	for at := line.First; at < line.End; {
		messages, err := in.Poll(ctx, drainChunk)
		if err != nil {
			return nil, fmt.Errorf("queue %d at offset %d of %d: %w", queue, at, line.End, err)
		}
		o := line
		o.Complete = r.record.now()
		for _, m := range messages {
			o.Messages = append(o.Messages, history.Message{Offset: m.Offset, Value: valueOf(m)})
			at = m.Offset + 1
		}
		lines = append(lines, o)
	}
	if lines == nil { // an empty copy is a copy
		line.Complete = r.record.now()
		lines = append(lines, line)
	}
	return lines, nil
}
