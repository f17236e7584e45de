package broker

import (
	"bytes"
	"context"
	"errors"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/state"
)

const (
	// maxFound is how many messages one answer names, defaultFound if the client does not say.
	maxFound, defaultFound = 1_000, 100
	// maxFindWork is what one answer may cost, in bytes that are unpacked: some tens of
	// milliseconds. A batch counts as findBatchWork more, a look into an index as findStep.
	maxFindWork   = int(32 * mebibyte)
	findBatchWork = 4 << 10
	findStep      = int(mebibyte)
	// maxFindBatches is how many batches one look into an index names.
	maxFindBatches = 256
)

// keySearch is one FindMessages: it looks until it has enough, or has done enough. What
// is left comes with the next request.
type keySearch struct {
	puller *puller
	ends   streamEnds
	reader *batch.Reader
	hash   state.KeyHash
	wants  func(*batch.Record) bool
	limit  int
	work   int // that is left
	record batch.Record
	resp   *brokerv1.FindMessagesResponse
}

// FindMessages implements broker.v1.QueryService.
func (s *queryService) FindMessages(ctx context.Context, req *brokerv1.FindMessagesRequest) (*brokerv1.FindMessagesResponse, error) {
	return atLeader(ctx, s.router, brokerv1.QueryService_FindMessages_FullMethodName, true, req, s.findMessages)
}

func (s *queryService) findMessages(ctx context.Context, lead *leadership, req *brokerv1.FindMessagesRequest) (*brokerv1.FindMessagesResponse, error) {
	search, err := s.newKeySearch(req)
	if err != nil {
		return nil, err
	}
	search.ends = streamEnds{lost: lead.done, stopping: s.router.stopping}
	spans, err := s.spans(req)
	if err != nil {
		return nil, err
	}
	left := false
	for i := range spans {
		if err := search.queue(ctx, &spans[i]); errors.Is(err, errLeadershipOver) {
			return nil, s.router.ended()
		} else if err != nil {
			return nil, err
		}
		left = left || spans[i].at < spans[i].to
	}
	for i := 0; left && i < len(spans); i++ {
		search.resp.Next = append(search.resp.Next, &brokerv1.QueueAt{Queue: spans[i].number, Offset: int64(spans[i].at)})
	}
	return search.resp, nil
}

func (s *queryService) newKeySearch(req *brokerv1.FindMessagesRequest) (*keySearch, error) {
	search := &keySearch{
		puller: s.puller, reader: batch.NewReader(s.puller.filters.codec), limit: defaultFound, work: maxFindWork,
		resp: &brokerv1.FindMessagesResponse{},
	}
	if n := req.GetLimit(); n != 0 {
		search.limit = int(n)
	}
	if search.limit > maxFound {
		return nil, errorf(CodeLimitExceeded, "%d messages are asked for, one answer names up to %d", search.limit, maxFound)
	}
	switch wanted := req.GetWanted().(type) {
	case *brokerv1.FindMessagesRequest_Key:
		search.hash = state.HashKey(wanted.Key)
		search.wants = func(r *batch.Record) bool { return r.Key != nil && bytes.Equal(r.Key, wanted.Key) }
	case *brokerv1.FindMessagesRequest_MessageId:
		search.hash = state.HashMessageID(wanted.MessageId)
		search.wants = func(r *batch.Record) bool { return r.MessageID == wanted.MessageId && r.MessageID != "" }
	default:
		return nil, errorf(CodeInvalidFilter, "a search needs a key or a message id")
	}
	return search, nil
}

// keySpan is what is to be looked through of a queue.
type keySpan struct {
	queue
	at, to state.Offset
}

// spans are those of all queues of the topic, cut to what the queues hold.
func (s *queryService) spans(req *brokerv1.FindMessagesRequest) ([]keySpan, error) {
	topic, ok := s.puller.store.Topic(req.GetTopic())
	if !ok {
		return nil, noTopic(s.puller.store, req.GetTopic())
	}
	spans := make([]keySpan, len(topic.Queues))
	for i, id := range topic.Queues {
		first, end, ok := s.puller.store.QueueRange(id)
		if !ok {
			return nil, noTopic(s.puller.store, req.GetTopic())
		}
		spans[i] = keySpan{queue: queue{id: id, topic: topic.Name, number: uint32(i), filtered: true}, at: first, to: end}
	}
	for _, list := range [][]*brokerv1.QueueAt{req.GetFrom(), req.GetTo()} {
		for _, at := range list {
			if int64(at.GetQueue()) >= int64(len(spans)) {
				return nil, errorf(CodeUnknownQueue, "topic %q has queues 0 to %d, not %d", topic.Name, len(spans)-1, at.GetQueue())
			}
		}
	}
	for _, at := range req.GetFrom() {
		span := &spans[at.GetQueue()]
		span.at = max(span.at, state.Offset(at.GetOffset()))
	}
	for _, at := range req.GetTo() {
		span := &spans[at.GetQueue()]
		span.to = min(span.to, state.Offset(at.GetOffset()))
	}
	return spans, nil
}

