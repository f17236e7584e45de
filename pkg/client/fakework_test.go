package client

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/ledgermq/ledgermq/pkg/batch"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// fakeWork is work-queue groups without leases that end: a message comes again when it is
// given back.
type fakeWork struct {
	brokerv1.UnimplementedWorkServiceServer
	c  *cluster
	mu struct {
		sync.Mutex
		attempts map[string]uint32 // by place: what was given out
		back     map[string]bool   // was given back
		done     map[string]bool
		extended map[string]int
		acks     int // requests
		changed  chan struct{}
		holdAcks chan struct{} // nil: acknowledgements are answered at once
		script   func(call string) error
	}
}

func newFakeWork(c *cluster) *fakeWork {
	w := &fakeWork{c: c}
	w.mu.attempts, w.mu.back, w.mu.done, w.mu.extended = map[string]uint32{}, map[string]bool{}, map[string]bool{}, map[string]int{}
	w.mu.changed = make(chan struct{})
	return w
}

// messages are all that are stored of a topic.
func (w *fakeWork) messages(topic string) (all []*brokerv1.WorkMessage, arrived chan struct{}) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	for n, id := range w.c.mu.topics[topic] {
		for _, b := range w.c.mu.queues[id].batches {
			offset := b.base
			for r, err := range batch.NewCodec().Records(b.data) {
				if err != nil {
					panic(err)
				}
				all = append(all, &brokerv1.WorkMessage{
					Queue: uint32(n), Offset: offset, Value: r.Value, Key: r.Key, MessageGroup: r.MessageGroup, Tag: r.Tag, MessageId: r.MessageID,
				})
				offset++
			}
		}
	}
	return all, w.c.mu.arrived
}

func (w *fakeWork) call(name string) error {
	w.mu.Lock()
	script := w.mu.script
	w.mu.Unlock()
	if script == nil {
		return nil
	}
	return script(name)
}

func (w *fakeWork) Receive(ctx context.Context, req *brokerv1.ReceiveRequest) (*brokerv1.ReceiveResponse, error) {
	if err := w.call("receive"); err != nil {
		return nil, err
	}
	for {
		all, arrived := w.messages(req.GetTopic())
		resp, changed := w.give(all, int(req.GetMaxMessages()))
		if len(resp.GetMessages()) > 0 {
			return resp, nil
		}
		select {
		case <-arrived:
		case <-changed:
		case <-ctx.Done():
			return resp, nil
		}
	}
}

func (w *fakeWork) give(all []*brokerv1.WorkMessage, limit int) (*brokerv1.ReceiveResponse, chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	resp := &brokerv1.ReceiveResponse{}
	for _, m := range all {
		place := fmt.Sprint(m.GetQueue(), "@", m.GetOffset())
		if len(resp.GetMessages()) == limit || w.mu.done[place] || w.mu.attempts[place] > 0 && !w.mu.back[place] {
			continue
		}
		delete(w.mu.back, place)
		w.mu.attempts[place]++
		m.Receipt, m.Attempt = place, w.mu.attempts[place]
		resp.Messages = append(resp.Messages, m)
	}
	return resp, w.mu.changed
}

func (w *fakeWork) Ack(_ context.Context, req *brokerv1.AckRequest) (*brokerv1.AckResponse, error) {
	if err := w.call("ack"); err != nil {
		return nil, err
	}
	resp := &brokerv1.AckResponse{}
	w.mu.Lock()
	w.mu.acks++
	hold := w.mu.holdAcks
	for _, r := range req.GetReceipts() {
		result := &brokerv1.WorkResult{}
		if w.mu.back[r] {
			result.Error = &brokerv1.ErrorDetail{Code: string(CodeReceiptExpired)}
		} else {
			w.mu.done[r] = true
		}
		resp.Results = append(resp.Results, result)
	}
	w.mu.Unlock()
	if hold != nil {
		<-hold
	}
	return resp, nil
}

func (w *fakeWork) Nack(_ context.Context, req *brokerv1.NackRequest) (*brokerv1.NackResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	resp := &brokerv1.NackResponse{}
	for _, r := range req.GetReceipts() {
		w.mu.back[r] = true
		resp.Results = append(resp.Results, &brokerv1.WorkResult{})
	}
	close(w.mu.changed)
	w.mu.changed = make(chan struct{})
	return resp, nil
}

func (w *fakeWork) ChangeInvisible(_ context.Context, req *brokerv1.ChangeInvisibleRequest) (*brokerv1.ChangeInvisibleResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	resp := &brokerv1.ChangeInvisibleResponse{}
	for _, r := range req.GetReceipts() {
		w.mu.extended[r]++
		resp.Results = append(resp.Results, &brokerv1.WorkResult{})
	}
	return resp, nil
}

// CreateGroup and DescribeGroup know work-queue groups only by their name.
func (g *fakeGroups) CreateGroup(_ context.Context, req *brokerv1.CreateGroupRequest) (*brokerv1.CreateGroupResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.groups[req.GetName()] != nil {
		return nil, codeError(codes.AlreadyExists, CodeGroupExists, map[string]string{"outcome": "definite"})
	}
	g.mu.groups[req.GetName()] = &brokerv1.ConsumerGroup{Name: req.GetName(), Assignment: req.GetAssignment(), Work: req.GetWork()}
	return &brokerv1.CreateGroupResponse{Group: g.mu.groups[req.GetName()]}, nil
}

func (g *fakeGroups) DescribeGroup(_ context.Context, req *brokerv1.DescribeGroupRequest) (*brokerv1.DescribeGroupResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.groups[req.GetName()] == nil {
		return nil, codeError(codes.NotFound, CodeUnknownGroup, map[string]string{"outcome": "definite"})
	}
	return &brokerv1.DescribeGroupResponse{Group: g.mu.groups[req.GetName()]}, nil
}
