package broker

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/status"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/filter"
)

// recordBatch builds a batch of records, compressed in some way.
func recordBatch(t *testing.T, queue uint32, how batch.Compression, records ...batch.Record) []byte {
	t.Helper()
	b, err := batch.NewBuilder(batch.BuilderConfig{MaxBytes: 4 << 20, RecordBytes: batch.MaxBatchBytes, Compression: how})
	require.NoError(t, err)
	for i := range records {
		records[i].Timestamp = 5
		require.NoError(t, b.Append(&records[i]))
	}
	out, err := b.Build(batch.Stamp{Queue: queue})
	require.NoError(t, err)
	return bytes.Clone(out)
}

func priced(region string, price int) batch.Record {
	return batch.Record{
		Tag: region, Value: []byte(strings.Repeat("v", 100)),
		Headers: []batch.RecordHeader{{Key: "region", Value: []byte(region)}, {Key: "price", Value: fmt.Append(nil, price)}},
	}
}

func sqlFilter(sql string) *brokerv1.Filter {
	return &brokerv1.Filter{Kind: brokerv1.Filter_KIND_SQL92, Expression: sql}
}

// wanted are the offsets that an answer says match.
func wantedOffsets(t *testing.T, infos []*brokerv1.BatchInfo, batches []byte) (offsets []int64) {
	t.Helper()
	for _, info := range infos {
		h, one, rest, err := batch.Next(batches)
		require.NoError(t, err)
		_, err = batch.Verify(one)
		require.NoError(t, err, "batches travel as they are stored")
		for i := range int64(h.Count) {
			if bits := info.GetMatches(); len(bits) == 0 || bits[i/8]>>(i%8)&1 != 0 {
				offsets = append(offsets, info.GetBaseOffset()+i)
			}
		}
		batches = rest
	}
	require.Empty(t, batches)
	return offsets
}

