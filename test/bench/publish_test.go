package bench

import (
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/test/bench/figures"
	"github.com/ledgermq/ledgermq/test/cluster"
)

// messages is how many of a size a full run publishes at most: about 2 s of work.
func messages(size int) int64 {
	switch {
	case size <= 128:
		return share(6_000_000)
	case size <= 1024:
		return share(1_000_000)
	}
	return share(max(100, 1<<30/int64(size)))
}

// limits is what the machine itself can do.
func limits(s *session) {
	s.syncLatency(share(2000))
	s.standstills(time.Duration(share(2000)) * time.Millisecond)
	s.sequentialWrites(share(512) << 20)
	s.grpcStream(share(2048) << 20)
	for _, size := range []int{1024, 128} {
		s.barePath(size, messages(size))
	}
}

// publishing is one producer, as fast as it can.
func publishing(s *session) {
	s.start(cluster.Config{})
	for _, size := range []int{1024, 128} {
		r := s.publish("", s.topic(fmt.Sprintf("of-%d", size), 1), size, messages(size), sampleEvery)
		s.rep.publish[size] = r.Metrics[figures.MsgsPerS]
	}
}

// single asks for the receipt of every message.
func single(s *session) {
	s.start(cluster.Config{})
	for _, size := range []int{1024, 128} {
		s.publish("every receipt taken", s.topic(fmt.Sprintf("of-%d", size), 1), size, messages(size), 1)
	}
}

// publish sends n messages with one producer.
func (s *session) publish(variant, topic string, size int, n, every int64) *figures.Result {
	s.t.Helper()
	p := s.producer(topic)
	r := s.measure(variant, size, func(r *figures.Result) {
		h := figures.NewHistogram()
		began := time.Now()
		_, err := flood{message: client.Message{Value: value(size)}, n: n, every: every}.publish(s.ctx, p, h)
		require.NoError(s.t, err)
		r.Rate(n, time.Since(began))
		r.Latencies(h)
	})
	require.NoError(s.t, p.Close(s.ctx))
	return s.ofLimits(r)
}

// durability is what fdatasync costs: publishing with acknowledgements from memory.
func durability(s *session) {
	s.start(cluster.Config{Env: []string{"LEDGERMQ_DURABILITY_ACK=page-cache"}})
	for _, size := range []int{1024, 128} {
		r := s.publish("page-cache", s.topic(fmt.Sprintf("of-%d", size), 1), size, messages(size), sampleEvery)
		if synced := s.rep.publish[size]; synced > 0 {
			r.Metrics["fsync_price"] = 1 - synced/r.Metrics[figures.MsgsPerS]
		}
	}
}

// members is groups of one and of five.
func members(s *session) {
	for _, n := range []int{1, 5} {
		s.groupOf(n)
	}
}

func (s *session) groupOf(n int) {
	s.t.Helper()
	s.start(cluster.Config{Members: n})
	topic := s.topic("group", 1)
	r := s.publish(fmt.Sprintf("%d members", n), topic, 1024, messages(1024)/2, sampleEvery)
	r.X = float64(n)
	r = s.oneInFlight(fmt.Sprintf("%d members, one in flight", n), topic, 1024, share(2000))
	r.X = float64(n)
	s.stop()
}

// stop ends the brokers and frees their disk before the workload ends.
func (s *session) stop() {
	s.t.Helper()
	for _, n := range s.c.Nodes() {
		if n.Running() {
			n.Kill9()
		}
		removeAll(s.t, n.Data)
	}
}

// producers is many of them on one queue, up to a hundred with a connection each.
func producers(s *session) {
	s.start(cluster.Config{})
	topic := s.topic("shared", 1)
	for _, n := range []int{1, 10, 100, 1000} {
		s.manyProducers(topic, n, messages(1024)/2)
	}
}

func (s *session) manyProducers(topic string, n int, all int64) *figures.Result {
	s.t.Helper()
	var crowd []*client.Producer
	for _, c := range s.clients(min(n, 100)) {
		for range n / min(n, 100) {
			p, err := c.Producer(s.ctx, client.ProducerConfig{Topic: topic, MaxBufferedBytes: max(1<<20, 64<<20/n)})
			require.NoError(s.t, err)
			crowd = append(crowd, p)
		}
	}
	r := s.crowd(fmt.Sprintf("%d producers", n), 1024, all, crowd, nil)
	r.X = float64(n)
	return r
}

// clients makes so many clients, each with connections of its own.
func (s *session) clients(n int) []*client.Client {
	s.t.Helper()
	all := make([]*client.Client, n)
	for i := range all {
		all[i] = s.dial()
	}
	return all
}

// crowd has producers share a number of messages, and closes them.
func (s *session) crowd(variant string, size int, all int64, crowd []*client.Producer, queue func(nth int64) *int) *figures.Result {
	s.t.Helper()
	each := max(1, all/int64(len(crowd)))
	r := s.measure(variant, size, func(r *figures.Result) {
		var g errgroup.Group
		var mu sync.Mutex
		total := figures.NewHistogram()
		began := time.Now()
		for _, p := range crowd {
			g.Go(func() error {
				h := figures.NewHistogram()
				_, err := flood{message: client.Message{Value: value(size)}, n: each, every: 8, queue: queue}.publish(s.ctx, p, h)
				mu.Lock()
				defer mu.Unlock()
				total.Merge(h)
				return err
			})
		}
		require.NoError(s.t, g.Wait())
		r.Rate(each*int64(len(crowd)), time.Since(began))
		r.Latencies(total)
	})
	for _, p := range crowd {
		require.NoError(s.t, p.Close(s.ctx))
	}
	return s.ofLimits(r)
}

// queues is one topic of 1 and of 8 queues, and a thousand topics of 8; each message
// goes to the next queue.
func queues(s *session) {
	s.start(cluster.Config{})
	for _, n := range []int{1, 8} {
		s.manyQueues(1, n, 1, messages(1024)/2)
	}
	s.manyQueues(1, 1, 100, messages(1024)/2)
	s.manyQueues(int(max(100, share(1000))), 8, 100, messages(1024)/2)
}

// manyQueues has producers publish round robin to all queues of their topics.
func (s *session) manyQueues(topics, queues, producers int, n int64) *figures.Result {
	s.t.Helper()
	variant := fmt.Sprintf("%d × %d queues, %d clients", topics, queues, producers)
	names := make([]string, topics)
	var g errgroup.Group
	g.SetLimit(64)
	for i := range names {
		names[i] = fmt.Sprintf("many-%d-%d-%d-%d", topics, queues, producers, i)
		g.Go(func() error {
			_, err := s.client.Admin().CreateTopic(s.ctx, names[i], queues)
			return err
		})
	}
	require.NoError(s.t, g.Wait())
	numbers := make([]int, queues)
	for i := range numbers {
		numbers[i] = i
	}
	clients := s.clients(producers)
	var crowd []*client.Producer
	for i := range max(topics, producers) {
		p, err := clients[i%producers].Producer(s.ctx, client.ProducerConfig{Topic: names[i%topics], MaxBufferedBytes: 32 << 20 / max(1, producers/8)})
		require.NoError(s.t, err)
		crowd = append(crowd, p)
	}
	r := s.crowd(variant, 1024, n, crowd, func(nth int64) *int { return &numbers[nth%int64(queues)] })
	r.X = float64(topics * queues)
	return r
}
