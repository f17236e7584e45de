package state

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"github.com/ledgermq/ledgermq/pkg/batch"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

func openIn(t testing.TB, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open(Config{Dir: "state", FS: fs, MemTableBytes: 256 << 10, CacheBytes: 1 << 20})
	require.NoError(t, err)
	return s
}

// open makes an empty store that is closed with the test.
func open(t testing.TB) *Store {
	t.Helper()
	s := openIn(t, vfs.NewMem())
	t.Cleanup(s.Abandon)
	return s
}

// apply applies the bodies as entries behind what is applied.
func apply(t testing.TB, s *Store, entries ...Entry) []Outcome {
	t.Helper()
	for i := range entries {
		entries[i].Index, entries[i].Term = s.Applied()+1+Index(i), 1
	}
	outcomes, err := s.Apply(entries)
	require.NoError(t, err)
	require.Len(t, outcomes, len(entries))
	return outcomes
}

func createEntry(t testing.TB, name string, queues uint32) Entry {
	return commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_CreateTopic{CreateTopic: &recordv1.CreateTopic{Name: name, Queues: queues}}})
}

func deleteEntry(t testing.TB, name string) Entry {
	return commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_DeleteTopic{DeleteTopic: &recordv1.DeleteTopic{Name: name}}})
}

func registerEntry(t testing.TB, name string) Entry {
	return commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_RegisterProducer{RegisterProducer: &recordv1.RegisterProducer{Name: name}}})
}

func commandEntry(t testing.TB, c *recordv1.Command) Entry {
	t.Helper()
	return Entry{Type: EntryCommand, Body: commandBody(t, c)}
}

func batchEntry(t testing.TB, s batch.Stamp, records int) Entry {
	t.Helper()
	return Entry{Type: EntryBatch, Body: batchBody(t, s, records, 1)}
}

// TestAgainstModel applies made-up histories in random groups and compares every
// outcome and everything that can be read with the model.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := openIn(t, vfs.NewMem())
		defer s.Abandon()
		h := newHistorian(t, func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "choice") })
		for range rapid.IntRange(1, 12).Draw(rt, "groups") {
			var group []Entry
			var want []Outcome
			for range rapid.IntRange(1, 30).Draw(rt, "group") {
				e, o := h.next()
				group, want = append(group, e), append(want, o)
			}
			got, err := s.Apply(group)
			require.NoError(rt, err)
			for i := range got {
				if diff := cmp.Diff(want[i], withoutMessage(got[i])); diff != "" {
					rt.Fatalf("entry %d (-model +store):\n%s", group[i].Index, diff)
				}
				require.Equal(rt, got[i].Code != "", got[i].Message != "", "a refusal says why")
			}
			compare(rt, h.m, s)
		}
	})
}

// compare checks what readers see against the model.
func compare(t require.TestingT, m *model, s *Store) {
	require.Equal(t, m.index, s.Applied())
	require.Len(t, s.AllTopics(), len(m.topics))
	for name, topic := range m.topics {
		got, ok := s.AnyTopic(name)
		require.True(t, ok)
		require.Equal(t, topic, got)
		_, ok = s.Topic(name)
		require.Equal(t, topic.UndeleteUntilUnixMs == 0, ok)
		for i, id := range topic.Queues {
			gotName, number, ok := s.TopicOfQueue(id)
			require.True(t, ok)
			require.Equal(t, name, gotName)
			require.Equal(t, i, number)
			require.Equal(t, topic.UndeleteUntilUnixMs, s.Hidden(id))
		}
	}
	held, err := s.HeldBefore(math.MaxInt64, 1_000)
	require.NoError(t, err)
	require.Equal(t, m.held(), held)
	require.Equal(t, len(m.delayed), s.Waiting().Delayed)
	require.Equal(t, len(m.halves), s.Waiting().Transactions)
	compareProducers(t, m, s)
	floor, err := s.Floor(m.index / 2)
	require.NoError(t, err)
	require.LessOrEqual(t, floor, m.floor(m.index/2))
	for id := QueueID(1); id <= m.lastQueue+1; id++ {
		compareQueue(t, m.queues[id], s, id)
	}
}

