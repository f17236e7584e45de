package broker

import (
	"context"
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sync/semaphore"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/filter"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// filtering is what the filters of all pulls share.
type filtering struct {
	codec *batch.Codec
	// memory bounds what the expressions of open pulls take together, in bytes.
	memory *semaphore.Weighted
	// turns bounds how many pulls look into batches at a time, and so the processors
	// that filters keep busy and the batches that are unpacked for them.
	turns   *semaphore.Weighted
	metrics *metrics
}

func newFiltering(memory Size, metrics *metrics) *filtering {
	return &filtering{
		codec: batch.NewCodec(), metrics: metrics,
		memory: semaphore.NewWeighted(int64(memory)), turns: semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0))),
	}
}

// maxFilterWork bounds what one answer may cost, in steps of the filter and a quarter
// of the bytes that are unpacked: tens of milliseconds, and a tenth of a second for the worst
// of expressions. What is beyond it comes with the next answer.
const maxFilterWork = 32 << 20

// pullFilter is the filter of one pull. One goroutine at a time.
type pullFilter struct {
	shared  *filtering
	weight  int64
	all     bool // every message matches
	matcher *filter.Matcher
	message recordMessage
	work    int // of the answer at hand
}

// open reads a client's filter; nil if it has none. Whoever gets one closes it.
func (s *filtering) open(f *brokerv1.Filter) (*pullFilter, error) {
	if f == nil {
		return nil, nil
	}
	var e *filter.Expression
	var err error
	switch kind := f.GetKind(); kind {
	case brokerv1.Filter_KIND_TAG:
		e, err = filter.ParseTags(f.GetExpression())
	case brokerv1.Filter_KIND_SQL92:
		e, err = filter.ParseSQL(f.GetExpression())
	case brokerv1.Filter_KIND_UNSPECIFIED:
		fallthrough
	default:
		return nil, errorf(CodeInvalidFilter, "a filter's kind must be KIND_TAG or KIND_SQL92, not %v", kind)
	}
	if err != nil {
		return nil, errorf(CodeInvalidFilter, "%v", err)
	}
	weight := int64(e.Weight())
	if !s.memory.TryAcquire(weight) {
		return nil, fullf("the filters of all pulls would take more memory than limits.memory has for them")
	}
	return &pullFilter{shared: s, weight: weight, all: e.MatchesAll(), matcher: e.Matcher()}, nil
}

// close gives the memory back. A nil filter has none.
func (f *pullFilter) close() {
	if f != nil {
		f.shared.memory.Release(f.weight)
	}
}

// keep drops the batches of which no message matches, and marks those of the others
// that do. Messages below from are not wanted. What is left of got may be nothing;
// got.next says how far was looked.
func (f *pullFilter) keep(ctx context.Context, q queue, from state.Offset, got *pulled) error {
	if !f.all && len(got.batches) > 0 {
		if err := f.shared.turns.Acquire(ctx, 1); err != nil {
			got.release()
			return err
		}
		err := f.sift(q, from, got)
		f.shared.turns.Release(1)
		if err != nil {
			got.release()
			return err
		}
	}
	f.shared.metrics.delivered(q, *got)
	return nil
}

// sift is keep, when it is this pull's turn.
func (f *pullFilter) sift(q queue, from state.Offset, got *pulled) error {
	reader := batch.NewReader(f.shared.codec)
	infos, batches := got.infos, got.batches
	looked := got.records
	f.work = 0
	defer func() { f.message = recordMessage{} }() // lets go of the batches
	got.infos, got.batches, got.size, got.records = infos[:0], batches[:0], 0, 0
	for i, info := range infos {
		found := f.look(reader, info, batches[i].bytes, from)
		if found.next != state.NoOffset {
			return f.stop(q, from, got, found, info, batches[i:])
		}
		got.retain(info, batches[i], found)
	}
	f.shared.metrics.heldBack(q.topic, looked-got.records)
	return nil
}

