package broker

import (
	"context"
	"time"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// SetKeyIndex implements broker.v1.QueryService. To ask again does no harm.
func (s *queryService) SetKeyIndex(ctx context.Context, req *brokerv1.SetKeyIndexRequest) (*brokerv1.SetKeyIndexResponse, error) {
	return atLeader(ctx, s.router, brokerv1.QueryService_SetKeyIndex_FullMethodName, true, req, s.setKeyIndex)
}

func (s *queryService) setKeyIndex(ctx context.Context, _ *leadership, req *brokerv1.SetKeyIndexRequest) (*brokerv1.SetKeyIndexResponse, error) {
	if err := s.disk.refusal(); req.GetOn() && err != nil {
		return nil, err
	}
	_, err := s.proposer.command(ctx, &recordv1.Command{
		Kind: &recordv1.Command_SetKeyIndex{SetKeyIndex: &recordv1.SetKeyIndex{Topic: req.GetTopic(), On: req.GetOn()}},
	})
	if err != nil {
		return nil, err
	}
	return &brokerv1.SetKeyIndexResponse{}, nil
}

// withKeyIndex says in a topic's description whether it has a key index.
func withKeyIndex(store *state.Store, t *brokerv1.Topic) *brokerv1.Topic {
	if ids := t.GetQueueIds(); len(ids) > 0 {
		_, t.KeyIndex = store.KeyIndexFrom(state.QueueID(ids[0]))
	}
	return t
}

// trimKeyIndexes proposes to drop what key indexes say of messages that were purged, if
// this broker leads. Nobody waits for the outcome: the next look finds what is left.
func (b *Broker) trimKeyIndexes() {
	due := b.store.TrimDue()
	lead, _, _, _ := b.leaderships.now()
	if due == nil || lead == nil {
		return
	}
	body, err := state.AppendCommand(nil, &recordv1.Command{
		TimeUnixMs: time.Now().UnixMilli(), Kind: &recordv1.Command_TrimKeyIndex{TrimKeyIndex: due},
	})
	if err == nil {
		err = b.ledger.Propose(&dledger.Proposal{
			Bodies: []commitlog.Body{{Type: commitlog.TypeCommand, Bytes: body}}, Done: func(dledger.ProposalResult) {},
		})
	}
	if err != nil {
		b.log.Debug("key indexes were not trimmed", "queues", len(due.GetOffsets()), "err", err)
	}
}