// queue goes through one queue as far as it gets.
func (s *keySearch) queue(ctx context.Context, span *keySpan) error {
	for span.at < span.to && s.work > 0 && len(s.resp.Messages) < s.limit {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.puller.awaitMemory(ctx, s.puller.maxWait, s.ends); err != nil {
			return err
		}
		from, indexed := s.puller.store.KeyIndexFrom(span.id)
		var err error
		if indexed && span.at >= from {
			err = s.lookUp(ctx, span)
		} else {
			to := span.to
			if indexed {
				to = min(to, from)
			}
			err = s.scan(ctx, span, to)
		}
		if first, _, ok := s.puller.store.QueueRange(span.id); ok && first > span.at {
			span.at = min(first, span.to) // purged while we were looking
			continue
		}
		if err != nil && !errors.Is(err, state.ErrUnknownQueue) {
			return err
		}
		if _, _, ok := s.puller.store.QueueRange(span.id); !ok {
			return noTopic(s.puller.store, span.topic)
		}
	}
	return nil
}

// scan goes through some of the messages that no index knows.
func (s *keySearch) scan(ctx context.Context, span *keySpan, to state.Offset) error {
	got, err := s.puller.read(span.queue, span.at, min(findStep, s.work))
	if err != nil {
		return err
	}
	before := span.at
	err = s.look(ctx, span, &got, to)
	s.resp.Scanned += int64(span.at - before)
	return err
}

// lookUp looks into the batches that the index names. A batch that the index does not know
// is gone through: it may begin before what the index knows and end behind that, or the
// index has changed since we looked where it begins.
func (s *keySearch) lookUp(ctx context.Context, span *keySpan) error {
	s.work -= findStep
	places, err := s.puller.store.Locate(span.id, span.at, 1) // at may be in the middle of a batch
	if err != nil {
		return err
	}
	bases, next, err := s.puller.store.FindKey(span.id, s.hash, places[0].BaseOffset, maxFindBatches)
	if errors.Is(err, state.ErrNotIndexed) {
		return s.scan(ctx, span, min(span.to, places[0].BaseOffset+state.Offset(places[0].Count)))
	}
	if err != nil {
		return err
	}
	for _, base := range bases {
		if base >= span.to {
			break
		}
		if s.work <= 0 || len(s.resp.Messages) >= s.limit {
			return nil
		}
		span.at = max(span.at, base)
		got, err := s.puller.read(span.queue, span.at, 1)
		if err != nil {
			return err
		}
		s.resp.Looked += int64(got.next - base)
		if err := s.look(ctx, span, &got, span.to); err != nil {
			return err
		}
	}
	span.at = max(span.at, min(next, span.to))
	return nil
}

// look names the messages wanted among what was read, and steps behind what was looked at.
func (s *keySearch) look(ctx context.Context, span *keySpan, got *pulled, to state.Offset) error {
	defer got.release()
	turns := s.puller.filters.turns
	if err := turns.Acquire(ctx, 1); err != nil {
		return err
	}
	defer turns.Release(1)
	defer func() { s.record = batch.Record{} }() // lets go of the batches
	for i, info := range got.infos {
		if s.work <= 0 || span.at >= to || len(s.resp.Messages) >= s.limit {
			return nil
		}
		s.batch(span, info, got.batches[i].bytes, to)
	}
	return nil
}

// batch looks at one batch. One that cannot be read has nothing that is wanted: a
// consumer is told of it where it stands.
func (s *keySearch) batch(span *keySpan, info *brokerv1.BatchInfo, b []byte, to state.Offset) {
	base := state.Offset(info.GetBaseOffset())
	_ = s.reader.Reset(b)
	s.work -= int(s.reader.Header().RecordsBytes) + findBatchWork
	count := state.Offset(0)
	if h, err := batch.ParseHeader(b); err == nil {
		count = state.Offset(h.Count)
	}
	for offset := base; s.reader.Next(&s.record) && offset < to; offset++ {
		if offset < span.at || !s.wants(&s.record) {
			continue
		}
		s.resp.Messages = append(s.resp.Messages, &brokerv1.FoundMessage{
			Queue: span.number, Offset: int64(offset), LedgerIndex: info.GetLedgerIndex(), AppendTimeUnixMs: info.GetAppendTimeUnixMs(),
		})
		if span.at = offset + 1; len(s.resp.Messages) == s.limit {
			return
		}
	}
	span.at = min(to, max(span.at, base+count))
}
