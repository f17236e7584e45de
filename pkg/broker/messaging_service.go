package broker

import (
	"context"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/dledger"
)

// messagingService moves messages: broker.v1.MessagingService. Its streams are in
// publish_stream.go and pull_stream.go, pulling is in pull.go.
type messagingService struct {
	brokerv1.UnsafeMessagingServiceServer

	router       *router
	publisher    *publisher
	puller       *puller
	proposer     *proposer
	budget       *budget
	share        *publishShare
	ledger       *dledger.Server
	disk         *diskGuard
	watcher      *leaderWatch
	streams      *errgroup.Group // readers of streams; they end with their handlers
	streamWindow int
	streamAnswer int64 // bytes of one answer of a pull stream
}

// Publish implements broker.v1.MessagingService.
func (s *messagingService) Publish(ctx context.Context, req *brokerv1.PublishRequest) (*brokerv1.PublishResponse, error) {
	return atLeader(ctx, s.router, brokerv1.MessagingService_Publish_FullMethodName, idempotent(req.GetBatches()), req, s.publish)
}

func (s *messagingService) publish(ctx context.Context, _ *leadership, req *brokerv1.PublishRequest) (*brokerv1.PublishResponse, error) {
	f, err := s.publisher.parse(1, req.GetBatches())
	if err != nil {
		return nil, err
	}
	if len(f.bodies) == 0 {
		return &brokerv1.PublishResponse{Results: f.results}, nil
	}
	if err := s.disk.refusal(); err != nil {
		s.publisher.metrics.refused(CodeDiskFull)
		return nil, err
	}
	if !s.budget.tryAcquire(f.size) {
		return nil, s.ledger.PendingFull()
	}
	defer s.budget.release(f.size)
	res, err := s.proposer.propose(ctx, f.bodies)
	if err != nil {
		s.publisher.metrics.refused(ledgerError(err).Code)
		return nil, err
	}
	f.outcome.Store(&res)
	return &brokerv1.PublishResponse{Results: s.publisher.answer(f)}, nil
}

// idempotent tells whether every batch of a frame has a producer id and a
// sequence, so that sending it twice stores it once.
func idempotent(batches []byte) bool {
	for rest := batches; len(rest) > 0; {
		h, _, next, err := batch.Next(rest)
		if err != nil || h.ProducerID == 0 {
			return false
		}
		rest = next
	}
	return true
}

// RegisterProducer implements broker.v1.MessagingService.
func (s *messagingService) RegisterProducer(ctx context.Context, req *brokerv1.RegisterProducerRequest) (*brokerv1.RegisterProducerResponse, error) {
	if req.GetRequestId() == "" {
		req.RequestId = uuid.NewString()
	}
	return atLeader(ctx, s.router, brokerv1.MessagingService_RegisterProducer_FullMethodName, true, req, s.registerProducer)
}

func (s *messagingService) registerProducer(ctx context.Context, _ *leadership, req *brokerv1.RegisterProducerRequest) (*brokerv1.RegisterProducerResponse, error) {
	if err := s.disk.refusal(); err != nil {
		return nil, err // it could publish nothing
	}
	known, err := s.publisher.producers.register(req.GetName())
	if err != nil {
		return nil, err
	}
	out, err := s.proposer.command(ctx, &recordv1.Command{
		RequestId: req.GetRequestId(),
		Kind: &recordv1.Command_RegisterProducer{RegisterProducer: &recordv1.RegisterProducer{
			Name: req.GetName(), ContinuesId: req.GetContinuesId(), ContinuesEpoch: req.GetContinuesEpoch(), Known: known,
		}},
	})
	if err != nil {
		return nil, err
	}
	return &brokerv1.RegisterProducerResponse{ProducerId: out.ProducerID, Epoch: out.Epoch}, nil
}

// WatchLeader implements broker.v1.MessagingService.
func (s *messagingService) WatchLeader(_ *brokerv1.WatchLeaderRequest, rpc brokerv1.MessagingService_WatchLeaderServer) error {
	return s.watcher.watch(rpc)
}