func TestPullFilters(t *testing.T) {
	n := startSingle(t, nil)
	q := n.createTopic("t", 1)[0]
	n.publish(recordBatch(t, q, batch.None, priced("EU", 5), priced("US", 20), priced("EU", 30)))       // 0-2
	n.publish(recordBatch(t, q, batch.S2, priced("US", 1), priced("US", 2)))                            // 3-4
	n.publish(recordBatch(t, q, batch.Zstd, priced("EU", 11), priced("EU", 12), priced("EU", 13)))      // 5-7
	n.publish(recordBatch(t, q, batch.S2, priced("US", 1), priced("EU", 12), batch.Record{Value: nil})) // 8-10
	for name, tc := range map[string]struct {
		filter *brokerv1.Filter
		from   int64
		want   []int64
	}{
		"sql":        {sqlFilter("region = 'EU' AND price > 10"), 0, []int64{2, 5, 6, 7, 9}},
		"inside":     {sqlFilter("region = 'EU' AND price > 10"), 6, []int64{6, 7, 9}},
		"nothing":    {sqlFilter("region = 'XX'"), 0, nil},
		"system":     {sqlFilter("BORN_TIMESTAMP = 5 AND STORE_TIMESTAMP > 5 AND TAGS IS NULL AND KEYS IS NULL AND UNIQ_KEY IS NULL"), 0, []int64{10}},
		"tag":        {&brokerv1.Filter{Kind: brokerv1.Filter_KIND_TAG, Expression: "XX || US"}, 0, []int64{1, 3, 4, 8}},
		"all":        {&brokerv1.Filter{Kind: brokerv1.Filter_KIND_TAG, Expression: "*"}, 9, []int64{8, 9, 10}},
		"at the end": {sqlFilter("TRUE"), 11, nil},
	} {
		resp, err := n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t", Offset: tc.from, Filter: tc.filter})
		require.NoError(t, err, name)
		require.Equal(t, tc.want, wantedOffsets(t, resp.GetInfos(), resp.GetBatches()), name)
		require.EqualValues(t, 11, resp.GetNextOffset(), name)
	}
	resp, err := n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t"})
	require.NoError(t, err)
	require.Zero(t, resp.GetNextOffset(), "who has no filter is told nothing")
	families, err := n.b.metrics.registry.Gather()
	require.NoError(t, err)
	counts := map[string]float64{}
	for _, f := range families {
		if len(f.GetMetric()) == 1 && f.GetMetric()[0].GetCounter() != nil {
			counts[f.GetName()] = f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	// Of seven pulls with a filter: 11 messages each but for two from within (all those of
	// a batch are read) and one at the end.
	require.Positive(t, counts["broker_messages_filtered_total"])
	require.Less(t, counts["broker_messages_filtered_total"], 7*11.0)
}

func TestBadFilters(t *testing.T) {
	n := startSingle(t, nil)
	n.createTopic("t", 1)
	for text, f := range map[string]*brokerv1.Filter{
		"filter, column 5: the text has no end: ' is missing":                                                sqlFilter("a = 'x"),
		"filter, column 4: a tag is missing between ||":                                                      {Kind: brokerv1.Filter_KIND_TAG, Expression: "a||"},
		"a filter's kind must be KIND_TAG or KIND_SQL92, not KIND_UNSPECIFIED":                               {Expression: "a"},
		"filter, column 1: the expression has 9000 bytes, at most 8192 are allowed":                          sqlFilter(strings.Repeat(" ", 9000)),
		"filter, column 1: a property, a text, a number, TRUE, FALSE, NOT or ( must stand here, not the end": sqlFilter(""),
	} {
		_, err := n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t", Filter: f})
		requireCode(t, err, CodeInvalidFilter, "definite")
		require.Equal(t, text, status.Convert(err).Message())
		stream, err := n.messaging.PullStream(n.ctx())
		require.NoError(t, err)
		require.NoError(t, stream.Send(&brokerv1.PullStreamRequest{Topic: "t", CreditBytes: 1, Filter: f}))
		_, err = stream.Recv()
		requireCode(t, err, CodeInvalidFilter, "definite")
	}
}

// TestSelectivePullStream: a long backlog of which nothing is wanted is gone through in
// answers that say how far, and a message that is wanted comes at once.
func TestSelectivePullStream(t *testing.T) {
	n := startSingle(t, nil)
	q := n.createTopic("t", 1)[0]
	var many []batch.Record
	for range 300 {
		many = append(many, priced("US", 1))
	}
	for range 10 {
		n.publish(recordBatch(t, q, batch.None, many...))
	}
	n.publish(recordBatch(t, q, batch.None, priced("EU", 1)))
	stream, err := n.messaging.PullStream(n.ctx())
	require.NoError(t, err)
	// Credit for two batches: what is not sent is not counted.
	require.NoError(t, stream.Send(&brokerv1.PullStreamRequest{Topic: "t", CreditBytes: 80_000, Filter: sqlFilter("region = 'EU'")}))
	answers, next := 0, int64(0)
	for next < 3001 {
		resp, err := stream.Recv()
		require.NoError(t, err)
		require.Greater(t, resp.GetNextOffset(), next, "each answer is progress")
		next = resp.GetNextOffset()
		answers++
		if next == 3001 {
			require.Equal(t, []int64{3000}, wantedOffsets(t, resp.GetInfos(), resp.GetBatches()))
			break
		}
		require.Empty(t, resp.GetInfos())
	}
	require.Greater(t, answers, 3)
	n.awaitHeld(1)
	n.publish(recordBatch(t, q, batch.None, priced("US", 1)))
	resp, err := stream.Recv()
	require.NoError(t, err)
	require.Empty(t, resp.GetInfos())
	require.EqualValues(t, 3002, resp.GetNextOffset())
}

// TestCostlyMessages: what costs too much is an error that names the offset, after
// all that stands before it.
func TestCostlyMessages(t *testing.T) {
	n := startSingle(t, nil)
	q := n.createTopic("t", 1)[0]
	long := batch.Record{Headers: []batch.RecordHeader{{Key: "a", Value: bytes.Repeat([]byte("ab"), 30_000)}}}
	short := batch.Record{Headers: []batch.RecordHeader{{Key: "a", Value: []byte("bz")}}}
	n.publish(recordBatch(t, q, batch.None, short, short, long, short))
	one := "a LIKE '%" + strings.Repeat("_b", 100) + "_a%z'"
	f := sqlFilter(strings.Repeat(one+" OR ", 30) + "a LIKE '_z'")
	pull := func(from int64) (*brokerv1.PullResponse, error) {
		return n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t", Offset: from, Filter: f})
	}
	resp, err := pull(0)
	require.NoError(t, err)
	require.Equal(t, []int64{0, 1}, wantedOffsets(t, resp.GetInfos(), resp.GetBatches()))
	require.EqualValues(t, 2, resp.GetNextOffset())
	_, err = pull(2)
	requireCode(t, err, CodeFilterTooCostly, "definite")
	require.Equal(t, fmt.Sprintf("offset 2 of t/0 would take more than %d steps: seek to 3 to go on behind it, or use a simpler filter", filter.MaxSteps), status.Convert(err).Message())
	resp, err = pull(3)
	require.NoError(t, err)
	require.Equal(t, []int64{3}, wantedOffsets(t, resp.GetInfos(), resp.GetBatches()))
}

// TestFilterWorkIsBounded: an answer that would cost a lot ends before its time.
func TestFilterWorkIsBounded(t *testing.T) {
	n := startSingle(t, nil)
	q := n.createTopic("t", 1)[0]
	var records []batch.Record
	for range 200 { // of some 300,000 steps each
		records = append(records, batch.Record{Headers: []batch.RecordHeader{{Key: "a", Value: bytes.Repeat([]byte("ab"), 10_000)}}})
	}
	n.publish(recordBatch(t, q, batch.S2, records...))
	one := "a LIKE '%" + strings.Repeat("_b", 100) + "_a%z'"
	f := sqlFilter(one + " OR " + one + " OR " + one + " OR TRUE")
	var got []int64
	answers := 0
	for next := int64(0); next < 200; answers++ {
		resp, err := n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t", Offset: next, Filter: f})
		require.NoError(t, err)
		require.Greater(t, resp.GetNextOffset(), next)
		got, next = append(got, wantedOffsets(t, resp.GetInfos(), resp.GetBatches())...), resp.GetNextOffset()
	}
	require.Len(t, got, 200, "each once")
	require.Greater(t, answers, 1)
}

// TestFiltersShareMemory: so many filters at a time, and no more.
func TestFiltersShareMemory(t *testing.T) {
	m := newMetrics(testConfig(t, "n1").withDefaults(), nil)
	s := newFiltering(16*kibibyte, m)
	var open []*pullFilter
	var err error
	for err == nil {
		var f *pullFilter
		if f, err = s.open(sqlFilter("a = 'b'")); err == nil {
			open = append(open, f)
		}
	}
	require.Equal(t, CodeLimitExceeded, reasonOf(err))
	require.Greater(t, len(open), 3)
	for _, f := range open {
		f.close()
	}
	f, err := s.open(sqlFilter("a = 'b'"))
	require.NoError(t, err)
	f.close()
}

// TestFilteredPullOutlivesTheLeader: the next leader goes on with the filter.
func TestFilteredPullOutlivesTheLeader(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	q := leader.createTopic("t", 1)[0]
	require.Nil(t, leader.publish(recordBatch(t, q, batch.S2, priced("US", 1), priced("EU", 1))).GetError())
	pull := func(n *node, from int64) []int64 {
		resp, err := n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t", Offset: from, MaxWaitMs: 1, Filter: sqlFilter("region = 'EU'")})
		require.NoError(t, err)
		require.EqualValues(t, resp.GetEndOffset(), resp.GetNextOffset())
		return wantedOffsets(t, resp.GetInfos(), resp.GetBatches())
	}
	require.Equal(t, []int64{1}, pull(followers[0], 0), "forwarded with its filter")
	leader.kill()
	require.Eventually(t, func() bool {
		_, err := followers[0].messaging.Pull(followers[0].ctx(), &brokerv1.PullRequest{Topic: "t"})
		return err == nil
	}, patience, 10*time.Millisecond)
	require.Equal(t, []int64{1}, pull(followers[1], 0))
}
