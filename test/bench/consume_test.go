package bench

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/test/bench/figures"
	"github.com/ledgermq/ledgermq/test/cluster"
)

// inTail is how many bytes of values certainly are in a leader's memory.
const inTail = 32 << 20

// draining is one consumer that reads a queue from its beginning: what is in the
// leader's memory, and far more than that, twice: brokers do not read through the page cache.
func draining(s *session) {
	s.start(cluster.Config{})
	for _, size := range []int{1024, 128} {
		topic := s.topic(fmt.Sprintf("disk-%d", size), 1)
		n := messages(size) / int64(1+128/size) // small ones are quick to read
		s.fill(topic, size, n)
		dropPageCache(s.t, s.c)
		s.drain("from disk", topic, size, n, 1)
		s.drain("from disk again", topic, size, n, 1)
		topic = s.topic(fmt.Sprintf("memory-%d", size), 1)
		n = min(inTail/int64(size), n)
		s.fill(topic, size, n)
		s.drain("from memory", topic, size, n, max(1, messages(size)/n))
	}
}

// fill publishes without being measured.
func (s *session) fill(topic string, size int, n int64) {
	s.t.Helper()
	p := s.producer(topic)
	_, err := flood{message: client.Message{Value: value(size)}, n: n, every: 1 << 30}.publish(s.ctx, p, figures.NewHistogram())
	require.NoError(s.t, err)
	require.NoError(s.t, p.Close(s.ctx))
}

// drain reads n messages so many times.
func (s *session) drain(variant, topic string, size int, n, times int64) *figures.Result {
	s.t.Helper()
	c := s.consumer(topic, client.Earliest())
	return s.ofStream(s.measure(variant, size, func(r *figures.Result) {
		began := time.Now()
		for nth := range times {
			if nth > 0 {
				require.NoError(s.t, c.Seek(0, 0))
			}
			require.NoError(s.t, read(s.ctx, c, n, nil))
		}
		r.Rate(n*times, time.Since(began))
	}))
}

// dropPageCache makes the kernel forget what it has of the brokers' files.
func dropPageCache(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	for _, n := range c.Nodes() {
		err := filepath.WalkDir(n.Data, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			f, err := os.Open(path)
			if os.IsNotExist(err) {
				return nil // it was deleted meanwhile
			}
			if err != nil {
				return err
			}
			defer f.Close()
			return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		})
		if err != nil && !os.IsNotExist(err) {
			require.NoError(t, err)
		}
	}
}

// removeAll frees the space of a directory.
func removeAll(t *testing.T, dir string) {
	t.Helper()
	require.True(t, strings.HasPrefix(dir, os.TempDir()), dir)
	require.NoError(t, os.RemoveAll(dir))
}

// fanOut is consumers that all read one queue while it is written.
func fanOut(s *session) {
	s.start(cluster.Config{})
	for _, n := range []int{1, 10, 100} {
		s.fanOutTo(n, share(1_000_000/int64(max(2, n/2))))
	}
}

func (s *session) fanOutTo(consumers int, n int64) *figures.Result {
	s.t.Helper()
	topic := s.topic(fmt.Sprintf("fan-out-%d", consumers), 1)
	clients := s.clients(min(consumers, 10))
	var all []*client.Consumer
	for i := range consumers {
		c, err := clients[i%len(clients)].Consumer(s.ctx, client.ConsumerConfig{Topic: topic, From: client.Earliest(), MaxBytes: 2 << 20})
		require.NoError(s.t, err)
		all = append(all, c)
	}
	r := s.measure(fmt.Sprintf("%d consumers, deliveries", consumers), 1024, func(r *figures.Result) {
		var g errgroup.Group
		for _, c := range all {
			g.Go(func() error { return read(s.ctx, c, n, nil) })
		}
		began := time.Now()
		s.fill(topic, 1024, n)
		r.Metrics["published_msgs_per_s"] = float64(n) / time.Since(began).Seconds()
		require.NoError(s.t, g.Wait())
		r.Rate(n*int64(consumers), time.Since(began))
	})
	s.ofStream(r).X = float64(consumers)
	for _, c := range all {
		require.NoError(s.t, c.Close())
	}
	return r
}
