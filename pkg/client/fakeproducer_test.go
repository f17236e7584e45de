package client

import (
	"context"

	"google.golang.org/grpc/codes"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

type fakeProducer struct{ epoch uint32 }

// RegisterProducer gives out ids, and epochs of names, once per request.
func (n *fakeNode) RegisterProducer(ctx context.Context, req *brokerv1.RegisterProducerRequest) (*brokerv1.RegisterProducerResponse, error) {
	c := n.c
	c.mu.Lock()
	wait := c.mu.patient && c.mu.leader == ""
	c.mu.Unlock()
	if wait {
		<-ctx.Done()
	}
	if err := n.notLeader(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if first := c.mu.requests[req.GetRequestId()]; first != nil {
		return first, nil
	}
	resp := &brokerv1.RegisterProducerResponse{ProducerId: c.mu.names[req.GetName()]}
	if p := c.mu.producers[resp.GetProducerId()]; p != nil {
		if id := req.GetContinuesId(); id != 0 && (id != resp.GetProducerId() || req.GetContinuesEpoch() != p.epoch) {
			return nil, codeError(codes.FailedPrecondition, CodeProducerFenced, map[string]string{"outcome": "definite"})
		}
		p.epoch++
		resp.Epoch = p.epoch
		for _, q := range c.mu.queues {
			delete(q.seen, resp.GetProducerId())
		}
	} else {
		c.mu.lastID++
		resp.ProducerId = c.mu.lastID
		c.mu.producers[c.mu.lastID] = &fakeProducer{}
		if req.GetName() != "" {
			c.mu.names[req.GetName()] = c.mu.lastID
		}
	}
	c.mu.requests[req.GetRequestId()] = resp
	return resp, nil
}
