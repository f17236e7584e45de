package client

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/ledgermq/ledgermq/pkg/batch"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// RegisterTransactionGroup knows one group.
func (n *fakeNode) RegisterTransactionGroup(context.Context, *brokerv1.RegisterTransactionGroupRequest) (*brokerv1.RegisterTransactionGroupResponse, error) {
	if err := n.notLeader(); err != nil {
		return nil, err
	}
	return &brokerv1.RegisterTransactionGroupResponse{Group: 7}, nil
}

// EndTransaction stores what is committed and forgets it.
func (n *fakeNode) EndTransaction(_ context.Context, req *brokerv1.EndTransactionRequest) (*brokerv1.EndTransactionResponse, error) {
	if err := n.notLeader(); err != nil {
		return nil, err
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if len(n.c.mu.ends) > 0 {
		err := n.c.mu.ends[0]
		n.c.mu.ends = n.c.mu.ends[1:]
		return nil, err
	}
	b := n.c.mu.waiting[req.GetHandle()]
	switch base, ended := n.c.mu.ended[req.GetHandle()]; {
	case ended && req.GetCommit() == (base >= 0): // it may be the second time that this is said
		return &brokerv1.EndTransactionResponse{BaseOffset: base}, nil
	case ended:
		return nil, codeError(codes.FailedPrecondition, CodeTransactionEnded, map[string]string{"outcome": "definite"})
	case b == nil:
		return nil, codeError(codes.NotFound, CodeUnknownTransaction, map[string]string{"outcome": "definite"})
	}
	delete(n.c.mu.waiting, req.GetHandle())
	if !req.GetCommit() {
		n.c.mu.ended[req.GetHandle()] = -1
		return &brokerv1.EndTransactionResponse{BaseOffset: -1}, nil
	}
	h, err := batch.ParseHeader(b)
	if err != nil || h.TransactionGroup != 7 {
		return nil, errors.New("not a half message of this group")
	}
	q := n.c.mu.queues[h.Queue]
	n.c.mu.index++
	q.batches = append(q.batches, fakeBatch{base: q.end, index: n.c.mu.index, term: n.c.mu.term, data: b})
	n.c.mu.ended[req.GetHandle()] = q.end
	q.end += int64(h.Count)
	close(n.c.mu.arrived)
	n.c.mu.arrived = make(chan struct{})
	return &brokerv1.EndTransactionResponse{BaseOffset: q.end - int64(h.Count)}, nil
}

// PutOffTransaction counts.
func (n *fakeNode) PutOffTransaction(_ context.Context, req *brokerv1.PutOffTransactionRequest) (*brokerv1.PutOffTransactionResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if !req.GetFailed() && n.c.mu.waiting[req.GetHandle()] != nil {
		n.c.mu.putOff++
	}
	return &brokerv1.PutOffTransactionResponse{}, nil
}

// WatchTransactions asks about all that waits, again and again.
func (n *fakeNode) WatchTransactions(_ *brokerv1.WatchTransactionsRequest, s grpc.ServerStreamingServer[brokerv1.WatchTransactionsResponse]) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := n.notLeader(); err != nil {
			return err
		}
		n.c.mu.Lock()
		waiting := map[string][]byte{}
		for h, b := range n.c.mu.waiting {
			waiting[h] = b
		}
		n.c.mu.Unlock()
		for handle, b := range waiting {
			if err := s.Send(&brokerv1.WatchTransactionsResponse{Handle: handle, Topic: "orders", Batch: b}); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-s.Context().Done():
			return s.Context().Err()
		}
	}
}

// TestTransactions end as the application says, or its Check does when nobody has
// said anything; a new leader asks too.
func TestTransactions(t *testing.T) {
	c := newCluster(t, 3)
	c.topic("orders", 1)
	cl := c.client()
	ctx := within(t, patience)
	answers := make(chan Decision, 1)
	asked := make(chan Message, 1000)
	tp, err := cl.Transactional(ctx, TransactionalConfig{
		Producer: ProducerConfig{Topic: "orders"}, Group: "shop",
		Check: func(_ context.Context, m Message) Decision {
			asked <- m
			select {
			case d := <-answers:
				return d
			default:
				return Unknown
			}
		},
	})
	require.NoError(t, err)
	begin := func(value string) *Transaction {
		tx, err := tp.Begin(ctx, Message{Value: []byte(value)})
		require.NoError(t, err)
		require.Equal(t, int64(-1), tx.Receipt.Offset)
		return tx
	}
	committed, dropped := begin("committed"), begin("dropped")
	require.Empty(t, c.values("orders", 0))
	offset, err := committed.Commit(ctx)
	require.NoError(t, err)
	require.Equal(t, int64(0), offset)
	require.NoError(t, dropped.Rollback(ctx))
	require.NoError(t, dropped.Rollback(ctx), "again")
	_, err = dropped.Commit(ctx)
	require.Equal(t, CodeTransactionEnded, CodeOf(err))
	_, err = tp.End(ctx, "t-1-77", Commit)
	require.ErrorIs(t, err, ErrUnknownTransaction)

	begin("forgotten")
	c.leadNext()
	for m := (Message{}); string(m.Value) != "forgotten"; {
		m = <-asked
	}
	require.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.mu.putOff > 0
	}, patience, time.Millisecond, "an Unknown is an answer, too")
	answers <- Commit
	require.Eventually(t, func() bool { return len(c.values("orders", 0)) == 2 }, patience, time.Millisecond)
	require.Equal(t, []string{"committed", "forgotten"}, c.values("orders", 0))

	_, err = tp.Begin(ctx, Message{Delay: time.Hour})
	require.Equal(t, CodeInvalidConfig, CodeOf(err))
	_, err = cl.Transactional(ctx, TransactionalConfig{Producer: ProducerConfig{Topic: "orders"}})
	require.Equal(t, CodeInvalidConfig, CodeOf(err))
	require.NoError(t, tp.Close(ctx))
}

// TestEndedIsDefinite, also after a try of which nobody knows: how it ended is known. That
// nobody knows the transaction says nothing about that try.
func TestEndedIsDefinite(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("orders", 1)
	tp, err := c.client().Transactional(t.Context(), TransactionalConfig{
		Producer: ProducerConfig{Topic: "orders"}, Group: "shop",
		Check: func(context.Context, Message) Decision { return Unknown },
	})
	require.NoError(t, err)
	lost := codeError(codes.Unavailable, CodeLeadershipLost, map[string]string{"outcome": "indefinite"})
	for code, indefinite := range map[Code]bool{CodeTransactionEnded: false, CodeUnknownTransaction: true} {
		c.mu.Lock()
		c.mu.ends = []error{lost, codeError(codes.FailedPrecondition, code, map[string]string{"outcome": "definite"})}
		c.mu.Unlock()
		offset, err := tp.End(within(t, patience), "t-1-1", Commit)
		require.Equal(t, int64(-1), offset)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, code, e.Code)
		require.Equal(t, indefinite, e.Indefinite, "%s", code)
	}
	require.NoError(t, tp.Close(t.Context()))
}
