package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/status"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

func (n *node) work() brokerv1.WorkServiceClient { return brokerv1.NewWorkServiceClient(n.conn) }

func (n *node) createWorkGroup(name string, p *brokerv1.WorkPolicy) {
	n.t.Helper()
	_, err := n.groups().CreateGroup(n.ctx(), &brokerv1.CreateGroupRequest{
		Name: name, Assignment: brokerv1.GroupAssignment_GROUP_ASSIGNMENT_WORK, Work: p,
	})
	require.NoError(n.t, err)
}

// receive receives up to n messages of the topic t for the group g, waiting for a first one.
func (n *node) receive(most int32, invisible, wait time.Duration) []*brokerv1.WorkMessage {
	n.t.Helper()
	resp, err := n.work().Receive(n.ctx(), &brokerv1.ReceiveRequest{
		Group: "g", Topic: "t", MaxMessages: most, InvisibleMs: invisible.Milliseconds(), MaxWaitMs: int32(wait.Milliseconds()),
	})
	require.NoError(n.t, err)
	return resp.GetMessages()
}

func receiptsOf(messages []*brokerv1.WorkMessage) (all []string) {
	for _, m := range messages {
		all = append(all, m.GetReceipt())
	}
	return all
}

func valuesOf(messages []*brokerv1.WorkMessage) (all []string) {
	for _, m := range messages {
		all = append(all, string(m.GetValue()))
	}
	return all
}

// ack acknowledges and returns the code of each receipt.
func (n *node) ack(receipts ...string) []string {
	n.t.Helper()
	resp, err := n.work().Ack(n.ctx(), &brokerv1.AckRequest{Receipts: receipts})
	require.NoError(n.t, err)
	return codesOf(n.t, receipts, resp.GetResults())
}

func (n *node) nack(delay time.Duration, receipts ...string) []string {
	n.t.Helper()
	resp, err := n.work().Nack(n.ctx(), &brokerv1.NackRequest{Receipts: receipts, DelayMs: delay.Milliseconds()})
	require.NoError(n.t, err)
	return codesOf(n.t, receipts, resp.GetResults())
}

func codesOf(t *testing.T, receipts []string, results []*brokerv1.WorkResult) (codes []string) {
	t.Helper()
	require.Len(t, results, len(receipts))
	for _, r := range results {
		codes = append(codes, r.GetError().GetCode())
	}
	return codes
}

func (n *node) deadLetters(redriven bool) []*brokerv1.DeadLetter {
	n.t.Helper()
	resp, err := n.work().ListDeadLetters(n.ctx(), &brokerv1.ListDeadLettersRequest{Group: "g", Redriven: redriven})
	require.NoError(n.t, err)
	return resp.GetLetters()
}

func (n *node) awaitDead(count int) []*brokerv1.DeadLetter {
	n.t.Helper()
	var letters []*brokerv1.DeadLetter
	require.Eventually(n.t, func() bool { letters = n.deadLetters(false); return len(letters) >= count }, patience, 10*time.Millisecond)
	return letters
}

func (n *node) lag(group string) int64 {
	n.t.Helper()
	desc, err := n.groups().DescribeGroup(n.ctx(), &brokerv1.DescribeGroupRequest{Name: group})
	require.NoError(n.t, err)
	return desc.GetGroup().GetLagMessages()
}

const long = time.Minute

