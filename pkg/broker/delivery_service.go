package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// maxDelay is how far ahead a delivery time may be: a year, be it a leap year.
const maxDelay = 366 * 24 * time.Hour

// checkDelivery refuses a batch that could not be delivered at its time. Whether the
// limit is reached is looked at again when the batch is applied.
func (p *publisher) checkDelivery(h batch.Header) *Error {
	if n := p.store.Waiting().Transactions; h.TransactionGroup != 0 && n >= p.transactions {
		return errorf(CodeTooManyOpen, "%d transactions are open, and limits.max_transactions is %d", n, p.transactions)
	}
	if h.DeliverAt == 0 {
		return nil
	}
	if ahead := time.UnixMilli(h.DeliverAt).Sub(p.now()); ahead > maxDelay {
		return errorf(CodeDeliveryTooFar, "delivery time %s is further ahead than %d days",
			time.UnixMilli(h.DeliverAt).UTC().Format(time.RFC3339), int(maxDelay.Hours()/24))
	}
	if n := p.store.Waiting().Delayed; n >= p.delayed {
		return errorf(CodeTooManyDelayed, "%d batches wait for their delivery time, and limits.max_delayed is %d", n, p.delayed)
	}
	return nil
}

// deliveryService is about messages that wait: broker.v1.DeliveryService.
type deliveryService struct {
	brokerv1.UnsafeDeliveryServiceServer

	router   *router
	proposer *proposer
}

// Recall implements broker.v1.DeliveryService.
func (s *deliveryService) Recall(ctx context.Context, req *brokerv1.RecallRequest) (*brokerv1.RecallResponse, error) {
	if _, err := parseHandle(req.GetHandle()); err != nil {
		return nil, err
	}
	if req.GetRequestId() == "" {
		req.RequestId = uuid.NewString()
	}
	return atLeader(ctx, s.router, brokerv1.DeliveryService_Recall_FullMethodName, true, req, s.recall)
}

func (s *deliveryService) recall(ctx context.Context, _ *leadership, req *brokerv1.RecallRequest) (*brokerv1.RecallResponse, error) {
	recall, err := parseHandle(req.GetHandle())
	if err != nil {
		return nil, err
	}
	_, err = s.proposer.command(ctx, &recordv1.Command{RequestId: req.GetRequestId(), Kind: &recordv1.Command_Recall{Recall: recall}})
	if err != nil {
		return nil, err
	}
	return &brokerv1.RecallResponse{}, nil
}

// handleOf is the text by which clients name a batch that waits.
func handleOf(o state.Outcome) string {
	return fmt.Sprintf("d-%x-%x", uint32(o.Queue), int64(o.Handle))
}

func parseHandle(text string) (*recordv1.Recall, error) {
	r := &recordv1.Recall{}
	_, err := fmt.Sscanf(text, "d-%x-%x", &r.Queue, &r.Id)
	if err != nil || handleOf(state.Outcome{Queue: state.QueueID(r.GetQueue()), Handle: state.Index(r.GetId())}) != text {
		return nil, errorf(CodeInvalidHandle, "%.64q is not a handle of a message that waits", text)
	}
	return r, nil
}
