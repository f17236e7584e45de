package chaos

import "slices"

// from is the beginning of a rule for the packets of one address.
func from(ip, verdict string) string { return "ip saddr " + ip + " " + verdict }

// fence gives every host the rules that rulesOf says, and returns what removes them.
func (n *nemesis) fence(rulesOf func(h *host) []string) func() {
	for _, h := range n.hosts {
		must(n.t, applyRules(h.ns, rulesOf(h)))
	}
	return func() {
		for _, h := range n.hosts {
			must(n.t, applyRules(h.ns, nil))
		}
	}
}

// between makes rules for packets among hosts: told says whether receiver drops what
// comes from sender.
func (n *nemesis) between(verdict string, told func(receiver, sender *host) bool) func() {
	return n.fence(func(receiver *host) (rules []string) {
		for _, sender := range n.hosts {
			if sender != receiver && told(receiver, sender) {
				rules = append(rules, from(sender.ip, verdict))
			}
		}
		return rules
	})
}

// cut parts the targets from the others; if they are all, each from each.
func cut(n *nemesis, targets []*host) func() {
	all := len(targets) == len(n.hosts)
	return n.between(dropAll, func(receiver, sender *host) bool {
		return all || slices.Contains(targets, receiver) != slices.Contains(targets, sender)
	})
}

// isolate parts each target from everyone, clients too.
func isolate(n *nemesis, targets []*host) func() {
	return n.fence(func(h *host) []string {
		if slices.Contains(targets, h) {
			return []string{from("10.203.0.0/24", dropAll)}
		}
		return nil
	})
}

// deaf: the targets hear none of their peers, and are heard.
func deaf(n *nemesis, targets []*host) func() {
	return n.between(dropAll, func(receiver, _ *host) bool { return slices.Contains(targets, receiver) })
}

// mute: the targets hear their peers, and are not heard.
func mute(n *nemesis, targets []*host) func() {
	return n.between(dropAll, func(_, sender *host) bool { return slices.Contains(targets, sender) })
}

// oneLink cuts a target from one other; the third sees both.
func oneLink(n *nemesis, targets []*host) func() {
	a := targets[0]
	others := slices.DeleteFunc(slices.Clone(n.hosts), func(h *host) bool { return h == a })
	b := others[n.rng.IntN(len(others))]
	return n.between(dropAll, func(receiver, sender *host) bool {
		return receiver == a && sender == b || receiver == b && sender == a
	})
}

// noClients: the group is whole, but no client reaches the targets.
func noClients(n *nemesis, targets []*host) func() {
	return n.fence(func(h *host) []string {
		if slices.Contains(targets, h) {
			return []string{from(clientIP, dropAll)}
		}
		return nil
	})
}

// lossy: the targets lose three packets in ten from everyone.
func lossy(n *nemesis, targets []*host) func() {
	return n.fence(func(h *host) []string {
		if slices.Contains(targets, h) {
			return []string{from("10.203.0.0/24", loseSome)}
		}
		return nil
	})
}

// noLarge: heartbeats pass, and what carries messages does not.
func noLarge(n *nemesis, targets []*host) func() {
	return n.between(loseLarge, func(receiver, _ *host) bool { return slices.Contains(targets, receiver) })
}

// reset answers every packet of the targets' connections with a reset.
func reset(n *nemesis, targets []*host) func() {
	return n.fence(func(h *host) []string {
		if slices.Contains(targets, h) {
			return []string{from("10.203.0.0/24", rejectAll)}
		}
		return nil
	})
}
