package state

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/batch"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

var rewriteGolden = flag.Bool("rewrite", false, "write the golden files anew")

// TestGoldenStore holds format 1 still: a short history gives these keys and
// values, hash included, in every build that says format 1.
func TestGoldenStore(t *testing.T) {
	s := open(t)
	register := &recordv1.Command{
		TimeUnixMs: 1_700_000_000_000, RequestId: "request-1",
		Kind: &recordv1.Command_RegisterProducer{RegisterProducer: &recordv1.RegisterProducer{Name: "anna"}},
	}
	create := &recordv1.Command{
		TimeUnixMs: 1_700_000_000_001, RequestId: "request-2",
		Kind: &recordv1.Command_CreateTopic{CreateTopic: &recordv1.CreateTopic{Name: "orders", Queues: 3}},
	}
	stamp := batch.Stamp{Queue: 2, ProducerID: 2, ProducerEpoch: 1}
	second := stamp
	second.FirstSequence = 3
	entries := []Entry{
		{Type: EntryNoop},
		commandEntry(t, register),
		commandEntry(t, create),
		registerEntry(t, "anna"),
		batchEntry(t, stamp, 3),
		batchEntry(t, second, 200),
		batchEntry(t, stamp, 3),
		registerEntry(t, ""),
		batchEntry(t, batch.Stamp{Queue: 99}, 1),
	}
	for range BlockBatches + 1 {
		entries = append(entries, batchEntry(t, batch.Stamp{Queue: 3}, 1))
	}
	entries = append(entries, createEntry(t, "gone", 1), deleteEntry(t, "gone"), createEntry(t, "last", 2))
	apply(t, s, entries...)

	got := strings.Join(dump(t, s), "\n") + "\n"
	path := filepath.Join("testdata", "store-v1.txt")
	if *rewriteGolden {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Fatalf("the layout of format %d has changed (-golden +now):\n%s", formatVersion, diff)
	}
	require.Equal(t, "024", fmt.Sprintf("%03d", pebbleFormat), "a store of this Pebble format cannot be opened by builds before")
}

func TestKeysRoundTripAndSort(t *testing.T) {
	q, offset, err := parseBlockKey(appendBlockKey(nil, 7, 1<<40))
	require.NoError(t, err)
	require.Equal(t, QueueID(7), q)
	require.Equal(t, Offset(1<<40), offset)
	q, id, err := parseWindowKey(appendWindowKey(nil, 1<<31, 9))
	require.NoError(t, err)
	require.Equal(t, QueueID(1<<31), q)
	require.Equal(t, uint64(9), id)
	id, err = parseProducerKey(appendProducerKey(nil, 12))
	require.NoError(t, err)
	require.Equal(t, uint64(12), id)
	index, err := parseRequestKey(appendRequestKey(nil, 13))
	require.NoError(t, err)
	require.Equal(t, Index(13), index)
	name, err := parseTopicKey(appendTopicKey(nil, "orders"))
	require.NoError(t, err)
	require.Equal(t, "orders", name)

	require.Less(t, string(appendBlockKey(nil, 1, 255)), string(appendBlockKey(nil, 1, 256)))
	require.Less(t, string(appendBlockKey(nil, 1, 1<<62)), string(appendBlockKey(nil, 2, 0)))
	for _, err := range []error{
		second(parseBlockKey([]byte("b1"))), second(parseWindowKey(appendBlockKey(nil, 1, 1))), first(parseProducerKey(nil)), first(parseTopicKey([]byte("t"))),
	} {
		require.ErrorIs(t, err, errKey)
	}
}

func first[T any](_ T, err error) error          { return err }
func second[A, B any](_ A, _ B, err error) error { return err }

// FuzzParseValues: any value is read without a panic, and what is accepted is
// written again as the same state.
func FuzzParseValues(f *testing.F) {
	var b block
	for i := range 3 {
		b.add(Index(i*1_000), uint32(i+1))
	}
	w := window{epoch: 1, next: 5, count: 1, batches: [WindowBatches]remembered{{base: 7, count: 5, crc: 9}}}
	topic := &Topic{Name: "a", Queues: []QueueID{1, 2}, CreatedUnixMs: 5}
	f.Add(b.bytes)
	f.Add(w.append(nil))
	f.Add(topic.append(nil))
	f.Add((&producer{epoch: 1, name: "anna"}).append(nil))
	f.Add(appendRequest(nil, "request", Outcome{Topic: topic, Code: CodeTopicExists}))
	f.Add(applied{index: 5, nextQueue: 1}.append(nil))
	f.Fuzz(func(t *testing.T, value []byte) {
		if batches, err := parseBlock(nil, 5, value); err == nil {
			again := block{first: 5}
			for _, l := range batches {
				again.add(l.Index, l.Count)
			}
			reread, err := parseBlock(nil, 5, again.bytes)
			require.NoError(t, err)
			require.Equal(t, batches, reread)
		}
		if w, err := parseWindow(1, 2, value); err == nil {
			reread, err := parseWindow(1, 2, w.append(nil))
			require.NoError(t, err)
			require.Equal(t, w, reread)
		}
		if topic, err := parseTopic("a", value); err == nil {
			reread, err := parseTopic("a", topic.append(nil))
			require.NoError(t, err)
			require.Equal(t, topic, reread)
		}
		if p, err := parseProducer(value); err == nil {
			reread, err := parseProducer(p.append(nil))
			require.NoError(t, err)
			require.Equal(t, p, reread)
		}
		if request, o, err := parseRequest(value); err == nil {
			request2, o2, err := parseRequest(appendRequest(nil, request, o))
			require.NoError(t, err)
			require.Equal(t, request, request2)
			require.Equal(t, o, o2)
		}
		if a, err := parseApplied(value); err == nil {
			require.Equal(t, value, a.append(nil))
		}
	})
}

func TestEveryErrorIsTyped(t *testing.T) {
	err := error(&CorruptionError{Dir: "d", What: "key x"})
	require.ErrorIs(t, err, ErrCorrupt)
	require.Equal(t, "state store d is corrupt: key x", err.Error())
	err = &CorruptionError{Dir: "d", What: "key x", Err: vfs.ErrUnsupported}
	require.ErrorIs(t, err, vfs.ErrUnsupported)
	require.Equal(t, "state: entry 5 holds type 9, which this build does not know: upgrade this member", (&UnsupportedError{Index: 5, What: "type 9"}).Error())
}
