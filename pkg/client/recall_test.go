package client

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/ledgermq/ledgermq/pkg/batch"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// Recall forgets a batch that waits.
func (n *fakeNode) Recall(_ context.Context, req *brokerv1.RecallRequest) (*brokerv1.RecallResponse, error) {
	if err := n.notLeader(); err != nil {
		return nil, err
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if n.c.mu.waiting[req.GetHandle()] == nil {
		return nil, codeError(codes.FailedPrecondition, CodeNotWaiting, map[string]string{"outcome": "definite"})
	}
	delete(n.c.mu.waiting, req.GetHandle())
	return &brokerv1.RecallResponse{}, nil
}

// TestDelayedMessagesHaveABatchEach with its delivery time in the header, so that one
// can be recalled without the others; those without one still share batches.
func TestDelayedMessagesHaveABatchEach(t *testing.T) {
	c := newCluster(t, 3)
	c.topic("orders", 2)
	cl := c.client()
	p, err := cl.Producer(within(t, patience), ProducerConfig{Topic: "orders", Linger: time.Minute})
	require.NoError(t, err)
	at := time.UnixMilli(time.Now().Add(time.Hour).UnixMilli())
	var delayed, plain []*Result
	for range 3 {
		plain = append(plain, p.Publish(t.Context(), Message{Key: []byte("k"), Value: []byte("now")}))
		plain = append(plain, p.Publish(t.Context(), Message{Key: []byte("k"), Value: []byte("now")}))
		delayed = append(delayed, p.Publish(t.Context(), Message{Key: []byte("k"), Value: []byte("later"), DeliverAt: at}))
	}
	require.NoError(t, p.Flush(within(t, patience)))
	handles := map[string]bool{}
	for _, r := range delayed {
		receipt, err := r.Get(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(-1), receipt.Offset)
		handles[receipt.Handle] = true
	}
	require.Len(t, handles, 3)
	for i, r := range plain {
		receipt, err := r.Get(t.Context())
		require.NoError(t, err)
		require.Empty(t, receipt.Handle)
		require.Equal(t, int64(i), receipt.Offset)
	}
	c.mu.Lock()
	require.Equal(t, 6, c.mu.batches)
	for _, b := range c.mu.waiting {
		for r, err := range batch.NewCodec().Records(b) {
			require.NoError(t, err)
			require.Equal(t, at.UnixMilli(), r.DeliverAt)
			require.Equal(t, batch.Delay, r.Type)
		}
		h, err := batch.ParseHeader(b)
		require.NoError(t, err)
		require.Equal(t, at.UnixMilli(), h.DeliverAt)
	}
	c.mu.Unlock()
	for h := range handles {
		c.leadNext() // the recall finds the leader
		require.NoError(t, p.Recall(within(t, patience), h))
		require.ErrorIs(t, p.Recall(within(t, patience), h), ErrNotWaiting)
	}
}
