package chaos

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/client"
)

// fault is one that was injected.
type fault struct {
	kind         string
	targets      []string
	began, ended time.Duration // on the clock of the run
}

// active is a fault that has not ended.
type active struct {
	fault
	scope scope
	hosts []*host
	until time.Time
	heal  func()
}

// rank puts a change of the group behind all that may hinder it.
func (a *active) rank() int {
	if a.scope.changes() {
		return 1
	}
	return 0
}

// over tells whether it is time to end it.
func (a *active) over(n *nemesis) bool {
	if a.scope.changes() {
		return n.change.over()
	}
	return !time.Now().Before(a.until)
}

// nemesis injects faults. It belongs to the test's goroutine.
type nemesis struct {
	t     testing.TB
	ctx   context.Context
	rng   *rand.Rand
	hosts []*host
	admin *client.Admin
	began time.Time
	pace  pace

	deck   []kind // what is drawn from; filled anew when empty, so that no kind is forgotten
	able   []kind
	active []*active
	past   []fault

	// harmed is the member whose copy of what was acknowledged may not be whole.
	harmed *host
	change *turnover // of the group, under way; nil: none
	counts counts
}

// pace says how fast faults follow one another and how long they last.
type pace struct {
	gap, hold [2]time.Duration // at least, at most
}

// newNemesis makes a nemesis of the kinds that the machine is able to, or of those of
// them that only names.
// left of an earlier round's deck is drawn first.
func newNemesis(ctx context.Context, t testing.TB, m *machine, r *run, pace pace, only []string, left []kind) *nemesis {
	n := &nemesis{t: t, ctx: ctx, rng: r.random(1), hosts: r.hosts, admin: r.client.Admin(), began: r.record.began, pace: pace}
	for _, k := range kinds {
		if m.has(k.needs) && (len(only) == 0 || slices.Contains(only, k.name)) && (r.retention || k.scope != onLaggard) {
			n.able = append(n.able, k)
		}
	}
	if len(n.able) == 0 {
		t.Fatalf("no fault of %q can be tried", only)
	}
	n.deck = slices.Clone(n.able[:min(4, len(n.able))]) // however short a run, it has these
	if len(left) > 0 {
		n.deck = n.ableAmong(left)
	}
	return n
}

// ableAmong are those of some kinds that can be tried, and before them those that only this
// round can try.
func (n *nemesis) ableAmong(some []kind) (deck []kind) {
	for _, k := range n.able {
		if k.scope == onLaggard {
			deck = append(deck, k)
		}
	}
	for _, k := range some {
		if slices.ContainsFunc(n.able, func(a kind) bool { return a.name == k.name }) && k.scope != onLaggard {
			deck = append(deck, k)
		}
	}
	return deck
}

func (n *nemesis) log(format string, args ...any) {
	n.t.Logf("%8.3f  %s", time.Since(n.began).Seconds(), fmt.Sprintf(format, args...))
}

// rage injects faults until a time: every few seconds none, one, two or three at once,
// over those that still last.
func (n *nemesis) rage(until time.Time) {
	for n.ctx.Err() == nil && time.Now().Before(until) {
		for range n.rng.IntN(4) {
			n.strike()
		}
		n.idle(min(n.draw(n.pace.gap), time.Until(until)))
	}
	slices.SortStableFunc(n.active, func(a, b *active) int { return cmp.Compare(a.rank(), b.rank()) })
	for len(n.active) > 0 {
		n.end(n.active[0])
	}
	n.lookAfter()
}

func (n *nemesis) draw(span [2]time.Duration) time.Duration {
	return span[0] + time.Duration(n.rng.Int64N(int64(span[1]-span[0])))
}

// idle lets time pass, ends the faults whose time has come, and looks after the hosts.
func (n *nemesis) idle(d time.Duration) {
	over := time.Now().Add(d)
	for n.ctx.Err() == nil && time.Now().Before(over) {
		for _, a := range slices.Clone(n.active) {
			if a.over(n) {
				n.end(a)
			}
		}
		if n.change != nil {
			n.change.advance()
		}
		n.lookAfter()
		pause(20 * time.Millisecond)
	}
}

// lookAfter finds brokers that ended although nothing was done to them, starts them
// again, and returns how many.
func (n *nemesis) lookAfter() (started int) {
	for _, h := range n.hosts {
		if h.busy != "" && !n.changing(h) || !h.ended() {
			continue
		}
		code := h.node.Wait()
		switch {
		case h.flipped:
			n.nurse(h, code)
		case time.Now().After(h.mayEnd):
			n.t.Errorf("%s ended by itself with exit code %d, and nothing was done to it", h.node.ID, code)
		default:
			n.log("%s ended by itself with exit code %d", h.node.ID, code)
		}
		h.start()
		started++
	}
	return started
}

