package client

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/ledgermq/ledgermq/pkg/buffer"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// maxNodes bounds how many brokers a client learns of.
const maxNodes = 64

// route is what is known of the group at one moment. It is immutable.
type route struct {
	leader   *node // nil while unknown
	leaderID string
	term     int64
	serving  bool
	hinted   bool              // no watcher has confirmed the leader
	nodes    []*node           // seeds first, then in the order in which they were learned
	ids      map[string]string // member id by client address
	trouble  map[string]*Error // newest error of brokers that do not answer, by address
	answered bool              // some broker answered, ever

	// changed is closed when a newer route exists, leading ends when that one has
	// another leader.
	changed chan struct{}
	leading context.Context
	moved   context.CancelFunc
}

// pick returns the broker for a request's n-th try: the leader if it is known,
// and every other time another one, for a leader that went may be known longer
// than it lives.
func (r *route) pick(n int) *node {
	if r.leader != nil && n%2 == 0 {
		return r.leader
	}
	return r.nodes[n%len(r.nodes)]
}

// refused tells that every broker turned us away for a reason that will not pass.
func (r *route) refused() bool {
	for _, n := range r.nodes {
		if e := r.trouble[n.addr]; e == nil || !fatal(e.Code) {
			return false
		}
	}
	return true
}

// leaderless tells that some broker answers and none has said who leads.
func (r *route) leaderless() bool {
	return r.answered && r.leader == nil && len(r.trouble) < len(r.nodes)
}

// report is what a broker said or did: its view of the leader, or an error.
type report struct {
	from *node
	says *brokerv1.WatchLeaderResponse
	err  *Error
	hint bool // an error said it, which may be out of date
}

// router owns the table of brokers and publishes routes.
type router struct {
	cfg     Config
	buffers *buffer.Pool // of all connections
	silence int          // how often in a row the leader's watch failed; run's own
	start   func(func(context.Context) error) error
	gone    []*node // forgotten brokers, whose connections end with the client; run's own
	current atomic.Pointer[route]
	reports chan report
}

func newRouter(cfg Config, start func(func(context.Context) error) error) *router {
	rt := &router{cfg: cfg, buffers: buffer.NewPool(), start: start, reports: make(chan report, maxNodes)}
	rt.publish(&route{})
	return rt
}

// route returns the newest route.
func (rt *router) route() *route { return rt.current.Load() }

// run owns the table: only this goroutine makes new routes.
func (rt *router) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case rep := <-rt.reports:
			rt.apply(rep)
		}
	}
}

// tell hands a report to the router's goroutine.
func (rt *router) tell(ctx context.Context, rep report) {
	select {
	case rt.reports <- rep:
	case <-ctx.Done():
	}
}

// hint passes on what an error said about the leader to a request that went by r.
// It never blocks: a hint that finds the queue full is dropped, the watchers know
// better anyway.
func (rt *router) hint(r *route, from *node, e *Error) {
	if from == nil || e == nil || e.Leader == "" {
		return
	}
	says := &brokerv1.WatchLeaderResponse{LeaderAddr: e.Leader, Term: e.Term}
	if e.Term == 0 {
		says.Term = r.term
	}
	select {
	case rt.reports <- report{from: from, says: says, hint: true}:
	default:
	}
}

// forget drops brokers that are not in the group any more, as its leader tells:
// those that were learned, not the ones that were named as seeds.
func (rt *router) forget(rep report) {
	r := rt.route()
	if rep.says == nil || rep.hint || rep.from != r.leader || rep.says.GetLeaderAddr() != rep.from.addr || !rep.says.GetServing() {
		return
	}
	stays := map[string]bool{}
	for _, m := range rep.says.GetMembers() {
		if m.GetClientAddr() == "" {
			return // one of those known here may be this member's
		}
		stays[m.GetClientAddr()] = true
	}
	next := *r
	next.nodes = nil
	for _, n := range r.nodes {
		if n == r.leader || stays[n.addr] || slices.Contains(rt.cfg.Seeds, n.addr) {
			next.nodes = append(next.nodes, n)
			continue
		}
		rt.cfg.Logger.Info("broker is not in the group any more", "addr", n.addr)
		n.stop()
		rt.gone = append(rt.gone, n)
		next.trouble = maps.Clone(next.trouble)
		delete(next.trouble, n.addr)
	}
	if len(next.nodes) < len(r.nodes) {
		rt.publish(&next)
	}
}

// learn adds brokers to the table and starts to watch them.
func (rt *router) learn(addrs func(yield func(string) bool)) {
	next := *rt.route()
	next.nodes = slices.Clone(next.nodes)
	for addr := range addrs {
		if addr == "" || len(next.nodes) >= maxNodes || next.node(addr) != nil {
			continue
		}
		n, err := newNode(rt.cfg, rt.buffers, addr)
		if err != nil {
			rt.cfg.Logger.Warn("broker address is not usable", "addr", addr, "err", err)
			continue
		}
		next.nodes = append(next.nodes, n)
		if rt.start(func(ctx context.Context) error { return n.run(ctx, rt.tell) }) != nil {
			break // closing
		}
	}
	if len(next.nodes) > len(rt.route().nodes) {
		rt.publish(&next)
	}
}

