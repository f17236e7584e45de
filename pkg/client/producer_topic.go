package client

import (
	"context"
	"math"
	"time"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// follow looks at the topic now and then, and whenever a broker's refusal says that it has
// changed, until the producer has ended.
func (p *Producer) follow(ctx context.Context) error {
	tick := time.NewTicker(p.cfg.TopicRefresh)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.done:
			return nil
		case <-tick.C:
		case <-p.look:
		}
		looking, cancel := context.WithTimeout(ctx, p.cfg.AckTimeout)
		topic, err := p.c.Admin().DescribeTopic(looking, p.cfg.Topic)
		cancel()
		if err != nil {
			p.c.cfg.Logger.Debug("a producer cannot look at its topic now", "topic", p.cfg.Topic, "err", err)
			continue
		}
		if p.adopt(topic) {
			p.signal()
		}
	}
}

// lookAgain has the topic looked at soon.
func (p *Producer) lookAgain() {
	select {
	case p.look <- struct{}{}:
	default:
	}
}

// adopt makes the producer's own what is new of its topic, and says whether anything is.
// One that was deleted and made anew is another topic: its queues have other numbers.
func (p *Producer) adopt(topic *Topic) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, q := range p.queues {
		if i >= len(topic.queueIDs) || topic.queueIDs[i] != q.id {
			return false
		}
	}
	if topic.Settings != p.mu.topic {
		if topic.Settings.MaxMessageBytes != p.mu.topic.MaxMessageBytes {
			p.mu.spare, p.mu.limit = nil, math.MaxInt // they were made for the old bound
			for _, q := range p.queues {
				if q.open != nil {
					p.fillLocked(q) // so was this
				}
			}
		}
		p.mu.topic, changed = topic.Settings, true
	}
	if len(topic.queueIDs) == len(p.queues) || p.mu.before > 0 {
		return changed // it grows further when the last growth is over
	}
	p.growLocked(topic.queueIDs[len(p.queues):])
	return true
}

// growLocked takes new queues into use. From now on a key may belong to another queue
// than before. What is begun from now on waits until what was begun before is
// acknowledged, so that the order of each key is that of the ledger, too.
func (p *Producer) growLocked(ids []uint32) {
	p.mu.layout++
	for _, q := range p.queues {
		if q.open != nil {
			q.full, q.open = append(q.full, q.open), nil
		}
		p.mu.before += len(q.flight) + len(q.full)
	}
	who := p.queues[0].who
	for _, id := range ids {
		// The identity numbers each queue's messages by themselves, and has sent none there.
		p.queues = append(p.queues, &outQueue{index: len(p.queues), id: id, who: who})
	}
}

// batchBytesLocked is where a batch is closed: what the topic takes, if that is less than
// what is configured.
func (p *Producer) batchBytesLocked() int {
	if limit := p.mu.topic.MaxMessageBytes; limit > 0 {
		return min(p.cfg.MaxBatchBytes, batch.HeaderBytes+limit)
	}
	return p.cfg.MaxBatchBytes
}
