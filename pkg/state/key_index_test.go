package state

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/batch"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

func keyedEntry(t testing.TB, s batch.Stamp, keys ...string) Entry {
	t.Helper()
	b, err := batch.NewBuilder(batch.BuilderConfig{})
	require.NoError(t, err)
	for _, key := range keys {
		r := batch.Record{Timestamp: 1, Value: []byte("value"), Key: []byte(key), MessageID: "id-" + key}
		require.NoError(t, b.Append(&r))
	}
	body, err := b.Build(s)
	require.NoError(t, err)
	return Entry{Type: EntryBatch, Body: body}
}

func createIndexedEntry(t testing.TB, name string, queues uint32) Entry {
	return commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_CreateTopic{CreateTopic: &recordv1.CreateTopic{Name: name, Queues: queues, KeyIndex: true}}})
}

func keyIndexEntry(t testing.TB, topic string, on bool) Entry {
	return commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_SetKeyIndex{SetKeyIndex: &recordv1.SetKeyIndex{Topic: topic, On: on}}})
}

func trimKeysEntry(t testing.TB, q QueueID, below Offset) Entry {
	return commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_TrimKeyIndex{TrimKeyIndex: &recordv1.TrimKeyIndex{
		Offsets: []*recordv1.QueueOffset{{QueueId: uint32(q), Offset: int64(below)}},
	}}})
}

// findAll is FindKey until its end.
func findAll(t require.TestingT, s *Store, q QueueID, h KeyHash, from Offset, limit int) (all []Offset) {
	_, end, _ := s.QueueRange(q)
	for {
		bases, next, err := s.FindKey(q, h, from, limit)
		require.NoError(t, err)
		require.LessOrEqual(t, len(bases), limit)
		all = append(all, bases...)
		if next == end {
			return all
		}
		require.Greater(t, next, from)
		from = next
	}
}

// TestKeyIndexIsTrimmedByBuckets: what is purged goes bucket by bucket, and nothing else.
func TestKeyIndexIsTrimmedByBuckets(t *testing.T) {
	s := open(t)
	apply(t, s, createIndexedEntry(t, "t", 2))
	const bucket = Offset(1) << keyBucketShift
	const many = 4_000
	huge := batchEntry(t, batch.Stamp{Queue: 1}, many)
	for range 2*bucket/many + 2 { // to the third bucket, with a key before each
		apply(t, s, keyedEntry(t, batch.Stamp{Queue: 1}, "x"), huge)
	}
	apply(t, s, keyedEntry(t, batch.Stamp{Queue: 2}, "x"))
	all := findAll(t, s, 1, HashKey([]byte("x")), 0, 3)
	require.Len(t, all, 133)
	require.Equal(t, all, findAll(t, s, 1, HashKey([]byte("x")), 0, 1_000))
	keep := all[100] // in the second bucket
	require.Equal(t, Offset(1), keep>>keyBucketShift)
	require.Nil(t, s.TrimDue())
	s.RaiseFirst(1, keep) // purged
	due := s.TrimDue()
	require.Len(t, due.GetOffsets(), 1)
	apply(t, s, commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_TrimKeyIndex{TrimKeyIndex: due}}))
	require.Nil(t, s.TrimDue())
	from, ok := s.KeyIndexFrom(1)
	require.True(t, ok)
	require.Equal(t, bucket, from)
	at := slices.IndexFunc(all, func(o Offset) bool { return o >= bucket })
	require.Equal(t, all[at:], findAll(t, s, 1, HashKey([]byte("x")), from, 1_000))
	_, _, err := s.FindKey(1, HashKey([]byte("x")), from-1, 1_000)
	require.ErrorIs(t, err, ErrNotIndexed)
	require.Equal(t, []Offset{0}, findAll(t, s, 2, HashKey([]byte("x")), 0, 100))
	for _, key := range dump(t, s) {
		require.NotContains(t, key, fmt.Sprintf("%q", appendPostingKey(nil, 1, 0, HashKey([]byte("x")), 0)))
	}
	o := apply(t, s, commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_TrimKeyIndex{TrimKeyIndex: &recordv1.TrimKeyIndex{}}}))
	require.Equal(t, CodeLimitExceeded, o[0].Code)
}

// TestKeyIndexGoesWithItsTopic: nothing of it is left.
func TestKeyIndexGoesWithItsTopic(t *testing.T) {
	s := open(t)
	apply(t, s, createIndexedEntry(t, "t", 2), keyedEntry(t, batch.Stamp{Queue: 1}, "x"), keyedEntry(t, batch.Stamp{Queue: 2, DeliverAt: 5}, "x"), deleteEntry(t, "t"))
	for _, pair := range dump(t, s) {
		require.NotContains(t, []byte{prefixPosting, prefixKeyIndex}, pair[0], pair)
	}
	_, _, err := s.FindKey(1, HashKey([]byte("x")), 0, 1)
	require.ErrorIs(t, err, ErrUnknownQueue)
	o := apply(t, s, keyIndexEntry(t, "t", true))
	require.Equal(t, CodeUnknownTopic, o[0].Code)
}

