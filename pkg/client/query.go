package client

import (
	"context"
	"time"

	"google.golang.org/grpc"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// FoundOffset is where a queue stood at a time.
type FoundOffset struct {
	QueueRange
	// Offset is that of the first message that was stored then or later; the queue's End,
	// if there is none.
	Offset int64
	// AppendTime is when that message was stored; zero if there is none.
	AppendTime time.Time
}

// FindOffsets finds where the queues of a topic stood at a time, to the millisecond, by
// the clock of the leaders that stored the messages. Without queues it is all of them.
// Errors: ErrUnknownTopic, ErrUnknownQueue.
func (a *Admin) FindOffsets(ctx context.Context, topic string, at time.Time, queues ...int) ([]FoundOffset, error) {
	request := &brokerv1.FindOffsetsRequest{Topic: topic, TimeUnixMs: unixMsFrom(at)}
	for _, q := range queues {
		if q < 0 || q > 1<<30 {
			return nil, errorf(CodeUnknownQueue, "topic %q has no queue %d", topic, q)
		}
		request.Queues = append(request.Queues, uint32(q))
	}
	var found []FoundOffset
	err := a.c.invoke(ctx, reading, func(ctx context.Context, cc grpc.ClientConnInterface) error {
		resp, err := brokerv1.NewQueryServiceClient(cc).FindOffsets(ctx, request)
		found = nil
		for _, o := range resp.GetOffsets() {
			f := FoundOffset{
				QueueRange: QueueRange{Queue: int(o.GetQueue()), First: o.GetFirstOffset(), End: o.GetEndOffset()},
				Offset:     o.GetOffset(),
			}
			if ms := o.GetAppendTimeUnixMs(); ms != 0 {
				f.AppendTime = time.UnixMilli(ms)
			}
			found = append(found, f)
		}
		return err
	})
	return found, err
}

// unixMsFrom is the first whole millisecond that is not before t.
func unixMsFrom(t time.Time) int64 {
	ms := t.UnixMilli()
	if time.UnixMilli(ms).Before(t) {
		ms++
	}
	return ms
}

// SeekTime goes on, in all queues that are read, with the first message that was stored
// at a time or later. It clears an error of Next.
func (cs *Consumer) SeekTime(ctx context.Context, at time.Time) error {
	found, err := cs.c.Admin().FindOffsets(ctx, cs.cfg.Topic, at, cs.cfg.Queues...)
	if err != nil {
		return err
	}
	for _, f := range found {
		if err := cs.Seek(f.Queue, f.Offset); err != nil {
			return err
		}
	}
	return nil
}

// starts are the offsets at which a new consumer begins, by queue.
func (c *Client) starts(ctx context.Context, cfg *ConsumerConfig, topic *Topic) (map[int]int64, error) {
	at := make(map[int]int64, len(cfg.Queues))
	if cfg.From.kind == startTime {
		found, err := c.Admin().FindOffsets(ctx, cfg.Topic, cfg.From.time, cfg.Queues...)
		for _, f := range found {
			at[f.Queue] = f.Offset
		}
		return at, err
	}
	for _, q := range cfg.Queues {
		switch cfg.From.kind {
		case startEarliest:
			at[q] = topic.Queues[q].First
		case startLatest:
			at[q] = topic.Queues[q].End
		case startOffset:
			at[q] = cfg.From.offset
		}
	}
	return at, nil
}