// TestWorkIsSharedAndAcknowledged: two consumers share one queue, acknowledge in any order,
// from any broker, and what is acknowledged never comes again.
func TestWorkIsSharedAndAcknowledged(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	queues := leader.createTopic("t", 2)
	leader.createWorkGroup("g", &brokerv1.WorkPolicy{MaxAttempts: 5, BackoffMinMs: 10, BackoffMaxMs: 100})
	require.Nil(t, leader.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, "0", "1", "2", "3", "4")).GetError())
	require.Nil(t, leader.publish(makeBatch(t, batch.Stamp{Queue: queues[1]}, "5", "6", "7")).GetError())
	first := followers[0].receive(3, long, patience)
	require.NotEmpty(t, first)
	var second []*brokerv1.WorkMessage
	for len(first)+len(second) < 8 {
		second = append(second, followers[1].receive(10, long, patience)...)
	}
	got := append(valuesOf(first), valuesOf(second)...)
	slices.Sort(got)
	require.Equal(t, []string{"0", "1", "2", "3", "4", "5", "6", "7"}, got)
	require.Empty(t, leader.receive(10, long, 0))
	require.Equal(t, float64(8), testutil.ToFloat64(leader.b.work.queues.metrics))

	require.Equal(t, make([]string, len(second)), followers[0].ack(receiptsOf(second)...))
	require.Equal(t, make([]string, len(second)), leader.ack(receiptsOf(second)...), "acknowledging again does no harm")
	require.Equal(t, make([]string, len(first)), leader.ack(receiptsOf(first)...))
	require.Zero(t, leader.lag("g"))
	_, err := leader.work().Ack(leader.ctx(), &brokerv1.AckRequest{Receipts: []string{"nonsense"}})
	require.NoError(t, err)
	require.Equal(t, []string{string(CodeInvalidHandle)}, leader.ack("w-1-2-3"))
}

// TestWorkComesAgain: after its lease, or a Nack with a delay, a message comes again with
// another attempt, and the receipt of the lease that ended is refused.
func TestWorkComesAgain(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{BackoffMinMs: 1, BackoffMaxMs: 10})
	n.fillSingly(queue, 3)
	change := func(receipt string, d time.Duration) string {
		resp, err := n.work().ChangeInvisible(n.ctx(), &brokerv1.ChangeInvisibleRequest{Receipts: []string{receipt}, InvisibleMs: d.Milliseconds()})
		require.NoError(t, err)
		return codesOf(t, []string{receipt}, resp.GetResults())[0]
	}
	first := n.receive(1, long, patience)
	require.Equal(t, []string{"0"}, valuesOf(first))
	again := n.receive(1, long, 0)
	require.Equal(t, []string{"1"}, valuesOf(again))
	require.Equal(t, []string{"2"}, valuesOf(n.receive(1, long, 0)))
	require.Empty(t, change(first[0].GetReceipt(), 50*time.Millisecond)) // only now may it end
	expired := n.receive(1, long, patience)
	require.Equal(t, []string{"0"}, valuesOf(expired))
	require.Equal(t, uint32(2), expired[0].GetAttempt())
	require.Equal(t, []string{string(CodeReceiptExpired)}, n.ack(first[0].GetReceipt()))
	began := time.Now()
	require.Equal(t, []string{""}, n.nack(80*time.Millisecond, expired[0].GetReceipt()))
	third := n.receive(1, long, patience)
	require.Equal(t, uint32(3), third[0].GetAttempt())
	require.Greater(t, time.Since(began), 60*time.Millisecond)
	require.Equal(t, string(CodeReceiptExpired), change(first[0].GetReceipt(), long))
	require.Empty(t, change(third[0].GetReceipt(), 20*time.Millisecond))
	fourth := n.receive(1, long, patience)
	require.Equal(t, uint32(4), fourth[0].GetAttempt())
	require.Equal(t, []string{""}, n.ack(fourth[0].GetReceipt()))
	require.Equal(t, []string{string(CodeReceiptExpired)}, n.nack(0, fourth[0].GetReceipt()), "it is done")
	require.Equal(t, int64(2), n.lag("g"))
	require.Equal(t, float64(3), testutil.ToFloat64(n.b.work.queues.metrics.redeliveries))
}

