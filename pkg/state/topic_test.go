package state

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/batch"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

func createWith(t testing.TB, name string, queues uint32, s *recordv1.TopicSettings) Entry {
	return commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_CreateTopic{CreateTopic: &recordv1.CreateTopic{Name: name, Queues: queues, Settings: s}}})
}

func alterEntry(t testing.TB, name string, queues uint32, s *recordv1.TopicSettings) Entry {
	return commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_AlterTopic{AlterTopic: &recordv1.AlterTopic{Name: name, Queues: queues, Settings: s}}})
}

func trimEntry(t testing.TB, queue QueueID, to Offset) Entry {
	return commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_TrimQueues{TrimQueues: &recordv1.TrimQueues{
		Offsets: []*recordv1.QueueOffset{{QueueId: uint32(queue), Offset: int64(to)}},
	}}})
}

func graceEntry(t testing.TB, name string, now, grace int64) Entry {
	return commandEntry(t, &recordv1.Command{TimeUnixMs: now, Kind: &recordv1.Command_DeleteTopic{DeleteTopic: &recordv1.DeleteTopic{Name: name, GraceMs: grace}}})
}

func undeleteEntry(t testing.TB, name string) Entry {
	return commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_UndeleteTopic{UndeleteTopic: &recordv1.UndeleteTopic{Name: name}}})
}

func purgeEntry(t testing.TB, upTo int64) Entry {
	return commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_PurgeDeleted{PurgeDeleted: &recordv1.PurgeDeleted{UpToUnixMs: upTo, Limit: MaxPurge}}})
}

func ofType(kind TopicType) *recordv1.TopicSettings {
	return &recordv1.TopicSettings{Type: new(uint32(kind))}
}

// TestTopicTypes: each type takes its own messages and refuses the others by name, MIXED
// takes all.
func TestTopicTypes(t *testing.T) {
	s := open(t)
	apply(t, s, groupEntry(t, "g"))
	stamps := map[TopicType]batch.Stamp{
		TypeNormal: {}, TypeFIFO: {Grouped: true}, TypeDelay: {DeliverAt: 5}, TypeTransaction: {TransactionGroup: 1},
	}
	for kind := TypeMixed; kind <= TypeTransaction; kind++ {
		o := apply(t, s, createWith(t, kind.String(), 1, ofType(kind)))[0]
		require.Equal(t, kind, o.Topic.Settings.Type)
		for came, stamp := range stamps {
			stamp.Queue = uint32(o.Topic.Queues[0])
			got := apply(t, s, batchEntry(t, stamp, 1))[0]
			if kind == came || kind == TypeMixed {
				require.Empty(t, got.Code, "%v in %v", came, kind)
				continue
			}
			require.Equal(t, CodeMessageTypeMismatch, got.Code)
			require.Contains(t, got.Message, "takes "+kind.String())
			require.Contains(t, got.Message, "of "+came.String())
		}
	}
	require.Equal(t, CodeInvalidTopicSettings, apply(t, s, createWith(t, "x", 1, ofType(5)))[0].Code)
}

// TestResendPassesAnAlteredTopic: what is stored is a duplicate, whatever its topic takes
// by now.
func TestResendPassesAnAlteredTopic(t *testing.T) {
	s := open(t)
	o := apply(t, s, registerEntry(t, ""), createEntry(t, "a", 1))
	stamp := batch.Stamp{Queue: uint32(o[1].Topic.Queues[0]), ProducerID: o[0].ProducerID}
	sent := batchEntry(t, stamp, 1)
	apply(t, s, sent, trimEntry(t, 1, 1))
	require.Empty(t, apply(t, s, alterEntry(t, "a", 0, ofType(TypeFIFO)))[0].Code)
	again := apply(t, s, sent)[0]
	require.True(t, again.Duplicate)
	require.Equal(t, Offset(0), again.BaseOffset)
	stamp.FirstSequence = 1
	require.Equal(t, CodeMessageTypeMismatch, apply(t, s, batchEntry(t, stamp, 1))[0].Code)
}

