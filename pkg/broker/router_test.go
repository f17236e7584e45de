package broker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// script is a leader, or a connection to one, whose answers are known before.
type script struct {
	grpc.ClientConnInterface
	answers []error // nil: it worked; the last one for ever
	unsent  bool    // requests do not leave this broker
	asked   int
}

func (s *script) next() error {
	s.asked++
	return s.answers[min(s.asked, len(s.answers))-1]
}

// Invoke implements grpc.ClientConnInterface.
func (s *script) Invoke(_ context.Context, _ string, _, _ any, opts ...grpc.CallOption) error {
	for _, o := range opts {
		if to, ok := o.(grpc.PeerCallOption); ok && !s.unsent {
			to.PeerAddr.Addr = testAddr("mq2:40911")
		}
	}
	return s.next()
}

type testAddr string

func (testAddr) Network() string  { return "tcp" }
func (a testAddr) String() string { return string(a) }

// testRouter is one of n1; n2 leads, and answers as script says.
func testRouter(s *script) *router {
	return &router{
		view:    func() leaderView { return leaderView{self: "n1", leader: "n2", addr: "mq2:10911", term: 7} },
		conn:    func(member.ID) (grpc.ClientConnInterface, bool) { return s, true },
		explain: func() string { return "for no reason" }, held: prometheus.NewGauge(prometheus.GaugeOpts{Name: "held"}),
		hold: 50 * time.Millisecond, room: newBudget(DefaultConfig().Limits),
	}
}

// create sends a request through the router and returns what the client sees.
func (r *router) create(ctx context.Context, again bool) error {
	_, err := atLeader(ctx, r, "/create", again, &brokerv1.CreateTopicRequest{Name: "t"},
		func(context.Context, *leadership, *brokerv1.CreateTopicRequest) (*brokerv1.CreateTopicResponse, error) {
			panic("n1 does not lead")
		})
	return testTranslator().status("/create", err)
}

// remote is an error as the leader sends it.
func remote(code Code) error {
	return testTranslator().status("/create", errorf(code, "said the leader"))
}

var errBroken = status.Error(codes.Unavailable, "error reading from server: EOF")

// TestDoubtIsNotForgotten: once a try may have had its effect, nothing that later
// ones are answered makes the outcome certain.
func TestDoubtIsNotForgotten(t *testing.T) {
	for name, tc := range map[string]struct {
		answers []error
		unsent  bool
		once    bool
		code    Code
		outcome string
	}{
		"connection breaks":              {answers: []error{errBroken}, code: CodeNoLeader, outcome: "indefinite"},
		"connection breaks, once":        {answers: []error{errBroken}, once: true, code: CodeLeadershipLost, outcome: "indefinite"},
		"no connection":                  {answers: []error{errBroken}, unsent: true, code: CodeNoLeader, outcome: "definite"},
		"no connection, once":            {answers: []error{errBroken}, unsent: true, once: true, code: CodeNoLeader, outcome: "definite"},
		"breaks, then another leads":     {answers: []error{errBroken, remote(CodeNotLeader)}, code: CodeNotLeader, outcome: "indefinite"},
		"lost, then transferring":        {answers: []error{remote(CodeLeadershipLost), remote(CodeLeaderTransferring)}, code: CodeLeaderTransferring, outcome: "indefinite"},
		"lost, then exists":              {answers: []error{remote(CodeLeadershipLost), remote(CodeTopicExists)}, code: CodeTopicExists, outcome: "indefinite"},
		"refused, then exists":           {answers: []error{remote(CodeNotLeader), remote(CodeTopicExists)}, code: CodeTopicExists, outcome: "definite"},
		"the leader itself was in doubt": {answers: []error{testTranslator().status("/m", doubted(errorf(CodeNoLeader, "x"))), remote(CodeNotLeader)}, code: CodeNotLeader, outcome: "indefinite"},
		"the same, not to be sent again": {answers: []error{testTranslator().status("/m", doubted(errorf(CodeNoLeader, "x"))), nil}, once: true, code: CodeNoLeader, outcome: "indefinite"},
		"lost to the end":                {answers: []error{remote(CodeLeadershipLost)}, code: CodeLeadershipLost, outcome: "indefinite"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the hold is short
				r := testRouter(&script{answers: tc.answers, unsent: tc.unsent})
				requireCode(t, r.create(t.Context(), !tc.once), tc.code, tc.outcome)
			})
		})
	}
}

func TestDoubtOutlivesTheBroker(t *testing.T) {
	stopping := make(chan struct{})
	close(stopping)
	for answer, outcome := range map[error]string{remote(CodeLeadershipLost): "indefinite", remote(CodeNotLeader): "definite"} {
		s := &script{answers: []error{answer}}
		r := testRouter(s)
		r.stopping, r.hold = stopping, time.Hour
		requireCode(t, r.create(t.Context(), true), CodeShuttingDown, outcome)
		require.Equal(t, 1, s.asked)
	}
}

// TestDoubtReachesSingleBatches: a batch that is refused may be the second copy
// of one that was stored.
func TestDoubtReachesSingleBatches(t *testing.T) {
	for _, tc := range []struct {
		answers []error
		doubt   bool
	}{{[]error{nil}, false}, {[]error{remote(CodeLeadershipLost), nil}, true}} {
		s := &script{answers: tc.answers}
		r := testRouter(s)
		r.hold = patience
		r.view = func() leaderView { return leaderView{self: "n1", leader: "n1", master: true, serving: &leadership{}} }
		resp, err := atLeader(t.Context(), r, "/publish", true, &brokerv1.PublishRequest{},
			func(context.Context, *leadership, *brokerv1.PublishRequest) (*brokerv1.PublishResponse, error) {
				return &brokerv1.PublishResponse{Results: []*brokerv1.BatchResult{{}, {Error: &brokerv1.ErrorDetail{Code: "PRODUCER_FENCED"}}}}, s.next()
			})
		require.NoError(t, err)
		require.Nil(t, resp.GetResults()[0].GetError())
		require.Equal(t, tc.doubt, resp.GetResults()[1].GetError().GetIndefinite())
	}
}

func TestWaitingRequestsAreBounded(t *testing.T) {
	synctest.Test(t, testWaitingRequestsAreBounded) // the hold is short
}

func testWaitingRequestsAreBounded(t *testing.T) {
	s := &script{answers: []error{remote(CodeNotLeader)}}
	r := testRouter(s)
	r.room = newBudget(LimitsConfig{MaxPendingProposals: 1, MaxPendingBytes: kibibyte})
	require.True(t, r.room.tryAcquire(0))
	requireCode(t, r.create(t.Context(), true), CodeLimitExceeded, "definite")
	r.room.release(0)
	requireCode(t, r.create(t.Context(), true), CodeNotLeader, "definite")
	require.Greater(t, s.asked, 2, "a place is given back after each wait")
}
