package client

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// A consumer is closed while Next takes up the queues that its topic got: when Close has
// returned nothing of it runs, and nothing begins any more.
func TestCloseWhileNextTakesUpQueues(t *testing.T) {
	for range 50 {
		c := &Client{cfg: Config{Seeds: []string{"127.0.0.1:1"}}.withDefaults(), codec: batch.NewCodec(), tasks: &errgroup.Group{}}
		c.ctx, c.cancel = context.WithCancelCause(t.Context())
		c.router = newRouter(c.cfg, c.start)
		cs := &Consumer{c: c, cfg: ConsumerConfig{Topic: "t"}, share: 1, reader: batch.NewReader(c.codec), fetched: make(chan *fetched, 1)}
		cs.ctx, cs.cancel = context.WithCancelCause(c.ctx)
		cs.grown = make(chan *Topic, 1)
		topic := &Topic{}
		for i := range 16 {
			topic.queueIDs = append(topic.queueIDs, uint32(i+1))
			topic.Queues = append(topic.Queues, QueueRange{Queue: i})
		}
		var next errgroup.Group
		next.Go(func() error {
			_, err := cs.Next(t.Context())
			return err
		})
		cs.grown <- topic
		require.NoError(t, cs.Close())
		require.ErrorIs(t, cs.add(99, 99, 0, false), errConsumerClosed)
		require.ErrorIs(t, next.Wait(), errConsumerClosed)
		for _, f := range cs.fetchers {
			select {
			case <-f.done:
			default:
				require.Fail(t, "a fetcher runs", "queue %d", f.queue)
			}
		}
		c.cancel(errClientClosed)
		require.NoError(t, c.tasks.Wait())
	}
}
