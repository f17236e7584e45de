package broker

import (
	"context"
	"errors"
	"strings"
	"time"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// awaitMemory waits until there is memory for an answer.
func (s *queryService) awaitMemory(ctx context.Context, lead *leadership) error {
	err := s.puller.awaitMemory(ctx, s.puller.maxWait, streamEnds{lost: lead.done, stopping: s.router.stopping})
	if errors.Is(err, errLeadershipOver) {
		return s.router.ended()
	}
	return err
}

// parseWaitingHandle reads the handle of a delayed message or of a transaction.
func parseWaitingHandle(text string) (state.QueueID, state.Index, error) {
	if strings.HasPrefix(text, "t-") {
		end, err := parseTransaction(text)
		return state.QueueID(end.GetQueue()), state.Index(end.GetId()), err
	}
	recall, err := parseHandle(text)
	return state.QueueID(recall.GetQueue()), state.Index(recall.GetId()), err
}

// traceHandle traces a message that waits, or whose transaction has ended.
func (s *queryService) traceHandle(ctx context.Context, lead *leadership, handle string) (*brokerv1.TraceMessageResponse, error) {
	id, index, err := parseWaitingHandle(handle)
	if err != nil {
		return nil, err
	}
	fate, known, err := s.puller.store.FateOf(index)
	if err != nil {
		return nil, err
	}
	topic, number, exists := s.puller.store.TopicOfQueue(id)
	rolledBack := fate.Ended && !fate.Committed
	switch {
	case !known || !exists || !rolledBack && fate.Queue != id:
		return nil, errorf(CodeNotWaiting, "no message waits under the handle %.64q: it was delivered or recalled, its topic was deleted, or its transaction ended long ago", handle)
	case rolledBack:
		return &brokerv1.TraceMessageResponse{Topic: topic, Queue: uint32(number), Offset: int64(state.NoOffset), RolledBack: true}, nil
	case fate.Committed:
		return s.traceMessage(ctx, lead, &brokerv1.TraceMessageRequest{Topic: topic, Queue: uint32(number), Offset: int64(fate.Base)})
	}
	if err := s.awaitMemory(ctx, lead); err != nil {
		return nil, err
	}
	resp := &brokerv1.TraceMessageResponse{
		Topic: topic, Queue: uint32(number), Offset: int64(state.NoOffset),
		Waiting: &brokerv1.TracedWaiting{DueUnixMs: fate.Due, TransactionGroup: fate.TransactionGroup},
	}
	return resp, s.traceWaiting(ctx, resp, fate.Place)
}

// traceWaiting adds what the entry tells that holds a message which waits.
func (s *queryService) traceWaiting(ctx context.Context, resp *brokerv1.TraceMessageResponse, place state.Index) error {
	at := commitlog.Index(place)
	frame, err := s.puller.ledger.Read(at, at, 1)
	if errors.Is(err, commitlog.ErrPurged) { // carried forward while we were looking
		return errorf(CodeNotWaiting, "the message was carried or delivered just now: ask again")
	}
	if err != nil {
		return err
	}
	defer frame.Release()
	header, body, _, err := commitlog.NextEntry(frame.Bytes)
	if err != nil {
		return err
	}
	info := &brokerv1.BatchInfo{LedgerIndex: int64(at), Term: int64(header.Term), AppendTimeUnixMs: header.AppendTime / int64(time.Millisecond)}
	if resp.Batch, resp.Message, err = s.traceBatch(ctx, info, body, 0); err != nil {
		return err
	}
	return s.traceEntry(resp, state.Location{Index: place, Given: place}, body)
}