// TestGroupsAreForOffsetsOrForWork: each call says so when it meets the other kind.
func TestGroupsAreForOffsetsOrForWork(t *testing.T) {
	n := startSingle(t, nil)
	n.createTopic("t", 1)
	n.createWorkGroup("g", &brokerv1.WorkPolicy{})
	mismatch := func(err error) {
		t.Helper()
		require.Equal(t, string(CodeGroupMismatch), infoOf(err).GetReason(), "%v", err)
	}
	_, err := n.groups().Join(n.ctx(), &brokerv1.JoinRequest{Group: "g", Member: "m", Topics: []string{"t"}})
	mismatch(err)
	_, err = n.groups().CommitProgress(n.ctx(), &brokerv1.CommitProgressRequest{Group: "g", Commits: []*brokerv1.QueueCommit{{QueueId: 1}}})
	mismatch(err)
	n.join("plain", "m")
	_, err = n.work().Receive(n.ctx(), &brokerv1.ReceiveRequest{Group: "plain", Topic: "t", InvisibleMs: 1000})
	mismatch(err)
	_, err = n.groups().CreateGroup(n.ctx(), &brokerv1.CreateGroupRequest{Name: "x", Assignment: brokerv1.GroupAssignment_GROUP_ASSIGNMENT_WORK})
	mismatch(err)
	_, err = n.work().Receive(n.ctx(), &brokerv1.ReceiveRequest{Group: "g", Topic: "t", InvisibleMs: 1})
	require.Equal(t, string(CodeLimitExceeded), infoOf(err).GetReason(), "%v", status.Convert(err))
	_, err = n.work().Receive(n.ctx(), &brokerv1.ReceiveRequest{Group: "none", Topic: "t", InvisibleMs: 1000})
	require.Equal(t, string(CodeUnknownGroup), infoOf(err).GetReason())
}

// TestRefusedPolicyNamesTheCause: the field, and the value it has.
func TestRefusedPolicyNamesTheCause(t *testing.T) {
	n := startSingle(t, nil)
	for want, p := range map[string]*brokerv1.WorkPolicy{
		"max_attempts is 10001: at most 10000 are possible":    {MaxAttempts: 10_001},
		"backoff_min is -1s: 0 or more is possible":            {BackoffMinMs: -1000},
		"backoff_max is 13h: at most 12h is possible":          {BackoffMaxMs: 13 * 3_600_000},
		"backoff_min is 5m, above backoff_max, which is 1m30s": {BackoffMinMs: 300_000, BackoffMaxMs: 90_000},
	} {
		_, err := n.groups().CreateGroup(n.ctx(), &brokerv1.CreateGroupRequest{Name: "g", Assignment: brokerv1.GroupAssignment_GROUP_ASSIGNMENT_WORK, Work: p})
		require.Equal(t, string(CodeLimitExceeded), infoOf(err).GetReason())
		require.ErrorContains(t, err, want)
	}
}

// TestWorkIsFiltered: what a filter does not want is done for the group.
func TestWorkIsFiltered(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{})
	b, err := batch.NewBuilder(batch.BuilderConfig{})
	require.NoError(t, err)
	for i := range 20 {
		require.NoError(t, b.Append(&batch.Record{Value: fmt.Append(nil, i), Tag: []string{"even", "odd"}[i%2], Timestamp: 1}))
	}
	body, err := b.Build(batch.Stamp{Queue: queue})
	require.NoError(t, err)
	require.Nil(t, n.publish(body).GetError())
	var got []*brokerv1.WorkMessage
	for len(got) < 10 {
		resp, err := n.work().Receive(n.ctx(), &brokerv1.ReceiveRequest{
			Group: "g", Topic: "t", MaxMessages: 4, InvisibleMs: 60_000, MaxWaitMs: 10_000, Filter: &brokerv1.Filter{Kind: brokerv1.Filter_KIND_TAG, Expression: "odd"},
		})
		require.NoError(t, err)
		got = append(got, resp.GetMessages()...)
	}
	require.Equal(t, []string{"1", "3", "5", "7", "9", "11", "13", "15", "17", "19"}, valuesOf(got))
	n.ack(receiptsOf(got)...)
	require.Eventually(t, func() bool { return n.lag("g") == 0 }, patience, 10*time.Millisecond)
}