func compareQueue(t require.TestingT, q *modelQueue, s *Store, id QueueID) {
	first, end, ok := s.QueueRange(id)
	require.Equal(t, q != nil, ok)
	if q == nil {
		_, err := s.Locate(id, 0, 1)
		require.ErrorIs(t, err, ErrUnknownQueue)
		return
	}
	require.Equal(t, q.trimmed, first)
	require.Equal(t, q.end(), end)
	for i, b := range q.batches {
		from := b.BaseOffset + Offset(i)%Offset(b.Count)
		got, err := s.Locate(id, from, 3)
		if from < q.trimmed {
			require.ErrorIs(t, err, ErrOffsetTooLow)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, q.batches[i:min(i+3, len(q.batches))], got)
	}
	got, err := s.Locate(id, end, 1)
	require.NoError(t, err)
	require.Empty(t, got)
	_, err = s.Locate(id, end+1, 1)
	require.ErrorIs(t, err, ErrOffsetTooHigh)
	_, err = s.Locate(id, -1, 1)
	require.ErrorIs(t, err, ErrOffsetTooLow)
}

func TestApplyRefusesWhatDoesNotFollow(t *testing.T) {
	s := open(t)
	noop := func(i Index, term Term) Entry { return Entry{Index: i, Term: term, Type: EntryNoop} }
	for _, entries := range [][]Entry{
		{noop(1, 1)},
		{noop(0, 1), noop(2, 1)},
		{noop(0, 2), noop(1, 1)},
	} {
		_, err := s.Apply(entries)
		require.ErrorContains(t, err, "does not follow")
		require.Equal(t, NoIndex, s.Applied())
	}
	_, err := s.Apply([]Entry{noop(0, 3)})
	require.NoError(t, err)
	_, err = s.Apply([]Entry{noop(0, 3)})
	require.ErrorContains(t, err, "entry 0 of term 3 does not follow entry 0")
	outcomes, err := s.Apply(nil)
	require.NoError(t, err)
	require.Empty(t, outcomes)
}

func TestUnsupportedEntriesStopTheMember(t *testing.T) {
	newer := protowire.AppendVarint(protowire.AppendTag(nil, 500, protowire.VarintType), 1)
	create := commandBody(t, &recordv1.Command{Kind: &recordv1.Command_CreateTopic{CreateTopic: &recordv1.CreateTopic{Name: "a", Queues: 1}}})
	nested := append([]byte{0, 0, 0, 0}, protowire.AppendBytes(protowire.AppendTag(nil, 4, protowire.BytesType), newer)...)
	newerBatch := batchBody(t, batch.Stamp{Queue: 1}, 1, 1)
	newerBatch[6]++ // its version
	cases := map[string]Entry{
		"type 0":             {Type: 0},
		"type 6":             {Type: 6},
		"type 9":             {Type: 9},
		"no kind":            {Type: EntryCommand, Body: commandBody(t, &recordv1.Command{RequestId: "x"})},
		"another kind":       {Type: EntryCommand, Body: append([]byte{0, 0, 0, 0}, newer...)},
		"another field":      {Type: EntryCommand, Body: append(create, newer...)},
		"field in a command": {Type: EntryCommand, Body: nested},
		"no command":         {Type: EntryCommand, Body: []byte{0, 0, 0, 0, 255}},
		"no body":            {Type: EntryCommand},
		"no batch":           {Type: EntryBatch, Body: []byte("no batch")},
		"a newer batch":      {Type: EntryBatch, Body: newerBatch},
		"a longer batch":     {Type: EntryBatch, Body: append(batchBody(t, batch.Stamp{Queue: 1}, 1, 1), 0)},
	}
	for name, e := range cases {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			good := createEntry(t, "topic", 1)
			good.Index, good.Term = 0, 1
			e.Index, e.Term = 1, 1
			outcomes, err := s.Apply([]Entry{good, e, {Index: 2, Term: 1, Type: EntryNoop}})
			var unsupported *UnsupportedError
			require.ErrorAs(t, err, &unsupported)
			require.ErrorIs(t, err, ErrUnsupported)
			require.Equal(t, Index(1), unsupported.Index)
			require.Len(t, outcomes, 1, "what stands before is applied")
			require.Equal(t, Index(0), s.Applied())
			_, ok := s.Topic("topic")
			require.True(t, ok)

			before, _, err := s.FullHash()
			require.NoError(t, err)
			_, err = s.Apply([]Entry{e})
			require.ErrorIs(t, err, ErrUnsupported, "and again")
			after, at, err := s.FullHash()
			require.NoError(t, err)
			require.Equal(t, before, after)
			require.Equal(t, Index(0), at)
		})
	}
}

