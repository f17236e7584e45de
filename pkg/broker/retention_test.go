package broker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// smallSegments makes a few batches fill a segment.
func smallSegments(c *Config) {
	c.Storage.SegmentBytes, c.Limits.MaxBatchBytes = mebibyte, 512*kibibyte
}

// publishBulk publishes one batch of about 250 KiB for each number from first to
// last, so that four of them fill a segment. Each value begins with its number.
func (n *node) publishBulk(queue uint32, first, last int) {
	n.t.Helper()
	for i := first; i <= last; i++ {
		require.Nil(n.t, n.publish(makeBatch(n.t, batch.Stamp{Queue: queue}, bulkValue(i))).GetError())
	}
}

func bulkValue(i int) string { return fmt.Sprintf("%06d", i) + strings.Repeat("x", 250<<10) }

// pullNumbers reads a queue from offset on and returns the numbers of the values.
func (n *node) pullNumbers(topic string, offset int64) []string {
	n.t.Helper()
	var all []string
	for {
		got, resp := n.pull(topic, 0, offset+int64(len(all)), 0)
		for _, v := range got {
			require.Len(n.t, v, len(bulkValue(0)))
			all = append(all, v[:6])
		}
		if offset+int64(len(all)) >= resp.GetEndOffset() {
			return all
		}
	}
}

// pullKept reads queue 0 from the oldest offset that the broker keeps, and says which that
// was. Where retention has gone on meanwhile it begins again.
func (n *node) pullKept(topic string) (first int64, all []string) {
	n.t.Helper()
	first = n.firstOffset(topic)
	for {
		resp, err := n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: topic, Offset: first + int64(len(all))})
		if reasonOf(err) == CodeOffsetTooLow {
			first, all = n.firstOffset(topic), nil
			continue
		}
		require.NoError(n.t, err)
		for _, v := range values(n.t, resp.GetBatches()) {
			all = append(all, v[:6])
		}
		if first+int64(len(all)) >= resp.GetEndOffset() {
			return first, all
		}
	}
}

// bytesBehindTheFirst is the size of all segment files but the oldest.
func (n *node) bytesBehindTheFirst() (sum Size) {
	n.t.Helper()
	segments, err := n.b.ledger.Segments()
	require.NoError(n.t, err)
	for _, s := range segments[1:] {
		sum += Size(s.Bytes)
	}
	return sum
}

func numbers(first, last int) []string {
	var all []string
	for i := first; i <= last; i++ {
		all = append(all, fmt.Sprintf("%06d", i))
	}
	return all
}

func (n *node) firstOffset(topic string) int64 {
	n.t.Helper()
	resp, err := n.admin.DescribeTopic(n.ctx(), &brokerv1.DescribeTopicRequest{Name: topic})
	require.NoError(n.t, err)
	return resp.GetQueues()[0].GetFirstOffset()
}

// TestRetentionBySize bounds the ledger: the oldest messages go, a pull of one of
// them is told where the queue begins, and a restart finds the same.
func TestRetentionBySize(t *testing.T) {
	n := startSingle(t, func(c *Config) {
		smallSegments(c)
		c.Retention = RetentionConfig{Size: 4 * mebibyte, CheckInterval: 10 * time.Millisecond}
	})
	queue := n.createTopic("t", 1)[0]
	n.publishBulk(queue, 0, 39)
	require.False(t, n.b.store.FlushDue(), "retention asks for it")
	require.Eventually(t, func() bool { return n.firstOffset("t") >= 20 && n.bytesBehindTheFirst() < 4*mebibyte }, patience, time.Millisecond)
	first := n.firstOffset("t")
	require.Equal(t, numbers(int(first), 39), n.pullNumbers("t", first))
	_, err := n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t", Offset: first - 1})
	requireCode(t, err, CodeOffsetTooLow, "definite")
	require.ErrorContains(t, err, fmt.Sprintf("is below the first, %d (the end is 40)", first))

	n.shutdown()
	n.cfg.Retention = RetentionConfig{}
	n.restart()
	n.awaitServing(1)
	require.Equal(t, first, n.firstOffset("t"))
	require.Equal(t, numbers(int(first), 39), n.pullNumbers("t", first))
}

// TestRetentionByAge drives the clock by hand.
func TestRetentionByAge(t *testing.T) {
	n := startSingle(t, smallSegments)
	queue := n.createTopic("t", 1)[0]
	n.publishBulk(queue, 0, 19)
	wall, mono := time.Now(), time.Duration(0)
	pin, pinned, asked := int64(0), true, 0
	r := &retention{
		cfg: RetentionConfig{Age: 72 * time.Hour}, ledger: n.b.ledger, store: n.b.store, log: n.b.log,
		metrics: newRetentionMetrics(prometheus.NewRegistry()),
		allow: func(before int64, _ bool) int64 {
			if pinned {
				return min(before, pin)
			}
			return before
		},
		pressed: func() bool { return false }, flush: func() { asked++ }, carry: func(state.Index) {},
		purged: func(state.Index) {}, trim: func() {},
		wall: func() time.Time { return wall }, mono: func() time.Duration { return mono },
		clock:  commitlog.ClockGuard{Settles: time.Minute},
		joined: func() bool { return true },
	}
	pass := func(d time.Duration) { wall, mono = wall.Add(d), mono+d }
	look := func() int64 {
		require.NoError(t, r.check())
		return int64(n.b.ledger.Begin())
	}
	require.Zero(t, look())
	pass(71 * time.Hour)
	require.Zero(t, look(), "nothing is old enough")
	wall = wall.Add(2 * time.Hour)
	require.Zero(t, look(), "the clock jumped")
	require.EqualValues(t, 1, testutil.ToFloat64(r.metrics.paused))
	require.EqualValues(t, 1, testutil.ToFloat64(r.metrics.clockJumps))
	pass(time.Minute)
	require.Zero(t, look(), "the state is not on disk")
	require.Zero(t, testutil.ToFloat64(r.metrics.paused))
	require.NoError(t, n.b.store.Flush())
	require.Zero(t, look(), "somebody is being seeded")
	pin = 10
	begin := look()
	require.True(t, 0 < begin && begin <= 10, "up to what the seed needs: %d", begin)
	require.Zero(t, asked, "what is kept by age can wait for the state to be flushed in its own time")
	pinned = false
	begin = look()
	require.Greater(t, begin, int64(10))
	segments, err := n.b.ledger.Segments()
	require.NoError(t, err)
	require.Len(t, segments, 1, "the active segment stays")
	require.Equal(t, begin, look())
	require.GreaterOrEqual(t, testutil.ToFloat64(r.metrics.segments), 3.0)
	require.InDelta(t, float64(time.Now().Unix()), testutil.ToFloat64(r.metrics.oldest), 60)
}

func TestRetentionConfigIsChecked(t *testing.T) {
	for _, r := range []RetentionConfig{
		{Age: time.Millisecond}, {Age: -time.Hour}, {Size: 1}, {CheckInterval: time.Millisecond}, {CheckInterval: 2 * time.Hour},
	} {
		require.Error(t, r.withDefaults().validate(), "%+v", r)
	}
	require.NoError(t, RetentionConfig{}.withDefaults().validate())
}