func TestTypeChangesOnlyWhereNothingContradicts(t *testing.T) {
	s := open(t)
	apply(t, s, createEntry(t, "a", 2), batchEntry(t, batch.Stamp{Queue: 2}, 3))
	require.Equal(t, CodeInvalidTopicChange, apply(t, s, alterEntry(t, "a", 0, ofType(TypeNormal)))[0].Code)
	apply(t, s, trimEntry(t, 2, 2))
	require.Equal(t, CodeInvalidTopicChange, apply(t, s, alterEntry(t, "a", 0, ofType(TypeNormal)))[0].Code)
	apply(t, s, trimEntry(t, 2, 3), batchEntry(t, batch.Stamp{Queue: 1, DeliverAt: 9}, 1))
	require.Equal(t, CodeInvalidTopicChange, apply(t, s, alterEntry(t, "a", 0, ofType(TypeNormal)))[0].Code, "one waits")
	apply(t, s, dueEntry(t, 9, 1), trimEntry(t, 1, 1))
	require.Empty(t, apply(t, s, alterEntry(t, "a", 0, ofType(TypeNormal)))[0].Code)
	apply(t, s, batchEntry(t, batch.Stamp{Queue: 2}, 1))
	require.Empty(t, apply(t, s, alterEntry(t, "a", 0, ofType(TypeMixed)))[0].Code, "MIXED takes what is there")
}

// TestTopicsGrow: queue ids are never reused and never move, also where others lie between.
func TestTopicsGrow(t *testing.T) {
	fs := vfs.NewMem()
	s := openIn(t, fs)
	apply(t, s, createEntry(t, "a", 2), createEntry(t, "b", 1))
	o := apply(t, s, alterEntry(t, "a", 4, nil))[0]
	require.Equal(t, []QueueID{1, 2, 4, 5}, o.Topic.Queues)
	require.Equal(t, NoIndex, o.Topic.Since(1))
	require.Equal(t, Index(2), o.Topic.Since(2))
	require.Equal(t, CodeInvalidTopicChange, apply(t, s, alterEntry(t, "a", 3, nil))[0].Code)
	require.Equal(t, CodeLimitExceeded, apply(t, s, alterEntry(t, "a", MaxQueuesPerTopic+1, nil))[0].Code)
	require.Empty(t, apply(t, s, alterEntry(t, "a", 4, nil))[0].Code, "as it is")
	require.Equal(t, CodeUnknownTopic, apply(t, s, alterEntry(t, "c", 4, nil))[0].Code)
	for q := uint32(1); q <= 5; q++ {
		apply(t, s, batchEntry(t, batch.Stamp{Queue: q}, int(q)))
	}
	require.NoError(t, s.Close())
	s = openIn(t, fs)
	defer s.Abandon()
	topic, _ := s.Topic("a")
	require.Equal(t, o.Topic, topic)
	name, number, _ := s.TopicOfQueue(5)
	require.Equal(t, "a", name)
	require.Equal(t, 3, number)

	apply(t, s, deleteEntry(t, "a"))
	_, end, ok := s.QueueRange(3)
	require.True(t, ok, "the queue between belongs to another topic")
	require.Equal(t, Offset(3), end)
	got, err := s.Locate(3, 0, 1)
	require.NoError(t, err)
	require.Len(t, got, 1)
	for _, line := range dump(t, s) {
		require.False(t, strings.HasPrefix(line, `"b\x00\x00\x00\x04`), line)
	}
	require.Equal(t, []QueueID{6}, apply(t, s, createEntry(t, "a", 1))[0].Topic.Queues)
}

