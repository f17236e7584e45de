package client

import (
	"context"

	"google.golang.org/grpc"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// Recall drops a message that waits for its delivery time; handle is that of its
// Receipt. Nil means that it will never be delivered. ErrNotWaiting: it was
// delivered, or recalled before, or its topic is gone. An indefinite error leaves
// open whether it was recalled.
func (p *Producer) Recall(ctx context.Context, handle string) error { return p.c.Recall(ctx, handle) }

// Recall is Producer.Recall for whoever has a handle and no producer.
func (c *Client) Recall(ctx context.Context, handle string) error {
	request := &brokerv1.RecallRequest{Handle: handle, RequestId: newRequestID()}
	return c.invoke(ctx, harmless, func(ctx context.Context, cc grpc.ClientConnInterface) error {
		_, err := brokerv1.NewDeliveryServiceClient(cc).Recall(ctx, request)
		return err
	})
}
