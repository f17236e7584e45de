package client

import (
	"context"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// Release gives back messages that nobody has begun with, as when a consumer ends: others
// are given them at once, and the attempt does not count. ErrReceiptExpired: a lease had
// ended, or its leader is gone, so that the message comes again anyhow; the others are given
// back all the same.
func (w *WorkConsumer) Release(ctx context.Context, deliveries ...*Delivery) error {
	var first error
	for len(deliveries) > 0 {
		n := min(len(deliveries), maxReceive)
		req := &brokerv1.NackRequest{Untouched: true}
		for _, d := range deliveries[:n] {
			req.Receipts = append(req.Receipts, d.Receipt)
		}
		err := w.call(ctx, func(ctx context.Context, s brokerv1.WorkServiceClient) ([]*brokerv1.WorkResult, error) {
			resp, err := s.Nack(ctx, req)
			return resp.GetResults(), err
		})
		if first == nil {
			first = err
		}
		deliveries = deliveries[n:]
	}
	return first
}
