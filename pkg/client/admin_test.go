package client

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
)

const patience = 60 * time.Second

func TestAdmin(t *testing.T) {
	c := newCluster(t, 3)
	a := c.client().Admin()
	ctx := within(t, patience)
	topic, err := a.CreateTopic(ctx, "orders", 3)
	if err != nil || topic.Name != "orders" || len(topic.Queues) != 3 {
		t.Fatalf("%+v, %v", topic, err)
	}
	if _, err := a.CreateTopic(ctx, "orders", 3); !errors.Is(err, ErrTopicExists) {
		t.Errorf("made twice: %v", err)
	}
	if _, err := a.CreateTopic(ctx, "orders", 0); CodeOf(err) != CodeInvalidConfig {
		t.Errorf("no queues: %v", err)
	}
	if topics, err := a.ListTopics(ctx); err != nil || len(topics) != 1 {
		t.Errorf("%v, %v", topics, err)
	}
	if leader, term, err := a.Transfer(ctx, "n2"); err != nil || leader != "n2" || term != 2 {
		t.Errorf("%s, %d, %v", leader, term, err)
	}
	if _, _, err := a.Transfer(ctx, "n7"); !errors.Is(err, ErrUnknownMember) {
		t.Errorf("unknown member: %v", err)
	}
	if err := a.DeleteTopic(ctx, "orders"); err != nil {
		t.Error(err)
	}
	if _, err := a.DescribeTopic(ctx, "orders"); !errors.Is(err, ErrUnknownTopic) {
		t.Errorf("deleted topic: %v", err)
	}
}

func TestStatusTellsWhoIsDown(t *testing.T) {
	c := newCluster(t, 3)
	cl := c.client()
	ctx := within(t, patience)
	for r := cl.router.route(); len(r.nodes) < 3; r = cl.router.route() {
		select {
		case <-r.changed:
		case <-ctx.Done():
			t.Fatal("members are not learned")
		}
	}
	c.kill("n3:1")
	all, err := cl.Admin().Status(ctx)
	if err != nil || len(all) != 3 {
		t.Fatalf("%+v, %v", all, err)
	}
	for i, id := range []string{"n1", "n2", "n3"} {
		if all[i].ID != id || (all[i].Err != nil) != (id == "n3") || (all[i].Status == nil) != (id == "n3") {
			t.Errorf("%d: %+v", i, all[i])
		}
	}
}

// TestRequestsWaitForALeader: a request made while nobody leads is answered when
// somebody does.
func TestRequestsWaitForALeader(t *testing.T) {
	c := newCluster(t, 3)
	cl := c.client()
	c.kill("n1:1")
	c.tasks.Go(func() error { c.lead("n3:1"); return nil })
	if _, err := cl.Admin().CreateTopic(within(t, patience), "late", 1); err != nil {
		t.Error(err)
	}
}

func TestClosedClient(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	cl := c.client()
	p, err := cl.Producer(t.Context(), ProducerConfig{Topic: "t"})
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(t.Context(), Message{}).Get(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("publish: %v", err)
	}
	if _, err := cl.Admin().ListTopics(within(t, patience)); !errors.Is(err, ErrClosed) {
		t.Errorf("request: %v", err)
	}
	if _, err := cl.Producer(within(t, patience), ProducerConfig{Topic: "t"}); !errors.Is(err, ErrClosed) {
		t.Errorf("producer: %v", err)
	}
}

// TestCloseLeavesRequestsInDoubt: what was under way when the client was closed may have
// been carried out; what was asked for afterwards was not.
func TestCloseLeavesRequestsInDoubt(t *testing.T) {
	cl := newCluster(t, 1).client()
	// Harmful, so that a leader which is lost sight of does not end it first.
	err := cl.invoke(within(t, patience), harmful, func(ctx context.Context, _ grpc.ClientConnInterface) error {
		go func() { _ = cl.Close() }()
		<-ctx.Done() // the broker has done it, and its answer is on the way
		return ctx.Err()
	})
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeClosed || !e.Indefinite {
		t.Errorf("under way: %+v", err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	other := newCluster(t, 1).client()
	err = other.invoke(ctx, harmful, func(ctx context.Context, _ grpc.ClientConnInterface) error {
		stop(errConsumerClosed) // a work consumer's, with an acknowledgement under way
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.As(err, &e) || e.Code != CodeClosed || !e.Indefinite || errConsumerClosed.Indefinite {
		t.Errorf("under way, of a consumer: %+v", err)
	}
	err = cl.invoke(within(t, patience), harmless, func(context.Context, grpc.ClientConnInterface) error {
		t.Error("a request of a closed client")
		return nil
	})
	if !errors.As(err, &e) || e.Code != CodeClosed || e.Indefinite {
		t.Errorf("afterwards: %+v", err)
	}
}

// TestDoubtIsRemembered: a request that one try may have carried out is in doubt,
// whatever later tries say.
func TestDoubtIsRemembered(t *testing.T) {
	for name, last := range map[string]*Error{
		"until its time is up": {Code: CodeNoLeader},
		"until it is refused":  {Code: CodeUnknownTopic},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // there is little time for another try
				cl := newCluster(t, 1).client()
				tries := 0
				err := cl.invoke(within(t, 100*time.Millisecond), harmless, func(context.Context, grpc.ClientConnInterface) error {
					if tries++; tries == 1 {
						return errNoAnswer
					}
					return last
				})
				var e *Error
				if !errors.As(err, &e) || e.Code != last.Code || !e.Indefinite || last.Indefinite {
					t.Errorf("got %+v", err)
				}
			})
		})
	}
}