// TestBatchThatCannotBeReadIsFoundByAnyKey: the records are for whoever looks.
func TestBatchThatCannotBeReadIsFoundByAnyKey(t *testing.T) {
	s := open(t)
	broken := keyedEntry(t, batch.Stamp{Queue: 1}, "x")
	broken.Body[batch.HeaderBytes+3] ^= 0xff
	apply(t, s, createIndexedEntry(t, "t", 1), keyedEntry(t, batch.Stamp{Queue: 1}, "y"), broken)
	require.Equal(t, []Offset{1}, findAll(t, s, 1, HashKey([]byte("nobody's")), 0, 10))
	require.Equal(t, []Offset{0, 1}, findAll(t, s, 1, HashKey([]byte("y")), 0, 10))
}

// TestGoldenKeyIndex holds the keys and values of the index.
func TestGoldenKeyIndex(t *testing.T) {
	s := open(t)
	apply(t, s, createIndexedEntry(t, "orders", 1), keyedEntry(t, batch.Stamp{Queue: 1}, "a", "b", "a"),
		keyedEntry(t, batch.Stamp{Queue: 1, DeliverAt: 5}, "c"), createEntry(t, "plain", 1), batchEntry(t, batch.Stamp{Queue: 2}, 3), keyIndexEntry(t, "plain", true))
	got := strings.Join(dump(t, s), "\n") + "\n"
	path := filepath.Join("testdata", "store-v1-keys.txt")
	if *rewriteGolden {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// TestKeysOfWhatIsGivenUpGo: a store that kept them could not be opened again.
func TestKeysOfWhatIsGivenUpGo(t *testing.T) {
	for kind, stamp := range map[string]batch.Stamp{"delayed": {Queue: 1, DeliverAt: 5}, "half": {Queue: 1, TransactionGroup: 1}} {
		t.Run(kind, func(t *testing.T) {
			fs := vfs.NewMem()
			s := openIn(t, fs)
			apply(t, s, createIndexedEntry(t, "t", 1), groupEntry(t, "g"), keyedEntry(t, stamp, "x"))
			require.Equal(t, 1, apply(t, s, giveUpEntry(t, 2))[0].GivenUp)
			require.NoError(t, s.Close())
			s = openIn(t, fs)
			defer s.Abandon()
			for _, pair := range dump(t, s) {
				require.NotContains(t, pair, fmt.Sprintf("%q", appendWaitingKeysKey(nil, 2)))
			}
		})
	}
}

// TestMovedIsFoundByItsKeys: the copy of a message has an offset in another queue, and the
// index of that says that it knows all.
func TestMovedIsFoundByItsKeys(t *testing.T) {
	s := open(t)
	g := workStore(t, s)
	apply(t, s, keyIndexEntry(t, "dead", true))
	copied := Entry{Type: EntryCarried, Body: keyedEntry(t, batch.Stamp{Queue: 3}, "x").Body}
	o := apply(t, s, copied, commandEntry(t, moveWork(g.ID, g.Generation, 1, &recordv1.WorkMove{Offset: 7, ToQueueId: 3, Back: 1})))[1]
	require.EqualValues(t, 1, o.Moved)
	from, ok := s.KeyIndexFrom(3)
	require.True(t, ok)
	require.Equal(t, []Offset{o.Progress[0].Offset}, findAll(t, s, 3, HashKey([]byte("x")), from, 10))
}

// TestWhatTheIndexDoesNotKnowIsNotSearched: whoever read where an index begins, and then
// looks into one that begins later by now, must not take the one for the other.
func TestWhatTheIndexDoesNotKnowIsNotSearched(t *testing.T) {
	s := open(t)
	apply(t, s, createIndexedEntry(t, "t", 1), keyedEntry(t, batch.Stamp{Queue: 1}, "x"))
	from, ok := s.KeyIndexFrom(1)
	require.True(t, ok)
	find := func() error {
		_, _, err := s.FindKey(1, HashKey([]byte("x")), from, 10)
		return err
	}
	require.NoError(t, find())
	apply(t, s, keyIndexEntry(t, "t", false))
	require.ErrorIs(t, find(), ErrNotIndexed)
	apply(t, s, keyIndexEntry(t, "t", true))
	require.ErrorIs(t, find(), ErrNotIndexed)
	require.Empty(t, findAll(t, s, 1, HashKey([]byte("x")), 1, 10))
}