// TestResetAndPauseOfWork: a reset begins anew, and fences what was given out before.
func TestResetAndPauseOfWork(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{})
	n.fillSingly(queue, 4)
	first := n.receive(4, long, patience)
	require.Len(t, first, 4)
	require.Equal(t, []string{"", ""}, n.ack(first[0].GetReceipt(), first[2].GetReceipt()))
	require.Equal(t, int64(3), n.lag("g"), "the progress is the floor below which all is done")
	_, err := n.groups().ResetGroup(n.ctx(), &brokerv1.ResetGroupRequest{
		Group: "g", To: &brokerv1.ResetGroupRequest_Start{Start: &brokerv1.GroupStart{At: &brokerv1.GroupStart_Offset{Offset: 1}}},
	})
	require.NoError(t, err)
	require.Equal(t, []string{string(CodeReceiptExpired)}, n.ack(first[1].GetReceipt()))
	_, err = n.groups().PauseGroup(n.ctx(), &brokerv1.PauseGroupRequest{Name: "g", Paused: true})
	require.NoError(t, err)
	require.Empty(t, n.receive(4, long, 0))
	_, err = n.groups().PauseGroup(n.ctx(), &brokerv1.PauseGroupRequest{Name: "g"})
	require.NoError(t, err)
	require.Equal(t, []string{"1", "2", "3"}, valuesOf(n.receive(4, long, patience)))
}

// TestDeadLetters: a message that was tried too often is moved, once, and put back, once.
func TestDeadLetters(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	queue := leader.createTopic("t", 1)[0]
	leader.createWorkGroup("g", &brokerv1.WorkPolicy{MaxAttempts: 2, BackoffMinMs: 1, BackoffMaxMs: 1})
	require.Nil(t, leader.publish(makeBatch(t, batch.Stamp{Queue: queue}, "0", "1", "2", "3", "4", "5")).GetError())
	attempts := map[string]int{}
	for len(attempts) < 6 || attempts["1"] < 2 || attempts["4"] < 2 {
		for _, m := range followers[0].receive(10, long, patience) {
			v := string(m.GetValue())
			attempts[v]++
			if v == "1" || v == "4" {
				require.Equal(t, []string{""}, followers[1].nack(-time.Millisecond, m.GetReceipt()))
			} else {
				require.Equal(t, []string{""}, leader.ack(m.GetReceipt()))
			}
		}
	}
	letters := followers[0].awaitDead(2)
	require.Len(t, letters, 2)
	headers := map[string]string{}
	for _, h := range letters[1].GetMessage().GetHeaders() {
		headers[h.GetKey()] = string(h.GetValue())
	}
	require.NotEmpty(t, headers[deadTime])
	delete(headers, deadTime)
	require.Equal(t, map[string]string{deadTopic: "t", deadQueue: "0", deadOffset: "4", deadGroup: "g", deadAttempts: "2", deadReason: "max attempts"}, headers)
	require.Equal(t, "4", string(letters[1].GetMessage().GetValue()))
	require.Zero(t, leader.lag("g"))
	require.Equal(t, int64(2), leader.lag(deadLetters("g")))
	require.Equal(t, []string{"1", "4"}, leader.pullAll(deadLetters("g"), 0))
	leader.kill()
	leader, followers = c.leader(followers...)

	redrive := func(n *node, dry bool, offsets ...int64) []*brokerv1.Redriven {
		resp, err := n.work().RedriveDeadLetters(n.ctx(), &brokerv1.RedriveDeadLettersRequest{Group: "g", Offsets: offsets, DryRun: dry})
		require.NoError(t, err)
		return resp.GetResults()
	}
	plan := redrive(leader, true, 1, 7)
	require.Equal(t, "t", plan[0].GetTopic())
	require.Equal(t, string(CodeOffsetTooHigh), plan[1].GetError().GetCode())
	require.Equal(t, int64(6), redrive(followers[0], false, 1)[0].GetNewOffset())
	require.True(t, redrive(leader, false, 1)[0].GetBefore())
	require.Len(t, leader.deadLetters(false), 1)
	require.Len(t, leader.deadLetters(true), 2)
	again := leader.receive(10, long, patience)
	require.Equal(t, []string{"4"}, valuesOf(again))
	require.Equal(t, uint32(1), again[0].GetAttempt())
	for _, h := range again[0].GetHeaders() {
		require.False(t, strings.HasPrefix(h.GetKey(), deadHeaders), h.GetKey())
	}
	require.Empty(t, leader.receive(10, long, 0))
}

