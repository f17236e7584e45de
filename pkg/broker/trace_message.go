package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// maxTracedGroups is how many consumer groups one trace names.
const maxTracedGroups = 1_000

// TraceMessage implements broker.v1.QueryService.
func (s *queryService) TraceMessage(ctx context.Context, req *brokerv1.TraceMessageRequest) (*brokerv1.TraceMessageResponse, error) {
	return atLeader(ctx, s.router, brokerv1.QueryService_TraceMessage_FullMethodName, true, req, s.traceMessage)
}

func (s *queryService) traceMessage(ctx context.Context, lead *leadership, req *brokerv1.TraceMessageRequest) (*brokerv1.TraceMessageResponse, error) {
	if req.GetHandle() != "" {
		return s.traceHandle(ctx, lead, req.GetHandle())
	}
	q, err := s.puller.resolve(req.GetTopic(), req.GetQueue(), 0)
	if err != nil {
		return nil, err
	}
	q.filtered = true // it is not handed to a consumer
	offset := state.Offset(req.GetOffset())
	if err := s.awaitMemory(ctx, lead); err != nil {
		return nil, err
	}
	got, err := s.puller.read(q, offset, 1)
	if err != nil {
		return nil, err
	}
	defer got.release()
	if len(got.infos) == 0 {
		return nil, errorf(CodeOffsetTooHigh, "%s/%d has no offset %d yet: its end is %d", q.topic, q.number, offset, got.end)
	}
	places, err := s.puller.store.Locate(q.id, offset, 1)
	if err != nil {
		return nil, err
	}
	resp := &brokerv1.TraceMessageResponse{Topic: q.topic, Queue: q.number, Offset: int64(offset)}
	resp.Batch, resp.Message, err = s.traceBatch(ctx, got.infos[0], got.batches[0].bytes, offset)
	if err == nil {
		err = s.traceEntry(resp, places[0], got.batches[0].bytes)
	}
	if err == nil {
		resp.Groups, resp.GroupsLeftOff = s.traceGroups(lead, q, offset)
	}
	return resp, err
}

// traceBatch says what a batch tells of one of its messages. A batch that cannot be read
// still tells what stands in its header.
func (s *queryService) traceBatch(ctx context.Context, info *brokerv1.BatchInfo, b []byte, offset state.Offset) (*brokerv1.TracedBatch, *brokerv1.TracedMessage, error) {
	header, err := batch.ParseHeader(b)
	if err != nil {
		return nil, nil, errorf(CodeCorruptBatch, "the batch in entry %d cannot be read: %v", info.GetLedgerIndex(), err)
	}
	nth := offset - state.Offset(info.GetBaseOffset())
	traced := &brokerv1.TracedBatch{
		LedgerIndex: info.GetLedgerIndex(), Term: info.GetTerm(), AppendTimeUnixMs: info.GetAppendTimeUnixMs(),
		Bytes: int64(len(b)), Records: header.Count, Record: uint32(nth), Compression: header.Compression.String(),
		ProducerId: header.ProducerID, ProducerEpoch: header.ProducerEpoch,
	}
	if header.ProducerID != 0 {
		traced.Sequence = header.FirstSequence + int64(nth)
		if traced.ProducerName, _, err = s.puller.store.ProducerName(header.ProducerID); err != nil {
			return nil, nil, err
		}
	}
	turns := s.puller.filters.turns
	if err := turns.Acquire(ctx, 1); err != nil {
		return nil, nil, err
	}
	defer turns.Release(1)
	reader, record := batch.NewReader(s.puller.filters.codec), batch.Record{}
	_ = reader.Reset(b)
	for i := state.Offset(0); reader.Next(&record); i++ {
		if i == nth {
			return traced, traceRecord(&record), nil
		}
	}
	return traced, nil, nil
}

func traceRecord(r *batch.Record) *brokerv1.TracedMessage {
	m := &brokerv1.TracedMessage{
		Key: slices.Clone(r.Key), HasKey: r.Key != nil, MessageId: clone(r.MessageID), Tag: clone(r.Tag), MessageGroup: clone(r.MessageGroup),
		TimestampUnixMs: r.Timestamp, ValueBytes: int64(len(r.Value)), SizeBytes: int64(len(r.Key) + len(r.Value)),
	}
	for _, h := range r.Headers {
		m.SizeBytes += int64(len(h.Key) + len(h.Value))
	}
	return m
}

// clone keeps a text beyond the batch in whose memory it lies.
func clone(s string) string { return string([]byte(s)) }

// traceEntry says which entries, segment and members have the message.
func (s *queryService) traceEntry(resp *brokerv1.TraceMessageResponse, place state.Location, b []byte) error {
	ledger := s.puller.ledger
	index := commitlog.Index(place.Index)
	kind, _, err := s.entry(index)
	if err != nil {
		return err
	}
	resp.Batch.Carried = kind == commitlog.TypeCarried
	if place.Given != place.Index {
		header, err := batch.ParseHeader(b)
		if err != nil {
			return err
		}
		_, given, err := s.entry(commitlog.Index(place.Given))
		if err != nil {
			return err
		}
		resp.Delivery = &brokerv1.TracedDelivery{
			LedgerIndex: int64(place.Given), TimeUnixMs: given, DueUnixMs: header.DeliverAt, TransactionGroup: header.TransactionGroup,
		}
	}
	st := ledger.Status()
	if st.Durable >= index {
		resp.Copies = append(resp.Copies, string(st.ID))
	}
	for _, p := range st.Peers {
		if p.Match >= index {
			resp.Copies = append(resp.Copies, string(p.ID))
		}
	}
	slices.Sort(resp.Copies)
	segments, err := ledger.Segments()
	for i, seg := range segments {
		if seg.First <= index {
			resp.SegmentFirst, resp.SegmentLast = int64(seg.First), int64(seg.Last)
			if i == len(segments)-1 {
				resp.SegmentLast = -1
			}
		}
	}
	return err
}

// entry returns the type of an entry and when it was appended, Unix ms. One that is gone
// or damaged here has neither.
func (s *queryService) entry(index commitlog.Index) (commitlog.EntryType, int64, error) {
	frame, err := s.puller.ledger.Read(index, index, 1)
	if damaged(err) || errors.Is(err, commitlog.ErrPurged) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	defer frame.Release()
	header, _, _, err := commitlog.NextEntry(frame.Bytes)
	return header.Type, header.AppendTime / int64(time.Millisecond), err
}

// traceGroups says how consumer groups stand to a message: those that have progress in its
// queue, or a member that owns it.
func (s *queryService) traceGroups(lead *leadership, q queue, offset state.Offset) (traced []*brokerv1.TracedGroup, leftOff int32) {
	counts := s.coordinator.counts(lead)
	for _, g := range s.puller.store.Groups() {
		p, _ := s.puller.store.Progress(g.ID, q.id)
		owner := ""
		if counts[g.Name] > 0 {
			_, owners, _ := s.coordinator.membersOf(lead, g)
			owner = owners[q.id]
		}
		switch {
		case g.Assignment == state.AssignBroadcast, p.Offset == state.NoOffset && owner == "":
		case len(traced) == maxTracedGroups:
			leftOff++
		default:
			t := &brokerv1.TracedGroup{
				Group: g.Name, Offset: int64(p.Offset), Past: p.Offset > offset, CommittedUnixMs: p.CommittedUnixMs, Owner: owner, Paused: g.Paused,
			}
			if g.Work != nil {
				s.work.trace(t, g.ID, q.id, offset)
			}
			traced = append(traced, t)
		}
	}
	return traced, leftOff
}
