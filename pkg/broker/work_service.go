package broker

import (
	"context"
	"errors"
	"time"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/state"
)

// What one call may ask for.
const (
	maxReceive   = 1024
	maxRedrive   = 256
	minInvisible = 10 * time.Millisecond
	maxInvisible = 12 * time.Hour
)

// workService is work-queue consumption: broker.v1.WorkService.
type workService struct {
	brokerv1.UnsafeWorkServiceServer

	router *router
	store  *state.Store
	queues *workQueues
}

// over turns the end of the leadership into what a client is told.
func (s *workService) over(err error) error {
	if errors.Is(err, errLeadershipOver) {
		return s.router.ended()
	}
	return err
}

func checkInvisible(ms int64) error {
	if d := time.Duration(ms) * time.Millisecond; ms > maxInvisible.Milliseconds() || d < minInvisible {
		return errorf(CodeLimitExceeded, "an invisible time of %d ms: %v to %v are possible", ms, minInvisible, maxInvisible)
	}
	return nil
}

func checkReceipts(receipts []string) error {
	if n := len(receipts); n == 0 || n > maxReceive {
		return errorf(CodeLimitExceeded, "%d receipts in one request, 1 to %d are possible", n, maxReceive)
	}
	return nil
}

// Receive implements broker.v1.WorkService.
func (s *workService) Receive(ctx context.Context, req *brokerv1.ReceiveRequest) (*brokerv1.ReceiveResponse, error) {
	if err := checkInvisible(req.GetInvisibleMs()); err != nil {
		return nil, err
	}
	if n := req.GetMaxMessages(); n < 0 || n > maxReceive {
		return nil, errorf(CodeLimitExceeded, "%d messages at once, 1 to %d are possible", n, maxReceive)
	}
	return atLeader(ctx, s.router, brokerv1.WorkService_Receive_FullMethodName, true, req, s.receive)
}

func (s *workService) receive(ctx context.Context, lead *leadership, req *brokerv1.ReceiveRequest) (*brokerv1.ReceiveResponse, error) {
	g, ok := s.store.Group(req.GetGroup())
	if !ok {
		return nil, unknownGroup(req.GetGroup())
	}
	if g.Work == nil {
		return nil, errorf(CodeGroupMismatch, "consumer group %q gives its queues out as %s: messages are not received one by one", g.Name, assignmentName(g.Assignment))
	}
	t, ok := s.store.Topic(req.GetTopic())
	if !ok {
		return nil, noTopic(s.store, req.GetTopic())
	}
	p := s.queues.puller
	sieve, err := p.filters.open(req.GetFilter())
	if err != nil {
		return nil, err
	}
	defer sieve.close()
	r := &receiving{
		lead: lead, group: g, topic: t, max: max(1, int(req.GetMaxMessages())), invisible: time.Duration(req.GetInvisibleMs()) * time.Millisecond,
		start: req.GetStart(), sieve: sieve, ends: streamEnds{lost: lead.done, stopping: s.router.stopping},
	}
	wait := min(max(0, time.Duration(req.GetMaxWaitMs())*time.Millisecond), p.maxWait)
	if err := p.awaitMemory(ctx, wait, r.ends); err != nil {
		return nil, s.over(err)
	}
	if !p.hold.enter() {
		return nil, fullf("too many pulls are waiting: see limits.max_held_pulls")
	}
	defer p.hold.leave()
	messages, err := s.queues.receive(ctx, r, wait)
	if err != nil {
		return nil, s.over(err)
	}
	return &brokerv1.ReceiveResponse{Messages: messages}, nil
}

// Ack implements broker.v1.WorkService. Acknowledgements are taken while the disk is nearly
// full, too: they are what lets consumers go on.
func (s *workService) Ack(ctx context.Context, req *brokerv1.AckRequest) (*brokerv1.AckResponse, error) {
	if err := checkReceipts(req.GetReceipts()); err != nil {
		return nil, err
	}
	return atLeader(ctx, s.router, brokerv1.WorkService_Ack_FullMethodName, true, req, s.ack)
}

func (s *workService) ack(ctx context.Context, lead *leadership, req *brokerv1.AckRequest) (*brokerv1.AckResponse, error) {
	errs, err := s.queues.judge(ctx, lead, req.GetReceipts(), verdict{ack: true})
	if err != nil {
		return nil, s.over(err)
	}
	return &brokerv1.AckResponse{Results: workResults(errs)}, nil
}

