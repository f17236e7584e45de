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
		b.add(Location{Index: Index(i * 1_000), Given: Index(i * 1_000), Count: uint32(i + 1)})
	}
	late := block{bytes: append([]byte(nil), b.bytes...), count: b.count, last: b.last}
	late.add(Location{Index: 7, Given: 2_000, Count: 2})
	w := window{epoch: 1, next: 5, count: 1, batches: [WindowBatches]remembered{{base: 7, count: 5, crc: 9}}}
	topic := &Topic{Name: "a", Queues: []QueueID{1, 2}, CreatedUnixMs: 5}
	f.Add(b.bytes)
	f.Add(late.bytes)
	f.Add((&window{next: 5, count: 1, batches: [WindowBatches]remembered{{base: ^7, count: 5, crc: 9}}}).append(nil))
	f.Add((&delayed{id: 4, due: 6, queue: 2, count: 1}).append(nil))
	f.Add(w.append(nil))
	f.Add(appendHashes(nil, []KeyHash{1, 2}))
	f.Add(topic.append(nil))
	f.Add((&Topic{
		Name: "a", Queues: []QueueID{1, 2, 9}, CreatedUnixMs: 5, UndeleteUntilUnixMs: 6,
		Settings: TopicSettings{TypeFIFO, MinMaxMessageBytes, MinRetentionMs, 7}, Growths: []Growth{{From: 1, Index: 4}, {From: 2, Index: 6}},
	}).append(nil))
	f.Add((&producer{epoch: 1, name: "anna"}).append(nil))
	f.Add((&producer{epoch: 1, name: "anna", used: 1_700_000_000_000}).append(nil))
	f.Add(appendRequest(nil, "request", Outcome{Topic: topic, Code: CodeTopicExists}))
	f.Add(applied{index: 5, nextQueue: 1}.append(nil))
	f.Add(appliedOfVersion1(5))
	f.Add((&Group{ID: 4, Assignment: AssignStatic, Paused: true, Generation: 300, CreatedUnixMs: 5}).append(nil))
	f.Add(Progress{Offset: 7, Epoch: 300, Owner: OwnerUnnamed, CommittedUnixMs: 5}.append(nil))
	f.Add(Progress{Offset: 7, Epoch: 300, Owner: 1 << 63, CommittedUnixMs: 5}.append(nil))
	f.Fuzz(func(t *testing.T, value []byte) {
		if batches, err := parseBlock(nil, 5, value); err == nil {
			again := block{first: 5}
			for _, l := range batches {
				again.add(l)
			}
			reread, err := parseBlock(nil, 5, again.bytes)
			require.NoError(t, err)
			require.Equal(t, batches, reread)
		}
		rereads(t, value, func(b []byte) (*window, error) { return parseWindow(1, 2, b) }, (*window).append)
		rereads(t, value, func(b []byte) (*delayed, error) { return parseDelayed(1<<40, b) }, (*delayed).append)
		rereads(t, value, func(b []byte) (*Topic, error) { return parseTopic("a", b) }, (*Topic).append)
		rereads(t, value, func(b []byte) (*Group, error) { return parseGroup("a", b) }, (*Group).append)
		rereads(t, value, parseProgress, Progress.append)
		rereads(t, value, parseProducer, (*producer).append)
		rereads(t, value, parseHashes, func(h []KeyHash, b []byte) []byte { return appendHashes(b, h) })
		rereads(t, value, parseApplied, applied.append)
		rereads(t, value, parseDoneSet, func(d doneSet, b []byte) []byte { return d.append(b) })
		rereads(t, value, parseTry, try.append)
		if request, o, err := parseRequest(value); err == nil {
			request2, o2, err := parseRequest(appendRequest(nil, request, o))
			require.NoError(t, err)
			require.Equal(t, request, request2)
			require.Equal(t, o, o2)
		}
	})
}

// rereads fails when a value that can be read is not written again as the same state.
func rereads[T any](t *testing.T, value []byte, parse func([]byte) (T, error), write func(T, []byte) []byte) {
	t.Helper()
	read, err := parse(value)
	if err != nil {
		return
	}
	again, err := parse(write(read, nil))
	require.NoError(t, err)
	require.Equal(t, read, again)
}

// appliedOfVersion1 is what builds before wrote.
func appliedOfVersion1(index Index) []byte {
	b := applied{index: index, term: 3, hash: 4, nextQueue: 1}.append(nil)[:appliedBytesV1]
	b[0] = 1
	return b
}

func TestAppliedOfVersion1IsRead(t *testing.T) {
	a, err := parseApplied(appliedOfVersion1(7))
	require.NoError(t, err)
	require.Equal(t, applied{index: 7, term: 3, hash: 4, nextQueue: 1}, a)
	_, err = parseApplied(append(appliedOfVersion1(7), make([]byte, 8)...))
	require.Error(t, err)
}

func TestEveryErrorIsTyped(t *testing.T) {
	err := error(&CorruptionError{Dir: "d", What: "key x"})
	require.ErrorIs(t, err, ErrCorrupt)
	require.Equal(t, "state store d is corrupt: key x", err.Error())
	err = &CorruptionError{Dir: "d", What: "key x", Err: vfs.ErrUnsupported}
	require.ErrorIs(t, err, vfs.ErrUnsupported)
	require.Equal(t, "state: entry 5 holds type 9, which this build does not know: upgrade this member", (&UnsupportedError{Index: 5, What: "type 9"}).Error())
}

// TestGoldenDelayed holds the keys and values of what waits, and of what has waited.
func TestGoldenDelayed(t *testing.T) {
	s := open(t)
	waits := batchEntry(t, batch.Stamp{Queue: 1, ProducerID: 2, DeliverAt: 1_700_000_060_000}, 3)
	carried := waits
	carried.Type = EntryCarried
	apply(t, s, createEntry(t, "orders", 2), registerEntry(t, "anna"), waits,
		batchEntry(t, batch.Stamp{Queue: 2}, 1), batchEntry(t, batch.Stamp{Queue: 2, DeliverAt: 1_700_000_000_000}, 2),
		dueEntry(t, 1_700_000_000_001, 10), carried, carryEntry(t, []int64{2}, []int64{2}, []int64{6}))
	got := strings.Join(dump(t, s), "\n") + "\n"
	path := filepath.Join("testdata", "store-v1-delayed.txt")
	if *rewriteGolden {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}
