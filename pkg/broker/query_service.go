package broker

import (
	"context"
	"errors"
	"time"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// queryService finds messages: broker.v1.QueryService.
type queryService struct {
	brokerv1.UnsafeQueryServiceServer

	router   *router
	puller   *puller
	proposer *proposer
	disk     *diskGuard
	// coordinator knows who is in the consumer groups.
	coordinator *groupCoordinator
	// work knows who was given what of work-queue groups.
	work *workQueues
}

// FindOffsets implements broker.v1.QueryService.
func (s *queryService) FindOffsets(ctx context.Context, req *brokerv1.FindOffsetsRequest) (*brokerv1.FindOffsetsResponse, error) {
	return atLeader(ctx, s.router, brokerv1.QueryService_FindOffsets_FullMethodName, true, req, s.findOffsets)
}

func (s *queryService) findOffsets(ctx context.Context, _ *leadership, req *brokerv1.FindOffsetsRequest) (*brokerv1.FindOffsetsResponse, error) {
	topic, ok := s.puller.store.Topic(req.GetTopic())
	if !ok {
		return nil, noTopic(s.puller.store, req.GetTopic())
	}
	queues := req.GetQueues()
	switch {
	case len(queues) > len(topic.Queues):
		return nil, errorf(CodeLimitExceeded, "%d queues are asked for, topic %q has %d", len(queues), topic.Name, len(topic.Queues))
	case len(queues) == 0:
		for i := range topic.Queues {
			queues = append(queues, uint32(i))
		}
	}
	resp := &brokerv1.FindOffsetsResponse{}
	for _, number := range queues {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		q, err := s.puller.resolve(req.GetTopic(), number, 0)
		if err != nil {
			return nil, err
		}
		found, err := s.puller.findTime(q, req.GetTimeUnixMs())
		if err != nil {
			return nil, err
		}
		resp.Offsets = append(resp.Offsets, found)
	}
	return resp, nil
}

// findTime finds the first message of a queue that was stored at a time or later. The
// append times of a ledger never go back, so it halves: each step reads one entry of
// the ledger, at most as many as the queue's length has bits. A purge while it looks
// makes it begin again.
func (p *puller) findTime(q queue, unixMs int64) (*brokerv1.FoundOffset, error) {
	for {
		first, end, ok := p.store.QueueRange(q.id)
		if !ok {
			return nil, errorf(CodeUnknownQueue, "topic %q was deleted", q.topic)
		}
		found, err := p.halve(q, first, end, unixMs)
		if errors.Is(err, state.ErrOffsetTooLow) || errors.Is(err, commitlog.ErrPurged) {
			if now, _, _ := p.store.QueueRange(q.id); now > first {
				continue
			}
		}
		return found, err
	}
}

// halve is findTime between two offsets. It steps from batch to batch: all messages of
// one were stored at one time.
func (p *puller) halve(q queue, first, end state.Offset, unixMs int64) (*brokerv1.FoundOffset, error) {
	found := &brokerv1.FoundOffset{Queue: q.number, FirstOffset: int64(first), EndOffset: int64(end)}
	low, high := first, end
	for low < high {
		middle := low + (high-low)/2
		place, stored, err := p.storedAt(q, middle)
		switch {
		case err != nil:
			return nil, err
		case stored >= unixMs:
			high, found.AppendTimeUnixMs = max(low, place.BaseOffset), stored
		default:
			low = place.BaseOffset + state.Offset(place.Count)
		}
	}
	found.Offset = int64(min(low, end))
	return found, nil
}

// storedAt returns the batch that holds an offset, and when it was stored, Unix ms. For
// one that had to wait that is when it got its place: such times never fall along a queue.
func (p *puller) storedAt(q queue, offset state.Offset) (state.Location, int64, error) {
	places, err := p.store.Locate(q.id, offset, 1)
	if err != nil {
		return state.Location{}, 0, err
	}
	index := commitlog.Index(places[0].Given)
	stored, err := p.appendTime(index)
	if damaged(err) {
		stored, err = p.appendTimeBehind(index, err)
	}
	if damaged(err) {
		err = damagedBatch(err, q, places[0])
	}
	return places[0], stored, err
}

// appendTime is when an entry was appended, Unix ms.
func (p *puller) appendTime(index commitlog.Index) (int64, error) {
	frame, err := p.ledger.Read(index, index, 1)
	if err != nil {
		return 0, err
	}
	defer frame.Release()
	header, _, _, err := commitlog.NextEntry(frame.Bytes)
	return header.AppendTime / int64(time.Millisecond), err
}

// appendTimeBehind is the append time of the first entry behind damaged ones: times never
// fall, so it is the latest that the damaged one can have. Whoever looks for a time is then
// sent to the damaged messages rather than past them, and is told there that they are damaged.
func (p *puller) appendTimeBehind(index commitlog.Index, damage error) (int64, error) {
	for _, r := range p.ledger.Status().Suspect {
		if r.First > index || index > r.Last {
			continue
		}
		if r.Last >= p.ledger.Status().Commit {
			return p.store.NewestStamp() / int64(time.Millisecond), nil // nothing is behind it yet
		}
		return p.appendTime(r.Last + 1)
	}
	return 0, damage // repaired just now, or not known yet: another try finds out
}
