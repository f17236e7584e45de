package broker

import (
	"context"
	"fmt"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// transactionService ends transactions: broker.v1.TransactionService.
type transactionService struct {
	brokerv1.UnsafeTransactionServiceServer

	router       *router
	proposer     *proposer
	store        *state.Store
	ledger       *dledger.Server
	disk         *diskGuard
	transactions *transactions
}

// RegisterTransactionGroup implements broker.v1.TransactionService.
func (s *transactionService) RegisterTransactionGroup(ctx context.Context, req *brokerv1.RegisterTransactionGroupRequest) (*brokerv1.RegisterTransactionGroupResponse, error) {
	return atLeader(ctx, s.router, brokerv1.TransactionService_RegisterTransactionGroup_FullMethodName, true, req, s.register)
}

func (s *transactionService) register(ctx context.Context, _ *leadership, req *brokerv1.RegisterTransactionGroupRequest) (*brokerv1.RegisterTransactionGroupResponse, error) {
	if err := s.disk.refusal(); err != nil {
		return nil, err
	}
	out, err := s.proposer.command(ctx, &recordv1.Command{
		Kind: &recordv1.Command_RegisterTransactionGroup{RegisterTransactionGroup: &recordv1.RegisterTransactionGroup{Name: req.GetName()}},
	})
	if err != nil {
		return nil, err
	}
	return &brokerv1.RegisterTransactionGroupResponse{Group: uint32(out.ProducerID)}, nil
}

// EndTransaction implements broker.v1.TransactionService.
func (s *transactionService) EndTransaction(ctx context.Context, req *brokerv1.EndTransactionRequest) (*brokerv1.EndTransactionResponse, error) {
	if _, err := parseTransaction(req.GetHandle()); err != nil {
		return nil, err
	}
	return atLeader(ctx, s.router, brokerv1.TransactionService_EndTransaction_FullMethodName, true, req, s.end)
}

func (s *transactionService) end(ctx context.Context, _ *leadership, req *brokerv1.EndTransactionRequest) (*brokerv1.EndTransactionResponse, error) {
	end, err := parseTransaction(req.GetHandle())
	if err != nil {
		return nil, err
	}
	end.Commit = req.GetCommit()
	out, err := s.proposer.command(ctx, &recordv1.Command{Kind: &recordv1.Command_EndTransaction{EndTransaction: end}})
	if err == nil || out.Code == state.CodeTransactionEnded { // one that is not known may be open, under another handle
		s.transactions.over(state.Index(end.GetId()))
	}
	if err != nil {
		return nil, err
	}
	if !out.Duplicate {
		outcome := "rollback"
		if end.GetCommit() {
			outcome = "commit"
		}
		s.transactions.ended.WithLabelValues(outcome).Inc()
	}
	return &brokerv1.EndTransactionResponse{BaseOffset: int64(out.BaseOffset), Duplicate: out.Duplicate}, nil
}

// PutOffTransaction implements broker.v1.TransactionService.
func (s *transactionService) PutOffTransaction(ctx context.Context, req *brokerv1.PutOffTransactionRequest) (*brokerv1.PutOffTransactionResponse, error) {
	if _, err := parseTransaction(req.GetHandle()); err != nil {
		return nil, err
	}
	return atLeader(ctx, s.router, brokerv1.TransactionService_PutOffTransaction_FullMethodName, true, req, s.putOff)
}

func (s *transactionService) putOff(_ context.Context, _ *leadership, req *brokerv1.PutOffTransactionRequest) (*brokerv1.PutOffTransactionResponse, error) {
	end, err := parseTransaction(req.GetHandle())
	if err != nil {
		return nil, err
	}
	s.transactions.putOff(state.Index(end.GetId()), req.GetFailed())
	return &brokerv1.PutOffTransactionResponse{}, nil
}

// WatchTransactions implements broker.v1.TransactionService.
func (s *transactionService) WatchTransactions(req *brokerv1.WatchTransactionsRequest, rpc brokerv1.TransactionService_WatchTransactionsServer) error {
	ctx := rpc.Context()
	lead, err := s.router.stream(ctx)
	if err != nil {
		return err
	}
	if g := req.GetGroup(); g == 0 || int(g) > s.store.Waiting().Groups {
		return errorf(CodeUnknownTransactionGroup, "transaction group %d is not registered", g)
	}
	w, err := s.transactions.watch(req.GetGroup())
	if err != nil {
		return err
	}
	defer s.transactions.leave(w)
	for {
		select {
		case check := <-w.checks:
			if err := s.send(rpc, check); err != nil {
				return err
			}
		case <-lead.done:
			return s.router.ended()
		case <-s.router.stopping:
			return errorf(CodeShuttingDown, "the broker is shutting down")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// send asks a producer. What cannot be read now is asked about another time.
func (s *transactionService) send(rpc brokerv1.TransactionService_WatchTransactionsServer, check transactionCheck) error {
	topic, number, ok := s.store.TopicOfQueue(check.Queue)
	if !ok {
		s.transactions.over(check.ID) // deleted meanwhile
		return nil
	}
	at := commitlog.Index(check.Place)
	frame, err := s.ledger.Read(at, at, 0)
	if err != nil {
		s.transactions.log.Debug("a half message cannot be read", "entry", int64(check.Place), "error", err)
		s.transactions.putOff(check.ID, true)
		return nil
	}
	defer frame.Release()
	_, body, _, err := commitlog.NextEntry(frame.Bytes)
	if err != nil {
		return err
	}
	return rpc.Send(&brokerv1.WatchTransactionsResponse{
		Handle: transactionHandle(check.Queue, check.ID), Topic: topic, Queue: uint32(number), Times: uint32(check.times),
		BeginUnixMs: check.UnixMs, Batch: append([]byte(nil), body...),
	})
}

// transactionHandle is the text by which clients name a transaction.
func transactionHandle(q state.QueueID, id state.Index) string {
	return fmt.Sprintf("t-%x-%x", uint32(q), int64(id))
}

func parseTransaction(text string) (*recordv1.EndTransaction, error) {
	e := &recordv1.EndTransaction{}
	_, err := fmt.Sscanf(text, "t-%x-%x", &e.Queue, &e.Id)
	if err != nil || transactionHandle(state.QueueID(e.GetQueue()), state.Index(e.GetId())) != text {
		return nil, errorf(CodeInvalidHandle, "%.64q is not a handle of a transaction", text)
	}
	return e, nil
}
