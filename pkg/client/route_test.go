package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/buffer"
)

// TestRouteFollowsReports goes through what brokers say and whom the client then follows.
func TestRouteFollowsReports(t *testing.T) {
	a, b, c := &node{addr: "a:1"}, &node{addr: "b:1"}, &node{addr: "c:1"}
	says := func(from *node, leader string, term int64) report {
		return report{from: from, says: &brokerv1.WatchLeaderResponse{LeaderAddr: leader, Term: term}}
	}
	hints := func(from *node, leader string, term int64) report {
		rep := says(from, leader, term)
		rep.hint = true
		return rep
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
		{"a hint by the leader of the term", []report{says(a, "b:1", 3), hints(b, "c:1", 3)}, c, 3},
		{"a hint by the leader of a higher term", []report{says(a, "b:1", 3), hints(b, "c:1", 4)}, c, 4},
		{"a hint from elsewhere", []report{says(a, "b:1", 3), hints(a, "c:1", 3)}, b, 3},
		{"a hint while nothing is known", []report{hints(a, "c:1", 0)}, c, 0},
		{"a late hint of a broker that leads again", []report{
			says(a, "a:1", 5), says(a, "b:1", 6), says(a, "a:1", 7), hints(a, "b:1", 6),
		}, a, 7},
		{"a watcher knows better than a hint", []report{says(a, "a:1", 7), hints(a, "b:1", 7), says(c, "a:1", 7)}, a, 7},
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

// TestHintsAreOfTheirTime: an error says what was so when its request began.
func TestHintsAreOfTheirTime(t *testing.T) {
	a, b := &node{addr: "a:1"}, &node{addr: "b:1"}
	rt := newRouter(Config{}.withDefaults(), func(func(context.Context) error) error { return nil })
	began := &route{nodes: []*node{a, b}, leader: a, term: 6, answered: true}
	rt.publish(&route{nodes: began.nodes, leader: a, term: 7, answered: true})
	rt.hint(began, a, &Error{Code: CodeNotLeader, Leader: "b:1"})
	rt.apply(<-rt.reports)
	if r := rt.route(); r.leader != a || r.term != 7 {
		t.Errorf("follows %s in term %d, want a in 7", r.leader.addr, r.term)
	}
}

// TestDeadLeaderIsAskedAbout: a broker says only once who leads; if that was lost
// on the way here, it is asked again.
func TestDeadLeaderIsAskedAbout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		cl := c.client()
		synctest.Wait()
		c.kill("n2:1")
		r := cl.router.route()
		cl.router.hint(r, r.leader, &Error{Code: CodeNotLeader, Leader: "n2:1"})
		synctest.Wait()
		if cl.Leader() != "n2:1" {
			t.Fatalf("follows %s", cl.Leader())
		}
		time.Sleep(2 * time.Second)
		if cl.Leader() != "n1:1" {
			t.Errorf("follows %s, which is dead", cl.Leader())
		}
	})
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

// A broker that its leader does not name any more is forgotten: it is not asked, and
// not watched. Seeds stay, and nobody goes as long as the leader does not know all
// addresses.
func TestBrokersThatLeftAreForgotten(t *testing.T) {
	cfg := Config{Seeds: []string{"a:1"}}.withDefaults()
	rt := newRouter(cfg, func(func(context.Context) error) error { return nil })
	rt.learn(func(yield func(string) bool) { _ = yield("a:1") && yield("b:1") && yield("c:1") })
	defer func() {
		if err := rt.closeConnections(); err != nil {
			t.Error(err)
		}
	}()
	b, c := rt.route().node("b:1"), rt.route().node("c:1")
	says := func(from *node, serving bool, members ...string) report {
		w := &brokerv1.WatchLeaderResponse{LeaderAddr: "b:1", Term: 3, Serving: serving}
		for _, addr := range members {
			w.Members = append(w.Members, &brokerv1.Member{Id: addr + "!", ClientAddr: addr})
		}
		return report{from: from, says: w}
	}
	rt.apply(says(c, true, "b:1")) // not the leader's word
	rt.apply(says(b, false, "b:1"))
	rt.apply(says(b, true, "b:1", ""))
	if len(rt.route().nodes) != 3 || c.life.Err() != nil {
		t.Fatalf("knows %d brokers", len(rt.route().nodes))
	}
	rt.apply(says(b, true, "b:1", "d:1"))
	var left []string
	for _, n := range rt.route().nodes {
		left = append(left, n.addr)
	}
	if fmt.Sprint(left) != "[a:1 b:1 d:1]" || c.life.Err() == nil || b.life.Err() != nil {
		t.Errorf("knows %v; the one that left is watched: %t", left, c.life.Err() == nil)
	}
	rt.apply(says(c, true, "c:1")) // a late word of it
	if rt.route().node("c:1") != nil {
		t.Error("it is back by its own word")
	}
}

// TestTryUnderWayIsInDoubt: what was under way when the time was over may be carried out,
// whatever the tries before it came to.
func TestTryUnderWayIsInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		cl := c.client()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		tries := 0
		err := cl.invoke(ctx, harmless, func(ctx context.Context, _ grpc.ClientConnInterface) error {
			if tries++; tries == 1 {
				return codeError(codes.Unavailable, CodeNotLeader, map[string]string{"outcome": "definite"})
			}
			<-ctx.Done()
			return status.FromContextError(ctx.Err()).Err()
		})
		if e := asError(err); tries != 2 || e.Code != CodeNotLeader || !e.Indefinite {
			t.Errorf("after %d tries: %v", tries, err)
		}
	})
}

// A broker that is forgotten is dialled for as long as a request to it may be under way.
func TestForgottenBrokerIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int32
		cfg := Config{Seeds: []string{"x:1"}, RequestTimeout: 5 * time.Second, Dialer: func(context.Context, string) (net.Conn, error) {
			dials.Add(1)
			return nil, errors.New("refused")
		}}.withDefaults()
		n, err := newNode(cfg, buffer.NewPool(), "gone:1")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running errgroup.Group
		running.Go(func() error { return n.run(ctx, func(context.Context, report) {}) })
		time.Sleep(time.Second)
		n.stop()
		if time.Sleep(5 * time.Second); dials.Load() < 10 {
			t.Errorf("%d dials: there is no test of anything", dials.Load())
		}
		time.Sleep(6 * time.Second)
		before := dials.Load()
		if time.Sleep(time.Hour); dials.Load() != before {
			t.Errorf("%d dials after it was forgotten", dials.Load()-before)
		}
		cancel()
		if err := errors.Join(running.Wait(), n.close()); err != nil {
			t.Error(err)
		}
	})
}