func TestRetriedRequestsFindTheirFirstOutcome(t *testing.T) {
	fs := vfs.NewMem()
	s := openIn(t, fs)
	with := func(id string, e Entry) Entry {
		c, err := parseCommand(&e)
		require.NoError(t, err)
		c.RequestId = id
		return commandEntry(t, c)
	}
	entries := []Entry{
		with("1", createEntry(t, "a", 2)),
		with("2", createEntry(t, "a", 2)),
		with("3", registerEntry(t, "anna")),
		with("4", registerEntry(t, "")),
		with("5", deleteEntry(t, "a")),
		with("6", deleteEntry(t, "a")),
	}
	first := apply(t, s, entries...)
	require.Equal(t, []string{"", CodeTopicExists, "", "", "", CodeUnknownTopic},
		[]string{first[0].Code, first[1].Code, first[2].Code, first[3].Code, first[4].Code, first[5].Code})
	check := func() {
		again := apply(t, s, entries...)
		for i := range again {
			require.True(t, again[i].Duplicate)
			require.Equal(t, first[i].Code != "", again[i].Message != "")
			again[i].Duplicate, again[i].TopicGone = false, first[i].TopicGone
			require.Equal(t, withoutMessage(first[i]), withoutMessage(again[i]))
		}
		_, ok := s.Topic("a")
		require.False(t, ok)
	}
	check()
	require.NoError(t, s.Close())
	s = openIn(t, fs)
	defer s.Abandon()
	check()

	same := apply(t, s, with("1", createEntry(t, "a", 3)), with("", createEntry(t, "b", 1)), with("", createEntry(t, "b", 1)))
	require.Equal(t, CodeOK, same[0].Code, "another command with the same id is another request")
	require.Equal(t, CodeTopicExists, same[2].Code, "no id, no memory")
	long := apply(t, s, with(strings.Repeat("x", MaxRequestIDBytes+1), createEntry(t, "c", 1)))
	require.Equal(t, CodeLimitExceeded, long[0].Code)
}

func TestRequestMemoryIsBounded(t *testing.T) {
	fs := vfs.NewMem()
	s := openIn(t, fs)
	register := func(i int) Entry {
		c := &recordv1.Command{RequestId: fmt.Sprint(i), Kind: &recordv1.Command_RegisterProducer{RegisterProducer: &recordv1.RegisterProducer{}}}
		return commandEntry(t, c)
	}
	for i := 0; i < 2*RequestMemory+10; i += 100 {
		var group []Entry
		for j := i; j < min(i+100, 2*RequestMemory+10); j++ {
			group = append(group, register(j))
		}
		apply(t, s, group...)
	}
	require.Equal(t, RequestMemory, s.work.requests.len())
	require.Len(t, s.work.requests.outcomes, RequestMemory)
	require.NoError(t, s.Close())
	s = openIn(t, fs)
	defer s.Abandon()
	require.Equal(t, RequestMemory, s.work.requests.len())
	oldest := RequestMemory + 10
	o := apply(t, s, register(oldest), register(oldest-1))
	require.True(t, o[0].Duplicate)
	require.Equal(t, uint64(oldest+1), o[0].ProducerID)
	require.False(t, o[1].Duplicate, "the oldest is forgotten")
}