// TestTrimKeepsTheEnd: postings below go, the queue's end and what is above stay, over
// reopenings and inside of blocks and batches.
func TestTrimKeepsTheEnd(t *testing.T) {
	fs := vfs.NewMem()
	s := openIn(t, fs)
	apply(t, s, createEntry(t, "a", 2), registerEntry(t, ""))
	for range 5*BlockBatches + 3 {
		apply(t, s, batchEntry(t, batch.Stamp{Queue: 1}, 2))
	}
	_, end, _ := s.QueueRange(1)
	blocks := func() (n int) {
		for _, line := range dump(t, s) {
			if strings.HasPrefix(line, `"b`) {
				n++
			}
		}
		return n
	}
	require.Equal(t, 6, blocks())
	for _, cut := range []struct {
		to     Offset
		blocks int
	}{{1, 6}, {2*BlockBatches - 1, 6}, {2 * BlockBatches, 5}, {2*BlockBatches + 5, 5}, {9 * BlockBatches, 2}, {end, 1}, {3, 1}} {
		o := apply(t, s, trimEntry(t, 1, cut.to))[0]
		require.Empty(t, o.Code)
		first, now, _ := s.QueueRange(1)
		require.Equal(t, end, now)
		require.Equal(t, max(first, cut.to), first, "it never falls")
		require.Equal(t, cut.blocks, blocks(), "trimmed to %d", cut.to)
		_, err := s.Locate(1, first-1, 1)
		require.ErrorIs(t, err, ErrOffsetTooLow)
		got, err := s.Locate(1, first, 1)
		require.NoError(t, err)
		if first < end {
			require.Equal(t, first/2*2, got[0].BaseOffset)
		}
		require.NoError(t, s.Retain(0))
		require.NoError(t, s.Close())
		s = openIn(t, fs)
		again, now, _ := s.QueueRange(1)
		require.Equal(t, first, again)
		require.Equal(t, end, now)
	}
	require.Equal(t, end, apply(t, s, batchEntry(t, batch.Stamp{Queue: 1}, 1))[0].BaseOffset)
	apply(t, s, trimEntry(t, 1, 1<<40), trimEntry(t, 99, 5))
	first, now, _ := s.QueueRange(1)
	require.Equal(t, now, first)
	s.Abandon()
}

// TestDeletedTopicsCanBeHadBack with all that they held and what waits for them, until
// they are purged.
func TestDeletedTopicsCanBeHadBack(t *testing.T) {
	fs := vfs.NewMem()
	s := openIn(t, fs)
	apply(t, s, createEntry(t, "a", 2), batchEntry(t, batch.Stamp{Queue: 1}, 3), batchEntry(t, batch.Stamp{Queue: 2, DeliverAt: 50}, 1))
	o := apply(t, s, graceEntry(t, "a", 1_000, 500))[0]
	require.True(t, o.TopicGone)
	_, ok := s.Topic("a")
	require.False(t, ok)
	refused := apply(t, s, batchEntry(t, batch.Stamp{Queue: 1}, 1), createEntry(t, "a", 1), graceEntry(t, "a", 1_100, 500), alterEntry(t, "a", 3, nil))
	for _, o := range refused {
		require.Equal(t, CodeTopicDeleted, o.Code)
		require.Contains(t, o.Message, "until 1970-01-01T00:00:01Z")
	}
	apply(t, s, dueEntry(t, 50, 1), purgeEntry(t, 1_499))
	require.NoError(t, s.Close())
	s = openIn(t, fs)
	require.Equal(t, int64(1_500), s.Hidden(1))
	require.Equal(t, 1.0, testutil.ToFloat64(s.metrics.deleted))
	require.Empty(t, apply(t, s, undeleteEntry(t, "a"))[0].Code)
	require.Equal(t, CodeTopicNotDeleted, apply(t, s, undeleteEntry(t, "a"))[0].Code)
	require.Zero(t, s.Hidden(1))
	require.Zero(t, testutil.ToFloat64(s.metrics.deleted))
	require.Equal(t, Offset(3), apply(t, s, batchEntry(t, batch.Stamp{Queue: 1}, 1))[0].BaseOffset)
	require.Equal(t, Offset(1), apply(t, s, batchEntry(t, batch.Stamp{Queue: 2}, 1))[0].BaseOffset, "it was delivered meanwhile")

	apply(t, s, graceEntry(t, "a", 2_000, 500), purgeEntry(t, 2_500))
	require.Equal(t, CodeUnknownTopic, apply(t, s, undeleteEntry(t, "a"))[0].Code)
	for _, line := range dump(t, s) {
		require.NotContains(t, "btowd", line[1:2], line)
	}
	require.Equal(t, CodeLimitExceeded, func() string {
		apply(t, s, createEntry(t, "b", 1))
		return apply(t, s, graceEntry(t, "b", 0, MaxDeleteGraceMs+1))[0].Code
	}())
	apply(t, s, graceEntry(t, "b", 0, 5), deleteEntry(t, "b"))
	require.Empty(t, s.AllTopics(), "a delete without a grace does not wait for it")
	s.Abandon()
}