// Nack implements broker.v1.WorkService.
func (s *workService) Nack(ctx context.Context, req *brokerv1.NackRequest) (*brokerv1.NackResponse, error) {
	if err := checkReceipts(req.GetReceipts()); err != nil {
		return nil, err
	}
	if req.GetDelayMs() > maxInvisible.Milliseconds() {
		return nil, errorf(CodeLimitExceeded, "a delay of %d ms: at most %v are possible", req.GetDelayMs(), maxInvisible)
	}
	return atLeader(ctx, s.router, brokerv1.WorkService_Nack_FullMethodName, true, req, s.nack)
}

func (s *workService) nack(ctx context.Context, lead *leadership, req *brokerv1.NackRequest) (*brokerv1.NackResponse, error) {
	if req.GetUntouched() {
		errs, err := s.queues.release(lead, req.GetReceipts())
		if err != nil {
			return nil, s.over(err)
		}
		return &brokerv1.NackResponse{Results: workResults(errs)}, nil
	}
	delay := max(-1, time.Duration(max(-1, req.GetDelayMs()))*time.Millisecond)
	errs, err := s.queues.judge(ctx, lead, req.GetReceipts(), verdict{delay: delay})
	if err != nil {
		return nil, s.over(err)
	}
	return &brokerv1.NackResponse{Results: workResults(errs)}, nil
}

// ChangeInvisible implements broker.v1.WorkService.
func (s *workService) ChangeInvisible(ctx context.Context, req *brokerv1.ChangeInvisibleRequest) (*brokerv1.ChangeInvisibleResponse, error) {
	if err := errors.Join(checkReceipts(req.GetReceipts()), checkInvisible(req.GetInvisibleMs())); err != nil {
		return nil, err
	}
	return atLeader(ctx, s.router, brokerv1.WorkService_ChangeInvisible_FullMethodName, true, req, s.changeInvisible)
}

func (s *workService) changeInvisible(_ context.Context, lead *leadership, req *brokerv1.ChangeInvisibleRequest) (*brokerv1.ChangeInvisibleResponse, error) {
	errs, err := s.queues.extend(lead, req.GetReceipts(), time.Duration(req.GetInvisibleMs())*time.Millisecond)
	if err != nil {
		return nil, s.over(err)
	}
	return &brokerv1.ChangeInvisibleResponse{Results: workResults(errs)}, nil
}

func workResults(errs []error) []*brokerv1.WorkResult {
	results := make([]*brokerv1.WorkResult, len(errs))
	for i, err := range errs {
		results[i] = &brokerv1.WorkResult{}
		if err == nil {
			continue
		}
		own := ownError(err)
		if own == nil {
			own = errorf(CodeInternal, "%v", err)
		}
		results[i].Error = resultError(own)
	}
	return results
}

// ListDeadLetters implements broker.v1.WorkService.
func (s *workService) ListDeadLetters(ctx context.Context, req *brokerv1.ListDeadLettersRequest) (*brokerv1.ListDeadLettersResponse, error) {
	if n := req.GetLimit(); n < 0 || n > maxReceive {
		return nil, errorf(CodeLimitExceeded, "%d dead letters at once, 1 to %d are possible", n, maxReceive)
	}
	return atLeader(ctx, s.router, brokerv1.WorkService_ListDeadLetters_FullMethodName, true, req, s.listDeadLetters)
}

func (s *workService) listDeadLetters(ctx context.Context, _ *leadership, req *brokerv1.ListDeadLettersRequest) (*brokerv1.ListDeadLettersResponse, error) {
	limit := int(req.GetLimit())
	if limit == 0 {
		limit = 100
	}
	return s.queues.list(ctx, req.GetGroup(), state.Offset(req.GetOffset()), limit, req.GetRedriven())
}

// RedriveDeadLetters implements broker.v1.WorkService.
func (s *workService) RedriveDeadLetters(ctx context.Context, req *brokerv1.RedriveDeadLettersRequest) (*brokerv1.RedriveDeadLettersResponse, error) {
	if n := len(req.GetOffsets()); n == 0 || n > maxRedrive {
		return nil, errorf(CodeLimitExceeded, "%d dead letters at once, 1 to %d are possible", n, maxRedrive)
	}
	return atLeader(ctx, s.router, brokerv1.WorkService_RedriveDeadLetters_FullMethodName, true, req, s.redriveDeadLetters)
}

func (s *workService) redriveDeadLetters(ctx context.Context, _ *leadership, req *brokerv1.RedriveDeadLettersRequest) (*brokerv1.RedriveDeadLettersResponse, error) {
	results, err := s.queues.redrive(ctx, req.GetGroup(), req.GetOffsets(), req.GetDryRun())
	if err != nil {
		return nil, err
	}
	return &brokerv1.RedriveDeadLettersResponse{Results: results}, nil
}
