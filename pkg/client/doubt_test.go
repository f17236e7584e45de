package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// doubtfulRequest registers a producer. Where nobody leads brokers say so; the first lost
// answers never arrive.
func doubtfulRequest(lost int) func(context.Context, grpc.ClientConnInterface) error {
	return func(ctx context.Context, cc grpc.ClientConnInterface) error {
		_, err := brokerv1.NewMessagingServiceClient(cc).RegisterProducer(ctx, &brokerv1.RegisterProducerRequest{RequestId: "r"})
		switch {
		case err != nil && fromStatus(err).Code == CodeNotLeader && fromStatus(err).Leader == "":
			return codeError(codes.Unavailable, CodeNoLeader, map[string]string{"outcome": "definite", "node": "n1"})
		case err == nil && lost > 0:
			lost--
			return status.Error(codes.Unavailable, `connection error: desc = "error reading from server: EOF"`)
		}
		return err
	}
}

// TestDoubtOfRequests: a request is in doubt if a broker may have had it and it changes something,
// whatever the errors say; and that nobody leads says more than who cannot be reached.
func TestDoubtOfRequests(t *testing.T) {
	resigned := func(c *cluster) { c.lead(""); c.kill("n2:1"); c.kill("n3:1") }
	dead := func(c *cluster) { c.kill("n1:1"); c.kill("n2:1"); c.kill("n3:1") }
	alone := func(c *cluster) { c.kill("n2:1"); c.kill("n3:1") }
	for name, tc := range map[string]struct {
		fail  func(*cluster)
		again repeat
		lost  int
		want  Error
	}{
		"nobody leads, a change":       {resigned, harmless, 0, Error{Code: CodeNoLeader, Node: "n1"}},
		"nobody leads, a transfer":     {resigned, harmful, 0, Error{Code: CodeNoLeader, Node: "n1"}},
		"nobody is there, a change":    {dead, harmless, 0, Error{Code: CodeUnavailable}},
		"nobody is there, a transfer":  {dead, harmful, 0, Error{Code: CodeUnavailable}},
		"the answer is lost, a change": {alone, harmless, 1 << 30, Error{Code: CodeUnavailable, Indefinite: true}},
		"lost, a transfer":             {alone, harmful, 1, Error{Code: CodeUnavailable, Indefinite: true}},
		"lost, reading":                {alone, reading, 1 << 30, Error{Code: CodeUnavailable}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 3)
				cl := c.client()
				synctest.Wait() // it knows all of them
				tc.fail(c)
				synctest.Wait()
				checkDoubt(t, cl.invoke(within(t, 10*time.Second), tc.again, doubtfulRequest(tc.lost)), tc.want)
			})
		})
	}
}

func checkDoubt(t *testing.T, err error, want Error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != want.Code || e.Node != want.Node || e.Indefinite != want.Indefinite ||
		strings.HasSuffix(e.Error(), " (may have been done)") != want.Indefinite {
		t.Errorf("got %+v", err)
	}
}

// TestDoubtOutlivesItsBroker: that no later try reaches anybody does not undo what an earlier
// one may have done.
func TestDoubtOutlivesItsBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		cl := c.client()
		synctest.Wait()
		lose := doubtfulRequest(1)
		err := cl.invoke(within(t, 10*time.Second), harmless, func(ctx context.Context, cc grpc.ClientConnInterface) error {
			defer func() { c.kill("n1:1"); c.kill("n2:1"); c.kill("n3:1") }()
			return lose(ctx, cc)
		})
		checkDoubt(t, err, Error{Code: CodeUnavailable, Indefinite: true})
	})
}

// TestSilenceOfTheLeaderless: where the time ends before a broker says that nobody leads, what
// they told before says it.
func TestSilenceOfTheLeaderless(t *testing.T) {
	for again, doubt := range map[repeat]bool{harmless: true, reading: false} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 1)
			cl := c.client()
			c.lead("")
			synctest.Wait()
			err := cl.invoke(within(t, 3*time.Second), again, func(ctx context.Context, _ grpc.ClientConnInterface) error {
				<-ctx.Done() // the broker waits for a leader
				return ctx.Err()
			})
			checkDoubt(t, err, Error{Code: CodeNoLeader, Indefinite: doubt})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestIdentityIsNoDeadline: that an identity was asked for in vain until its time was up must not
// make a message's end look like that of its sender's context.
func TestIdentityIsNoDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.mu.patient = true
		p := &Producer{c: c.client(), cfg: ProducerConfig{AckTimeout: time.Second}, queues: []*outQueue{{}}}
		c.lead("")
		synctest.Wait()
		err := p.identify(t.Context())
		checkDoubt(t, err, Error{Code: CodeNoLeader, Indefinite: true})
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