// changing tells whether a host's only fault is that it is being taken out of the group
// or in.
func (n *nemesis) changing(h *host) bool { return n.change != nil && n.change.host == h }

// strike injects the next fault of the deck, if its targets are free.
func (n *nemesis) strike() {
	if len(n.deck) == 0 {
		n.deck = slices.Clone(n.able)
		n.rng.Shuffle(len(n.deck), func(i, j int) { n.deck[i], n.deck[j] = n.deck[j], n.deck[i] })
	}
	k := n.deck[0]
	targets := n.targetsOf(k)
	if len(targets) == 0 {
		n.deck = append(n.deck[1:], k) // later
		return
	}
	n.deck = n.deck[1:]
	a := &active{fault: fault{kind: k.name, began: time.Since(n.began)}, scope: k.scope, hosts: targets}
	for _, h := range targets {
		a.targets = append(a.targets, h.node.ID)
		if k.scope.ofHost() {
			h.busy = k.name
		}
	}
	hold := n.draw(n.pace.hold)
	switch {
	case k.scope == onLaggard:
		hold += absenceTime
	case k.scope.ofCopy():
		n.harmed = targets[0]
	}
	n.log("%s of %s for %v", k.name, strings.Join(a.targets, " "), hold.Round(time.Millisecond))
	a.heal = k.inject(n, targets)
	a.until = time.Now().Add(hold)
	n.active = append(n.active, a)
}

func (n *nemesis) end(a *active) {
	n.active = slices.DeleteFunc(n.active, func(other *active) bool { return other == a })
	a.heal()
	if a.scope.ofHost() {
		for _, h := range a.hosts {
			h.busy = ""
		}
	}
	a.ended = time.Since(n.began)
	n.log("end of %s of %s", a.kind, strings.Join(a.targets, " "))
	n.past = append(n.past, a.fault)
}

// targetsOf picks targets for a kind of fault; none if it cannot be now.
func (n *nemesis) targetsOf(k kind) []*host {
	switch {
	case k.scope == onNetwork && n.lasts(onNetwork):
		return nil
	case k.scope.ofCopy() && (n.lasts(onLaggard) || n.change != nil || n.harmed != nil && !n.whole(n.harmed)):
		return nil // two members that do not count would stop the group for as long as the absence lasts
	}
	targets := n.choose()
	if k.scope == onLeader {
		targets = []*host{leaderOf(n.ctx, n.hosts)}
	}
	if (k.scope == onCopy || k.scope.changes()) && n.harmed != nil && n.harmed.flipped {
		if k.scope == onLeader && targets[0] != n.harmed {
			return nil
		}
		targets = []*host{n.harmed} // it may still refuse to start one day
	}
	if k.scope.ofHost() {
		targets = slices.DeleteFunc(targets, func(h *host) bool { return h == nil || h.busy != "" })
	}
	if k.scope.ofCopy() {
		targets = targets[:min(1, len(targets))]
	}
	return targets
}

// lasts tells whether a fault of a scope is under way.
func (n *nemesis) lasts(s scope) bool {
	return slices.ContainsFunc(n.active, func(a *active) bool { return a.scope == s })
}

// choose picks targets: one, the leader, a majority or all.
func (n *nemesis) choose() []*host {
	all := slices.Clone(n.hosts)
	n.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	switch n.rng.IntN(10) {
	case 0, 1, 2:
		return all[:1]
	case 3, 4:
		return all[:2]
	case 5:
		return all
	}
	if leader := leaderOf(n.ctx, n.hosts); leader != nil {
		return []*host{leader}
	}
	return all[:1]
}

// leaderOf asks all hosts at once who leads, and returns nil if nobody says so.
func leaderOf(ctx context.Context, hosts []*host) *host {
	terms := make([]int64, len(hosts))
	asking := errgroup.Group{}
	for i, h := range hosts {
		asking.Go(func() error {
			terms[i] = -1
			if s, err := h.node.Status(ctx); err == nil && s.GetServing() {
				terms[i] = s.GetTerm()
			}
			return nil
		})
	}
	_ = asking.Wait()
	best := 0
	for i, term := range terms {
		if term > terms[best] {
			best = i
		}
	}
	if terms[best] < 0 {
		return nil
	}
	return hosts[best]
}
