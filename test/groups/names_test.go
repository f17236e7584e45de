package groups

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/broker"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// TestNamedProducerIsRestarted four times, under one name and without a word of farewell,
// each time while it publishes and the leader is killed. What was acknowledged is stored
// once; nothing of one start stands behind the first message of the next; and what one
// was not told is decided when the next has its name.
func TestNamedProducerIsRestarted(t *testing.T) {
	members, seeds := startBrokers(t, broker.GroupTiming{})
	dial := func() *client.Client {
		c, err := client.Dial(t.Context(), client.Config{Seeds: seeds})
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	c := dial()
	_, err := c.Admin().CreateTopic(t.Context(), "t", 1)
	require.NoError(t, err)
	var lives []*life
	for n := range 4 {
		if n > 0 {
			lives[n-1].publish(t, 100)
			if n%2 == 1 {
				lives[n-1].flush(t)
			}
			down := killLeader(t, c, members)
			down.start()
		}
		p, err := dial().Producer(t.Context(), client.ProducerConfig{Topic: "t", Name: "till 7", DeliveryTimeout: patience})
		require.NoError(t, err)
		lives = append(lives, &life{p: p, n: n, begin: end(t, c)})
		lives[n].publish(t, 50)
	}
	lives[3].flush(t)
	stored := readAll(t, c)
	for n, l := range lives {
		for i, r := range l.results {
			receipt, err := r.Get(t.Context())
			at := slices.Index(stored, fmt.Sprintf("%d/%03d", n, i))
			var e *client.Error
			switch {
			case err == nil:
				require.Equal(t, receipt.Offset, int64(at), "acknowledged")
				require.NotContains(t, stored[at+1:], stored[at])
			case errors.As(err, &e) && !e.Indefinite:
				require.ErrorIs(t, err, client.ErrProducerFenced)
				require.Negative(t, at, "%d/%03d is stored, and was refused", n, i)
			default:
				require.ErrorIs(t, err, client.ErrProducerFenced)
			}
			if at >= 0 {
				require.GreaterOrEqual(t, int64(at), l.begin)
				require.True(t, n == 3 || int64(at) < lives[n+1].begin, "%d/%03d is stored behind the name's next start", n, i)
			}
		}
	}
}

// life is one start of a producer.
type life struct {
	p       *client.Producer
	n       int
	begin   int64 // the queue's end when it had its name
	results []*client.Result
}

func (l *life) publish(t *testing.T, n int) {
	t.Helper()
	for range n {
		l.results = append(l.results, l.p.Publish(t.Context(), client.Message{Value: fmt.Appendf(nil, "%d/%03d", l.n, len(l.results))}))
	}
}

func (l *life) flush(t *testing.T) {
	t.Helper()
	require.NoError(t, l.p.Flush(t.Context()))
	for _, r := range l.results {
		_, err := r.Get(t.Context())
		require.NoError(t, err)
	}
}

func end(t *testing.T, c *client.Client) int64 {
	t.Helper()
	cs, err := c.Consumer(t.Context(), client.ConsumerConfig{Topic: "t"})
	require.NoError(t, err)
	defer cs.Close()
	var ranges []client.QueueRange
	require.Eventually(t, func() bool { ranges, err = cs.Ranges(t.Context()); return err == nil }, patience, 10*time.Millisecond)
	return ranges[0].End
}

func readAll(t *testing.T, c *client.Client) (values []string) {
	t.Helper()
	cs, err := c.Consumer(t.Context(), client.ConsumerConfig{Topic: "t"})
	require.NoError(t, err)
	defer cs.Close()
	for range end(t, c) {
		m, err := cs.Next(t.Context())
		require.NoError(t, err)
		values = append(values, string(m.Value))
	}
	return values
}
