package chaos

import (
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/ledgermq/ledgermq/test/cluster"
)

// loseAnswers: of what is asked of the targets, and what they ask of others, some
// answers get lost after the request has arrived; some requests arrive twice, and now
// and then all connections are reset.
func loseAnswers(n *nemesis, targets []*host) func() {
	return n.relays(targets, mischief{lose: []float64{0.002, 0.02, 0.2}[n.rng.IntN(3)], replay: 0.05, reset: n.draw([2]time.Duration{400 * time.Millisecond, 3 * time.Second})})
}

// delayAnswers: messages from and to the targets take their time, each another one.
func delayAnswers(n *nemesis, targets []*host) func() {
	return n.relays(targets, mischief{delay: n.draw([2]time.Duration{10 * time.Millisecond, 600 * time.Millisecond}), replay: 0.02})
}

// relays puts relays into the links of the targets: among brokers, from clients, or
// both. Connections that exist are reset, because they go past the relays.
func (n *nemesis) relays(targets []*host, m mischief) func() {
	stats, which := &relayStats{}, n.rng.IntN(3)
	var all []*relay
	through := func(h *host, address string, port int) string {
		r, err := newRelay(address, m, stats)
		must(n.t, err)
		all = append(all, r)
		return r.redirection(h.ip, port)
	}
	rules := map[string][]string{} // by namespace; "" is our own
	for _, to := range n.hosts {
		if slices.Contains(targets, to) && which != 0 {
			rules[""] = append(rules[""], through(to, to.node.Client, cluster.ClientPort))
		}
		for _, from := range n.hosts {
			if from != to && which != 1 && (slices.Contains(targets, to) || slices.Contains(targets, from)) {
				rules[from.ns] = append(rules[from.ns], through(to, net.JoinHostPort(to.ip, strconv.Itoa(cluster.PeerPort)), cluster.PeerPort))
			}
		}
	}
	for ns, r := range rules {
		must(n.t, applyRedirections(ns, r))
	}
	unreset := reset(n, n.hosts)
	pause(150 * time.Millisecond) // every connection that is in use has had a packet by then
	unreset()
	return func() {
		for ns := range rules {
			must(n.t, applyRedirections(ns, nil))
		}
		for _, r := range all {
			must(n.t, r.stop())
		}
		n.counts.add("answers lost on the way", int(stats.lost.Load()))
		n.counts.add("requests that arrived again", int(stats.replayed.Load()))
		n.counts.add("resets of all connections of a link", int(stats.resets.Load()))
	}
}