// TestWorkSurvivesTheLeader: attempts, what is done and what waits are as they were; an
// acknowledgement of what the former leader gave out is taken.
func TestWorkSurvivesTheLeader(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	queue := leader.createTopic("t", 1)[0]
	leader.createWorkGroup("g", &brokerv1.WorkPolicy{MaxAttempts: 9, BackoffMinMs: 1, BackoffMaxMs: 1})
	leader.fillSingly(queue, 5)
	got := leader.receive(5, long, patience)
	require.Len(t, got, 5)
	require.Equal(t, []string{""}, leader.ack(got[0].GetReceipt()))
	require.Equal(t, []string{""}, leader.ack(got[3].GetReceipt()))
	require.Equal(t, []string{""}, leader.nack(0, got[1].GetReceipt()))
	require.Equal(t, []string{""}, leader.nack(time.Hour, got[2].GetReceipt()))
	leader.kill()
	leader, _ = c.leader(followers...)
	require.Equal(t, []string{""}, followers[0].ack(got[4].GetReceipt()), "nobody else was given it")
	left := leader.receive(5, long, patience)
	require.Equal(t, []string{"1"}, valuesOf(left))
	require.Equal(t, uint32(2), left[0].GetAttempt())
	require.Empty(t, leader.receive(5, long, 0))
	require.Equal(t, []string{string(CodeReceiptExpired)}, leader.nack(0, got[1].GetReceipt()), "it was given out anew")
	require.Equal(t, []string{""}, leader.ack(left[0].GetReceipt()))
	require.Equal(t, int64(3), leader.lag("g"))
}

// TestReceiptsAreRead: only what a broker wrote is a receipt.
func TestReceiptsAreRead(t *testing.T) {
	r := receipt{group: 5, queue: 7, epoch: 1 << 40, offset: 99, attempt: 3, term: 4, seq: 1 << 33}
	got, err := parseReceipt(r.String())
	require.NoError(t, err)
	require.Equal(t, r, got)
	for _, text := range []string{"", "w", "w-1-2-3-4-5-6", "w-1-2-3-4-5-6-7-8", "x-1-2-3-4-5-6-7", "w-01-2-3-4-5-6-7", "w-1-fffffffff-3-4-5-6-7", "w-1-2-3-4-ffff-6-7", "w-1-2-3-ffffffffffffffff-5-6-7"} {
		_, err := parseReceipt(text)
		require.Error(t, err, text)
	}
}

// TestTraceOfWork: what a work-queue group knows of a single message is told.
func TestTraceOfWork(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{})
	n.fillSingly(queue, 4)
	got := n.receive(3, long, patience)
	require.Equal(t, []string{""}, n.ack(got[1].GetReceipt()))
	require.Equal(t, []string{""}, n.nack(time.Hour, got[2].GetReceipt()))
	trace := func(offset int64) *brokerv1.TracedGroup {
		resp, err := brokerv1.NewQueryServiceClient(n.conn).TraceMessage(n.ctx(), &brokerv1.TraceMessageRequest{Topic: "t", Offset: offset})
		require.NoError(t, err)
		require.Len(t, resp.GetGroups(), 1)
		require.True(t, resp.GetGroups()[0].GetWork())
		return resp.GetGroups()[0]
	}
	require.False(t, trace(0).GetPast())
	require.Greater(t, trace(0).GetLeasedUntilUnixMs(), time.Now().UnixMilli())
	require.True(t, trace(1).GetPast(), "though the group's floor is below it")
	require.Zero(t, trace(1).GetLeasedUntilUnixMs())
	require.Equal(t, uint32(1), trace(2).GetAttempts())
	require.Greater(t, trace(2).GetVisibleAtUnixMs(), time.Now().UnixMilli())
	require.Zero(t, trace(3).GetAttempts()+uint32(trace(3).GetLeasedUntilUnixMs()))
}