func TestSettingsHaveBounds(t *testing.T) {
	for name, bad := range map[string]TopicSettings{
		"type":      {Type: 5},
		"bytes":     {MaxMessageBytes: MinMaxMessageBytes - 1},
		"bytes up":  {MaxMessageBytes: batch.MaxBatchBytes + 1},
		"retention": {RetentionMs: MinRetentionMs - 1},
		"for ever":  {RetentionMs: MaxRetentionMs + 1},
		"negative":  {RetentionMs: -1},
		"messages":  {RetentionMessages: -1},
		"many":      {RetentionMessages: MaxRetained + 1},
	} {
		require.NotEmpty(t, bad.Check(), name)
	}
	require.Empty(t, TopicSettings{TypeFIFO, MinMaxMessageBytes, MaxRetentionMs, MaxRetained}.Check())
	s := open(t)
	apply(t, s, createWith(t, "a", 1, &recordv1.TopicSettings{MaxMessageBytes: new(uint32(MinMaxMessageBytes))}))
	require.Equal(t, CodeMessageTooLarge, apply(t, s, batchEntry(t, batch.Stamp{Queue: 1}, 200))[0].Code)
	require.Empty(t, apply(t, s, batchEntry(t, batch.Stamp{Queue: 1}, 10))[0].Code)
	o := apply(t, s, alterEntry(t, "a", 0, &recordv1.TopicSettings{RetentionMs: new(int64(5_000))}))[0]
	require.Equal(t, TopicSettings{MaxMessageBytes: MinMaxMessageBytes, RetentionMs: 5_000}, o.Topic.Settings, "what is not named stays")
}

// TestHistoriesHaveTopics keeps the made-up histories worth comparing.
func TestHistoriesHaveTopics(t *testing.T) {
	h := madeUp(t, 1, 4_000)
	seen := map[string]int{}
	for i, e := range h.entries {
		o := h.want[i]
		seen[o.Code]++
		if e.Type != EntryCommand || o.Code != "" || o.Duplicate {
			continue
		}
		c, err := parseCommand(&e)
		require.NoError(t, err)
		switch c.GetKind().(type) {
		case *recordv1.Command_TrimQueues:
			seen["trimmed"] += int(o.Count)
		case *recordv1.Command_PurgeDeleted:
			seen["purged"] += int(o.Count)
		case *recordv1.Command_UndeleteTopic:
			seen["undeleted"]++
		case *recordv1.Command_AlterTopic:
			if n := len(o.Topic.Growths); n > 0 && o.Topic.Growths[n-1].Index == e.Index {
				seen["grown"]++
			}
		}
	}
	for _, want := range []string{
		CodeTopicDeleted, CodeTopicNotDeleted, CodeInvalidTopicChange, CodeMessageTypeMismatch, "trimmed", "purged", "undeleted", "grown",
	} {
		require.Greater(t, seen[want], 1, "%s: %v", want, seen)
	}
}