func (r *route) node(addr string) *node {
	for _, n := range r.nodes {
		if n.addr == addr {
			return n
		}
	}
	return nil
}

// apply makes the route that follows from a report.
func (rt *router) apply(rep report) {
	if rt.route().node(rep.from.addr) != rep.from {
		return // forgotten meanwhile
	}
	if rep.says != nil {
		rt.learn(func(yield func(string) bool) {
			for _, m := range rep.says.GetMembers() {
				if !yield(m.GetClientAddr()) {
					return
				}
			}
			yield(rep.says.GetLeaderAddr())
		})
	}
	rt.doubt(rep)
	next := rt.route().after(rep)
	if next == nil {
		return
	}
	if old := rt.route(); old.leader != next.leader && next.leader != nil {
		rt.cfg.Logger.Info("leader changed", "leader", next.leaderID, "addr", next.leader.addr, "term", next.term)
	}
	rt.publish(next)
	rt.forget(rep)
}

// doubt asks another broker again who leads, when the leader cannot be reached for
// long: a broker says it only once, and that may have been lost or overruled.
func (rt *router) doubt(rep report) {
	r := rt.route()
	switch {
	case rep.from != r.leader:
		return
	case rep.err == nil:
		rt.silence = 0
		return
	}
	if rt.silence++; rt.silence >= patientFailures {
		r.nodes[rt.silence%len(r.nodes)].askAgain()
	}
}

// patientFailures is how many failures of the leader's watch in a row are put down
// to a leader that went: the others will tell of its successor.
const patientFailures = 5

// after returns the route that follows from a report, or nil when nothing changes.
//
// The highest term wins. A broker that knows no leader does not take away one
// that others know, but the leader itself may resign: without that, a group that
// was wiped and starts again at term 1 would never be found.
func (r *route) after(rep report) *route {
	next := *r
	next.trouble = maps.Clone(r.trouble)
	if next.trouble == nil {
		next.trouble = map[string]*Error{}
	}
	if rep.err != nil {
		if old := r.trouble[rep.from.addr]; old != nil && old.Code == rep.err.Code && old.Message == rep.err.Message {
			return nil
		}
		next.trouble[rep.from.addr] = rep.err
		return &next
	}
	delete(next.trouble, rep.from.addr)
	next.answered = true
	if members := rep.says.GetMembers(); len(members) > 0 {
		next.ids = make(map[string]string, len(members))
		for _, m := range members {
			if m.GetClientAddr() != "" {
				next.ids[m.GetClientAddr()] = m.GetId()
			}
		}
	}
	next.follow(rep)
	if r.answered && len(r.trouble) == len(next.trouble) && next.leader == r.leader &&
		next.term == r.term && next.serving == r.serving && next.hinted == r.hinted && maps.Equal(next.ids, r.ids) {
		return nil
	}
	return &next
}

// follow takes over the leader that a report names, if it is to be believed.
func (r *route) follow(rep report) {
	s := rep.says
	leader, term := r.node(s.GetLeaderAddr()), s.GetTerm()
	resigned := rep.from == r.leader && leader != r.leader
	switch {
	case rep.hint && (leader == nil || term < r.term): // of a time that is over
	case leader == nil && resigned:
		r.leader, r.leaderID, r.term, r.serving, r.hinted = nil, "", term, false, false
	case leader == nil:
	case leader == r.leader && term <= r.term:
		r.serving = r.serving || term == r.term && s.GetServing()
		r.hinted = r.hinted && (rep.hint || term < r.term)
	case term > r.term, r.leader == nil && term == r.term, resigned, r.hinted && term == r.term && !rep.hint:
		r.leader, r.leaderID, r.term, r.serving, r.hinted = leader, s.GetLeader(), term, s.GetServing(), rep.hint
	}
}

// publish makes next the current route and wakes who waits for it.
func (rt *router) publish(next *route) {
	old := rt.current.Load()
	next.changed = make(chan struct{})
	if old == nil || old.leader != next.leader {
		next.leading, next.moved = context.WithCancel(context.Background())
	}
	rt.current.Store(next)
	if old == nil {
		return
	}
	close(old.changed)
	if old.leader != next.leader {
		old.moved()
	}
}

// closeConnections is called when no goroutine uses them any more.
func (rt *router) closeConnections() error {
	var errs []error
	r := rt.route()
	r.moved()
	for _, n := range slices.Concat(r.nodes, rt.gone) {
		n.stop()
		errs = append(errs, n.close())
	}
	return errors.Join(errs...)
}
