package broker

import (
	"context"
	"errors"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// workReadBytes is how much of a queue is read at once.
const workReadBytes = 256 << 10

// recordOverhead is about what a workRecord takes beside its bytes.
const recordOverhead = 320

// workRecord is one message, with memory of its own: it may be kept for long, and its batch
// may be large.
type workRecord struct {
	offset state.Offset
	record batch.Record
	stored int64 // Unix ms
	index  int64
	term   int64
	size   int
	packed batch.Compression // of the batch that it came in
}

// readRecords reads messages of a queue from an offset on, at least one if there is any.
func (w *workQueues) readRecords(ctx context.Context, q queue, from state.Offset, limit int) ([]*workRecord, error) {
	return w.readWanted(ctx, q, from, limit, func(o state.Offset) bool { return o >= from })
}

// readWanted reads the batches of a queue that begin with the one of an offset, and keeps
// those of their messages that are wanted: of one batch at least, and of no further ones
// once they have that many bytes.
func (w *workQueues) readWanted(ctx context.Context, q queue, from state.Offset, limit int, want func(state.Offset) bool) ([]*workRecord, error) {
	turns := w.puller.filters.turns // so many look into batches at a time, and no more are unpacked
	if err := turns.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer turns.Release(1)
	q.filtered = true // what is read is counted when it is delivered
	got, err := w.puller.read(q, from, limit)
	if err != nil {
		return nil, err
	}
	defer got.release()
	var all []*workRecord
	size := 0
	for i, info := range got.infos {
		before := len(all)
		if all, err = w.decode(all, q, info, got.batches[i].bytes, want); err != nil {
			if len(all) > 0 {
				return all, nil // what stands before it first
			}
			return nil, err
		}
		for _, r := range all[before:] {
			size += r.size
		}
		if size >= limit { // batches may unpack to a thousand times what was read
			break
		}
	}
	return all, nil
}

// decode appends the records of a batch that are wanted. They share nothing with its bytes.
func (w *workQueues) decode(all []*workRecord, q queue, info *brokerv1.BatchInfo, b []byte, want func(state.Offset) bool) ([]*workRecord, error) {
	reader := batch.NewReader(w.codec)
	_ = reader.Reset(b) // Err keeps it
	var rec batch.Record
	for offset := state.Offset(info.GetBaseOffset()); reader.Next(&rec); offset++ {
		if want(offset) {
			all = append(all, &workRecord{
				offset: offset, record: rec.Clone(), size: recordOverhead + batch.RecordSize(&rec),
				packed: reader.Header().Compression, stored: info.GetAppendTimeUnixMs(), index: info.GetLedgerIndex(), term: info.GetTerm(),
			})
		}
	}
	if err := reader.Err(); err != nil {
		return all, errorf(CodeInvalidBatch, "the batch at offset %d of %s/%d cannot be read: reset the group to an offset behind it to go on: %v",
			info.GetBaseOffset(), q.topic, q.number, err)
	}
	return all, nil
}

// readRecord reads one message; nil: it is not kept any more.
func (w *workQueues) readRecord(ctx context.Context, q queue, at state.Offset) (*workRecord, error) {
	all, err := w.readWanted(ctx, q, at, 1, func(o state.Offset) bool { return o == at })
	if gone(err) {
		return nil, nil //nolint:nilnil // that is the answer
	}
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[0], nil
}

// readLeased reads the message of the first of some leases, and of those behind it whose
// messages are in the same batch. What is not kept any more stays without a record.
func (w *workQueues) readLeased(ctx context.Context, leases []leased) error {
	q, at := leases[0].q, state.Offset(leases[0].lease.Offset)
	missing := map[state.Offset]*leased{}
	for i := range leases {
		if l := &leases[i]; l.q == q && l.record == nil {
			missing[state.Offset(l.lease.Offset)] = l
		}
	}
	all, err := w.readWanted(ctx, queue{id: q.queue, topic: q.topic, number: q.number}, at, 1, func(o state.Offset) bool { return missing[o] != nil })
	if gone(err) {
		return nil
	}
	for _, rec := range all {
		missing[rec.offset].record = rec
	}
	return err
}

// unreadable says that stored messages cannot be read, for now or for ever.
func unreadable(err error) bool {
	own := ownError(err)
	return own != nil && (own.Code == CodeInvalidBatch || own.Code == CodeDataDamaged || own.Code == CodeDataLost)
}

// gone says that what was asked for is not kept any more.
func gone(err error) bool {
	own := ownError(err)
	return own != nil && own.Code == CodeOffsetTooLow || errors.Is(err, commitlog.ErrPurged)
}

// message is what a consumer gets.
func (r *workRecord) message(number uint32) *brokerv1.WorkMessage {
	m := &brokerv1.WorkMessage{
		Queue: number, Offset: int64(r.offset), AppendTimeUnixMs: r.stored, LedgerIndex: r.index, Term: r.term,
		Key: r.record.Key, Value: r.record.Value, Tag: r.record.Tag, MessageId: r.record.MessageID, MessageGroup: r.record.MessageGroup,
		TimestampUnixMs: r.record.Timestamp, DeliverAtUnixMs: r.record.DeliverAt,
	}
	for _, h := range r.record.Headers {
		m.Headers = append(m.Headers, &brokerv1.WorkHeader{Key: h.Key, Value: h.Value})
	}
	return m
}

// receipt names a lease, and what its holder was given.
type receipt struct {
	group   uint64
	queue   state.QueueID
	epoch   uint64
	offset  state.Offset
	attempt uint32
	term    int64
	seq     uint64
}