func TestLimitsAndNames(t *testing.T) {
	s := open(t)
	for name, code := range map[string]string{
		"": CodeInvalidTopicName, ".": CodeInvalidTopicName, "..": CodeInvalidTopicName, "a b": CodeInvalidTopicName, "ä": CodeInvalidTopicName,
		"a/b": CodeInvalidTopicName, "a\n": CodeInvalidTopicName, strings.Repeat("x", 128): CodeInvalidTopicName, strings.Repeat("x", 1<<20): CodeInvalidTopicName,
		"%DLQ%group": CodeOK, "a|b": CodeOK, "A.b_c-9": CodeOK, strings.Repeat("x", 127): CodeOK,
	} {
		o := apply(t, s, createEntry(t, name, 1))[0]
		require.Equal(t, code, o.Code, name)
		require.Less(t, len(o.Message), 500)
	}
	require.Equal(t, CodeLimitExceeded, apply(t, s, createEntry(t, "none", 0))[0].Code)
	require.Equal(t, CodeLimitExceeded, apply(t, s, createEntry(t, "many", MaxQueuesPerTopic+1))[0].Code)
	require.Equal(t, CodeOK, apply(t, s, createEntry(t, "many", MaxQueuesPerTopic))[0].Code)
	require.Equal(t, CodeLimitExceeded, apply(t, s, registerEntry(t, strings.Repeat("x", MaxProducerNameBytes+1)))[0].Code)

	var group []Entry
	for i := range MaxQueues / MaxQueuesPerTopic {
		group = append(group, createEntry(t, fmt.Sprint("big-", i), MaxQueuesPerTopic))
	}
	outcomes := apply(t, s, group...)
	require.Equal(t, CodeOK, outcomes[0].Code)
	require.Equal(t, CodeLimitExceeded, outcomes[len(outcomes)-1].Code)
	s.work.nextQueue = 1<<32 - 2
	require.Equal(t, CodeOK, apply(t, s, createEntry(t, "last", 1))[0].Code)
	require.Equal(t, CodeLimitExceeded, apply(t, s, createEntry(t, "too-late", 1))[0].Code)
}

func TestTopicLimit(t *testing.T) {
	s := open(t)
	group := make([]Entry, 0, MaxTopics+1)
	for i := range MaxTopics + 1 {
		group = append(group, createEntry(t, fmt.Sprint(i), 1))
	}
	outcomes := apply(t, s, group...)
	require.Equal(t, CodeOK, outcomes[MaxTopics-1].Code)
	require.Equal(t, CodeLimitExceeded, outcomes[MaxTopics].Code)
	require.Equal(t, CodeOK, apply(t, s, deleteEntry(t, "17"), createEntry(t, "new", 1))[1].Code)
}

func TestRecreatedTopicStartsAnew(t *testing.T) {
	s := open(t)
	o := apply(t, s, createEntry(t, "a", 2), registerEntry(t, ""))
	old, producer := o[0].Topic.Queues[1], o[1].ProducerID
	stamp := batch.Stamp{Queue: uint32(old), ProducerID: producer}
	apply(t, s, batchEntry(t, stamp, 5))
	o = apply(t, s, deleteEntry(t, "a"), batchEntry(t, stamp, 5), createEntry(t, "a", 2))
	require.Equal(t, CodeUnknownQueue, o[1].Code)
	require.NotContains(t, o[2].Topic.Queues, old)
	require.Equal(t, CodeUnknownQueue, s.CheckBatch(batch.Header{Queue: uint32(old)}).Code)
	fresh := o[2].Topic.Queues[1]
	require.Equal(t, CodeOK, s.CheckBatch(batch.Header{Queue: uint32(fresh)}).Code)
	_, end, ok := s.QueueRange(fresh)
	require.True(t, ok)
	require.Zero(t, end)
	require.Zero(t, apply(t, s, batchEntry(t, batch.Stamp{Queue: uint32(fresh), ProducerID: producer}, 1))[0].BaseOffset)
}

func TestNamedProducerFencesItsPredecessor(t *testing.T) {
	s := open(t)
	o := apply(t, s, createEntry(t, "a", 1), registerEntry(t, "anna"))
	stamp := batch.Stamp{Queue: 1, ProducerID: o[1].ProducerID, ProducerEpoch: o[1].Epoch}
	require.Equal(t, uint64(2), stamp.ProducerID, "ledger index plus one")
	first := batchEntry(t, stamp, 2)
	require.Equal(t, CodeOK, apply(t, s, first)[0].Code)
	again := apply(t, s, registerEntry(t, "anna"))[0]
	require.Equal(t, stamp.ProducerID, again.ProducerID)
	require.Equal(t, stamp.ProducerEpoch+1, again.Epoch)
	fenced := apply(t, s, first)[0]
	require.Equal(t, CodeProducerFenced, fenced.Code)
	require.Equal(t, `a newer producer of the name "anna" has registered since, so this one can store nothing more (producer 2: epoch 1 by now, the batch has 0)`, fenced.Message)
	stamp.ProducerEpoch++
	require.Equal(t, Offset(2), apply(t, s, batchEntry(t, stamp, 1))[0].BaseOffset, "sequences begin at 0 in each epoch")
	stamp.ProducerEpoch++
	require.Equal(t, CodeUnknownProducer, apply(t, s, batchEntry(t, stamp, 1))[0].Code)
}