// stop ends before the last message: there was enough to do, or the next one costs too
// much. What was looked at before that one is sent first; then it is an error.
func (f *pullFilter) stop(q queue, from state.Offset, got *pulled, found sifted, info *brokerv1.BatchInfo, rest []pulledBatch) error {
	for _, b := range rest[1:] {
		b.held.letGo()
	}
	got.retain(info, rest[0], found)
	if got.next = found.next; got.next > from {
		return nil
	}
	return errorf(CodeFilterTooCostly, "offset %d of %s/%d would take more than %d steps: seek to %d to go on behind it, or use a simpler filter",
		found.next, q.topic, q.number, filter.MaxSteps, found.next+1)
}

// retain keeps a batch if anything in it is wanted.
func (got *pulled) retain(info *brokerv1.BatchInfo, b pulledBatch, found sifted) {
	if found.count == 0 {
		b.held.letGo()
		return
	}
	info.Matches = found.bits
	got.infos, got.batches = append(got.infos, info), append(got.batches, b)
	got.size, got.records = got.size+len(b.bytes), got.records+found.count
}

// sifted is what was found in a batch.
type sifted struct {
	bits  []byte       // of the records that match; nil: all of them
	count int          // of them
	next  state.Offset // the first that was not looked at; NoOffset: there is none
}

// look finds the records of a batch that match. A batch that cannot be read goes as
// it is: it is the consumer who says so, with a filter as without.
func (f *pullFilter) look(reader *batch.Reader, info *brokerv1.BatchInfo, b []byte, from state.Offset) sifted {
	if err := reader.Reset(b); err != nil {
		return sifted{count: 1, next: state.NoOffset}
	}
	n := int(reader.Header().Count)
	f.work += int(reader.Header().RecordsBytes) / 4
	found := sifted{bits: make([]byte, (n+7)/8), next: state.NoOffset}
	base := state.Offset(info.GetBaseOffset())
	f.message.stored = info.GetAppendTimeUnixMs()
	for i := 0; reader.Next(&f.message.record); i++ {
		offset := base + state.Offset(i)
		if offset < from {
			continue
		}
		matches, err := f.matcher.Match(&f.message)
		if errors.Is(err, filter.ErrCost) {
			found.next = offset
			return found
		}
		f.work += f.matcher.Steps()
		if matches {
			found.bits[i/8] |= 1 << (i % 8)
			found.count++
		}
		if f.work > maxFilterWork && i < n-1 {
			found.next = offset + 1
			return found
		}
	}
	if reader.Err() != nil {
		return sifted{count: n, next: state.NoOffset}
	}
	if found.count == n {
		found.bits = nil
	}
	return found
}

// recordMessage shows a record to a filter.
type recordMessage struct {
	record batch.Record
	stored int64 // Unix ms
}

// Property implements filter.Message (docs/filters.md).
func (m *recordMessage) Property(name string) (filter.Value, bool) {
	r := &m.record
	switch name {
	case filter.Tags:
		return filter.Text(r.Tag), r.Tag != ""
	case "KEYS":
		return filter.Text(textOf(r.Key)), r.Key != nil
	case "UNIQ_KEY":
		return filter.Text(r.MessageID), r.MessageID != ""
	case "__SHARDINGKEY":
		return filter.Text(r.MessageGroup), r.MessageGroup != ""
	case "BORN_TIMESTAMP":
		return filter.Integer(r.Timestamp), true
	case "STORE_TIMESTAMP":
		return filter.Integer(m.stored), true
	case "__STARTDELIVERTIME":
		return filter.Integer(r.DeliverAt), r.DeliverAt != 0
	}
	for i := range r.Headers {
		if r.Headers[i].Key == name {
			return filter.Text(textOf(r.Headers[i].Value)), true
		}
	}
	return filter.Value{}, false
}

// textOf shares the bytes, which nobody writes to while a filter looks at them.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
