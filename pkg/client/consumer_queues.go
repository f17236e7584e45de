package client

import (
	"context"
	"slices"
	"time"
)

// lookTimeout bounds a look at the topic; the next one comes anyway.
const lookTimeout = 3 * time.Second

// follow has the topic looked at now and then until the consumer is closed. ids are the
// brokers' numbers of its queues: a topic that was made anew has others, and is none of
// this consumer's.
func (cs *Consumer) follow(ids []uint32) error {
	cs.grown = make(chan *Topic, 1)
	return cs.begin(cs.ctx, func(ctx context.Context) error {
		tick := time.NewTicker(cs.cfg.TopicRefresh)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			looking, cancel := context.WithTimeout(ctx, lookTimeout)
			topic, err := cs.c.Admin().DescribeTopic(looking, cs.cfg.Topic)
			cancel()
			switch {
			case err != nil:
				cs.c.cfg.Logger.Debug("a consumer cannot look at its topic now", "topic", cs.cfg.Topic, "err", err)
			case len(topic.queueIDs) > len(ids) && slices.Equal(ids, topic.queueIDs[:len(ids)]):
				ids = topic.queueIDs
				select {
				case <-cs.grown: // what it says, this one says too
				default:
				}
				cs.grown <- topic
			}
		}
	})
}

// grow begins to read the queues that a topic got.
func (cs *Consumer) grow(topic *Topic) error {
	for q := len(cs.cfg.Queues); q < len(topic.Queues); q++ { // all are read, so they are 0, 1, 2 and so on
		if err := cs.add(q, topic.queueIDs[q], topic.Queues[q].First, false); err != nil {
			return err
		}
	}
	return nil
}

// add begins to read a queue.
func (cs *Consumer) add(queue int, id uint32, at int64, paused bool) error {
	f := newFetcher(cs, queue, id, at)
	f.mu.paused = paused
	if err := cs.begin(f.ctx, f.run); err != nil {
		return err
	}
	i, _ := slices.BinarySearch(cs.cfg.Queues, queue)
	cs.cfg.Queues = slices.Insert(cs.cfg.Queues, i, queue)
	cs.fetchers = slices.Insert(cs.fetchers, i, f)
	return nil
}

// remove reads a queue no more. What was fetched of it is dropped.
func (cs *Consumer) remove(queue int) {
	i, ok := slices.BinarySearch(cs.cfg.Queues, queue)
	if !ok {
		return
	}
	f := cs.fetchers[i]
	f.restart(f.position, true)
	f.cancel(errRestart)
	<-f.done
	cs.cfg.Queues = slices.Delete(cs.cfg.Queues, i, i+1)
	cs.fetchers = slices.Delete(cs.fetchers, i, i+1)
	if cs.failedAt == f {
		cs.failed, cs.failedAt = nil, nil
	}
}

// startOf turns a StartAt into an offset of a queue.
func (c *Client) startOf(ctx context.Context, topic string, queue int, from StartAt) (int64, error) {
	t, err := c.Admin().DescribeTopic(ctx, topic)
	if err != nil {
		return 0, err
	}
	if queue >= len(t.Queues) {
		return 0, errorf(CodeUnknownQueue, "topic %q has queues 0 to %d, not %d", topic, len(t.Queues)-1, queue)
	}
	q := t.Queues[queue]
	switch from.kind {
	case startLatest:
		return q.End, nil
	case startOffset:
		return min(max(q.First, from.offset), q.End), nil
	case startTime:
		found, err := c.Admin().FindOffsets(ctx, topic, from.time, queue)
		if err != nil || len(found) == 0 {
			return 0, err
		}
		return found[0].Offset, nil
	}
	return q.First, nil
}