// TestTrimWithWhatItTrims: in one call or in many, the same keys and values are left.
func TestTrimWithWhatItTrims(t *testing.T) {
	entries := []Entry{createEntry(t, "a", 1)}
	for i := range 4 * BlockBatches {
		entries = append(entries, batchEntry(t, batch.Stamp{Queue: 1}, 1))
		if i%100 == 99 {
			entries = append(entries, trimEntry(t, 1, Offset(i-20)))
		}
	}
	s := open(t)
	apply(t, s, entries...)
	one := open(t)
	for i := range entries {
		apply(t, one, entries[i])
	}
	require.Equal(t, dump(t, one), dump(t, s))
	first, _, _ := s.QueueRange(1)
	require.Equal(t, Offset(179), first)
}

// TestGoldenTopics holds version 2 of topics still, and the hash of what is done to them.
func TestGoldenTopics(t *testing.T) {
	s := open(t)
	full := &recordv1.TopicSettings{
		Type: new(uint32(TypeFIFO)), MaxMessageBytes: new(uint32(4_096)), RetentionMs: new(int64(60_000)), RetentionMessages: new(int64(1_000)),
	}
	apply(t, s, createWith(t, "orders", 2, full), createEntry(t, "plain", 1), alterEntry(t, "orders", 3, nil),
		batchEntry(t, batch.Stamp{Queue: 4, Grouped: true}, 3), trimEntry(t, 4, 2), graceEntry(t, "orders", 1_700_000_000_000, 3_600_000),
		createEntry(t, "gone", 1), graceEntry(t, "gone", 5, 5), purgeEntry(t, 10), graceEntry(t, "plain", 5, 5), undeleteEntry(t, "plain"))
	got := strings.Join(dump(t, s), "\n") + "\n"
	path := filepath.Join("testdata", "topics-v2.txt")
	if *rewriteGolden {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Fatalf("the layout of topics has changed (-golden +now):\n%s", diff)
	}
}

// TestNewerTopicCommandsStop: a field that this build does not know, however deep, stops
// the member instead of being skipped.
func TestNewerTopicCommandsStop(t *testing.T) {
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)
	for name, e := range map[string]Entry{
		"create": createWith(t, "a", 1, ofType(TypeFIFO)), "alter": alterEntry(t, "a", 2, ofType(TypeFIFO)), "trim": trimEntry(t, 1, 1),
		"delete": deleteEntry(t, "a"), "undelete": undeleteEntry(t, "a"), "purge": purgeEntry(t, 1),
	} {
		t.Run(name, func(t *testing.T) {
			known, err := parseCommand(&e)
			require.NoError(t, err)
			var deepest []proto.Message
			switch kind := known.GetKind().(type) {
			case *recordv1.Command_CreateTopic:
				deepest = []proto.Message{kind.CreateTopic, kind.CreateTopic.GetSettings()}
			case *recordv1.Command_AlterTopic:
				deepest = []proto.Message{kind.AlterTopic, kind.AlterTopic.GetSettings()}
			case *recordv1.Command_TrimQueues:
				deepest = []proto.Message{kind.TrimQueues, kind.TrimQueues.GetOffsets()[0]}
			case *recordv1.Command_DeleteTopic:
				deepest = []proto.Message{kind.DeleteTopic}
			case *recordv1.Command_UndeleteTopic:
				deepest = []proto.Message{kind.UndeleteTopic}
			case *recordv1.Command_PurgeDeleted:
				deepest = []proto.Message{kind.PurgeDeleted}
			}
			for _, m := range deepest {
				m.ProtoReflect().SetUnknown(unknown)
				newer := commandEntry(t, known)
				_, err := parseCommand(&newer)
				require.ErrorIs(t, err, ErrUnsupported)
				m.ProtoReflect().SetUnknown(nil)
			}
		})
	}
}
