package bench

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/test/bench/figures"
	"github.com/ledgermq/ledgermq/test/cluster"
)

// keyIndex is what an index of keys costs: messages of which each has a key of its own,
// published to a topic without and to one with an index, and the time to find one of them.
func keyIndex(s *session) {
	s.start(cluster.Config{})
	for _, size := range []int{1024, 128} {
		n := messages(size) / 2
		for _, variant := range []string{"keys", "keys, indexed"} {
			topic := s.topic(fmt.Sprintf("of-%d", size), 1)
			if variant != "keys" {
				topic += "-indexed"
				_, err := s.client.Admin().CreateTopicWith(s.ctx, topic, 1, client.TopicSettings{KeyIndex: true})
				require.NoError(s.t, err)
			}
			s.publishKeyed(variant, topic, size, n)
			s.findKey(variant+", find one", topic, size, n)
			require.NoError(s.t, s.client.Admin().DeleteTopic(s.ctx, topic))
		}
	}
}

func numberedKey(nth int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(nth)) }

func (s *session) publishKeyed(variant, topic string, size int, n int64) {
	p := s.producer(topic)
	r := s.measure(variant, size, func(r *figures.Result) {
		h := figures.NewHistogram()
		began := time.Now()
		_, err := flood{message: client.Message{Value: value(size)}, n: n, every: sampleEvery, key: numberedKey}.publish(s.ctx, p, h)
		require.NoError(s.t, err)
		r.Rate(n, time.Since(began))
		r.Latencies(h)
	})
	require.NoError(s.t, p.Close(s.ctx))
	s.ofLimits(r)
}

// findKey looks for messages one after the other.
func (s *session) findKey(variant, topic string, size int, n int64) {
	const times = 20
	s.measure(variant, size, func(r *figures.Result) {
		h := figures.NewHistogram()
		began := time.Now()
		for i := range int64(times) {
			asked := time.Now()
			found, err := s.client.Admin().Find(s.ctx, client.Search{Topic: topic, Key: numberedKey(i * n / times)})
			require.NoError(s.t, err)
			require.Len(s.t, found.Messages, 1)
			h.Record(time.Since(asked))
		}
		r.Rate(times, time.Since(began))
		r.Latencies(h)
	})
}
