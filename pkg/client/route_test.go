package client

import (
	"errors"
	"testing"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// TestRouteFollowsReports goes through what brokers say and whom the client then follows.
func TestRouteFollowsReports(t *testing.T) {
	a, b, c := &node{addr: "a:1"}, &node{addr: "b:1"}, &node{addr: "c:1"}
	says := func(from *node, leader string, term int64) report {
		return report{from: from, says: &brokerv1.WatchLeaderResponse{LeaderAddr: leader, Term: term}}
	}
	for _, tc := range []struct {
		name    string
		reports []report
		leader  *node
		term    int64
	}{
		{"first answer", []report{says(a, "b:1", 3)}, b, 3},
		{"higher term wins", []report{says(a, "b:1", 3), says(c, "c:1", 4)}, c, 4},
		{"lower term loses", []report{says(a, "b:1", 3), says(c, "c:1", 2)}, b, 3},
		{"a paused leader that wakes up", []report{says(a, "a:1", 3), says(b, "b:1", 4), says(a, "a:1", 3)}, b, 4},
		{"who knows no leader takes none away", []report{says(a, "b:1", 3), says(c, "", 4)}, b, 3},
		{"a leader resigns", []report{says(a, "b:1", 3), says(b, "", 4)}, nil, 4},
		{"a leader resigns for another", []report{says(a, "b:1", 3), says(b, "c:1", 3)}, c, 3},
		{"after a resignation lower terms lose", []report{says(a, "b:1", 3), says(b, "", 4), says(c, "c:1", 3)}, nil, 4},
		{"a hint without a term", []report{says(a, "b:1", 3), says(b, "c:1", 0)}, c, 3},
		{"a hint without a term from elsewhere", []report{says(a, "b:1", 3), says(a, "c:1", 0)}, b, 3},
		{"a wiped group starts again", []report{says(a, "a:1", 9), says(a, "", 0), says(a, "b:1", 1)}, b, 1},
		{"unknown address", []report{says(a, "x:1", 3)}, nil, 0},
		{"a broken connection changes no leader", []report{says(a, "b:1", 3), {from: b, err: errSilent}}, b, 3},
	} {
		r := &route{nodes: []*node{a, b, c}}
		for _, rep := range tc.reports {
			if next := r.after(rep); next != nil {
				r = next
			}
		}
		if r.leader != tc.leader || r.term != tc.term {
			t.Errorf("%s: leader %+v in term %d, want %+v in term %d", tc.name, r.leader, r.term, tc.leader, tc.term)
		}
	}
}

func TestMembersAreLearned(t *testing.T) {
	c := newCluster(t, 3)
	cl := c.client()
	ctx := within(t, patience)
	for len(cl.router.route().nodes) < 3 || cl.Leader() != "n1:1" {
		r := cl.router.route()
		if len(r.nodes) >= 3 && r.leader != nil {
			continue
		}
		select {
		case <-r.changed:
		case <-ctx.Done():
			t.Fatalf("knows %d brokers, leader %q", len(r.nodes), cl.Leader())
		}
	}
}

func TestDialFails(t *testing.T) {
	c := newCluster(t, 1)
	for _, cfg := range []Config{{}, {Seeds: []string{"no port"}}, {Seeds: []string{"n1:1"}, DialTimeout: -1}} {
		if _, err := Dial(t.Context(), cfg); CodeOf(err) != CodeInvalidConfig {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	_, err := Dial(t.Context(), Config{Seeds: []string{"n9:1"}, Dialer: c.dial, DialTimeout: 100e6})
	if !errors.Is(err, ErrUnavailable) || err.Error() != "no broker reachable (n9:1: no such host n9:1)" {
		t.Errorf("got %v", err)
	}
}