// TestNamedProducerGoesOn: who says which identity it continues is fenced if that is over,
// and gets a new one if nobody knows the name.
func TestNamedProducerGoesOn(t *testing.T) {
	s := open(t)
	goesOn := func(id uint64, epoch uint32) Outcome {
		return apply(t, s, commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_RegisterProducer{
			RegisterProducer: &recordv1.RegisterProducer{Name: "anna", ContinuesId: id, ContinuesEpoch: epoch},
		}}))[0]
	}
	fresh := goesOn(77, 3)
	require.Equal(t, Outcome{BaseOffset: NoOffset, ProducerID: 1}, fresh)
	second := goesOn(1, 0)
	require.Equal(t, Outcome{BaseOffset: NoOffset, ProducerID: 1, Epoch: 1}, second)
	for _, o := range []Outcome{goesOn(1, 0), goesOn(1, 2), goesOn(77, 1)} {
		require.Equal(t, CodeProducerFenced, o.Code)
	}
	require.Equal(t, uint32(2), goesOn(1, 1).Epoch)
	require.Equal(t, uint32(3), apply(t, s, registerEntry(t, "anna"))[0].Epoch, "who begins asks nobody")
}

func TestWindowRemembersFiveBatches(t *testing.T) {
	s := open(t)
	apply(t, s, createEntry(t, "a", 1), registerEntry(t, ""))
	var sent []Entry
	for i := range WindowBatches + 1 {
		e := batchEntry(t, batch.Stamp{Queue: 1, ProducerID: 2, FirstSequence: int64(i * 2)}, 2)
		sent = append(sent, e)
		require.Equal(t, Offset(i*2), apply(t, s, e)[0].BaseOffset)
	}
	for i, e := range sent {
		o := apply(t, s, e)[0]
		require.True(t, o.Duplicate)
		require.Equal(t, map[bool]Offset{true: NoOffset, false: Offset(i * 2)}[i == 0], o.BaseOffset)
	}
	_, end, _ := s.QueueRange(1)
	require.Equal(t, Offset(12), end)
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	s, err := Open(Config{Dir: "state", FS: vfs.NewMem(), Registerer: registry})
	require.NoError(t, err)
	defer s.Abandon()
	resend := batchEntry(t, batch.Stamp{Queue: 1, ProducerID: 2}, 1)
	apply(t, s, createEntry(t, "a", 3), registerEntry(t, ""), resend, resend)
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
	require.Equal(t, 1.0, testutil.ToFloat64(s.metrics.topics))
	require.Equal(t, 3.0, testutil.ToFloat64(s.metrics.queues))
	require.Equal(t, 1.0, testutil.ToFloat64(s.metrics.producers))
	require.Equal(t, 1.0, testutil.ToFloat64(s.metrics.duplicates))
	_, err = Open(Config{Dir: "other", FS: vfs.NewMem(), Registerer: registry})
	require.ErrorContains(t, err, "metrics")
}

// TestBackgroundWorkIsCounted has tables that overlap flushed and compacted.
func TestBackgroundWorkIsCounted(t *testing.T) {
	s := open(t)
	apply(t, s, createEntry(t, "a", 3))
	require.NoError(t, s.Flush())
	require.NoError(t, s.Flush()) // nothing to do
	require.Equal(t, 1.0, testutil.ToFloat64(s.metrics.flushes))
	require.Zero(t, testutil.ToFloat64(s.metrics.compactions))
	apply(t, s, registerEntry(t, ""))
	require.NoError(t, s.Flush())
	require.Equal(t, 2.0, testutil.ToFloat64(s.metrics.flushes))
	require.NoError(t, s.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false))
	require.NotZero(t, testutil.ToFloat64(s.metrics.compactions))
}

// madeUp is a history of n entries from a seed.
func madeUp(t testing.TB, seed uint64, n int) *historian {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	h := newHistorian(t, rng.IntN)
	for range n {
		h.next()
	}
	return h
}
