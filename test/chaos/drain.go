package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/history"
	"github.com/ledgermq/ledgermq/test/workload"
)

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
		lines, err := r.drainQueues(ctx, h)
		if err != nil && h.flipped && r.nemesis.lookAfter() > 0 {
			continue // it has found the damage that we made, ended, and was started again
		}
		if r.retention && errors.Is(err, client.ErrOffsetTooLow) {
			continue // it has purged meanwhile
		}
		if err != nil {
			return err
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

func (r *run) drainQueues(ctx context.Context, h *host) (lines []history.Operation, err error) {
	for _, topic := range append([]string{topic}, r.topics...) {
		for queue := range queues {
			read, err := workload.Drain(ctx, r.record.now, h.node.ID, h.node.Client, topic, queue)
			if err != nil {
				return nil, err
			}
			lines = append(lines, read...)
		}
	}
	return lines, nil
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
