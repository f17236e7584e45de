package chaos

import (
	"fmt"
	"os/exec"
	"strings"
)

// The network of a run: a bridge, at which the clients sit too, and one namespace for
// each host.
const (
	bridge   = "chaos"
	clientIP = "10.203.0.254"

	dropAll   = "drop"
	loseSome  = "numgen random mod 100 < 30 drop"
	loseLarge = "meta length > 1000 drop"
	rejectAll = "meta l4proto tcp reject with tcp reset"
)

func newBridge() error {
	return firstError(
		func() error { return command("ip", "link", "add", bridge, "type", "bridge") },
		func() error { return command("ip", "addr", "add", clientIP+"/24", "dev", bridge) },
		func() error { return command("ip", "link", "set", bridge, "up") },
	)
}

func removeBridge() error { return command("ip", "link", "del", bridge) }

// disconnect removes a network namespace. Its link goes first: the kernel takes its
// time to empty a namespace.
func disconnect(ns string) error {
	return firstError(
		func() error { return command("ip", "link", "del", "to-"+ns) },
		func() error { return command("ip", "netns", "del", ns) },
	)
}

// connect makes a network namespace with one address at the bridge.
func connect(ns, ip string) error {
	outer := "to-" + ns
	return firstError(
		func() error { return command("ip", "netns", "add", ns) },
		func() error {
			return command("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", ns)
		},
		func() error { return command("ip", "link", "set", outer, "master", bridge, "up") },
		func() error { return command("ip", "-n", ns, "addr", "add", ip+"/24", "dev", "eth0") },
		func() error { return command("ip", "-n", ns, "link", "set", "eth0", "up") },
		func() error { return command("ip", "-n", ns, "link", "set", "lo", "up") },
	)
}

// wrapIn is the command line prefix that runs a program in a network namespace. Not
// `ip netns exec`, which takes copies of all mounts along: a disk would then stay
// mounted in every other broker.
func wrapIn(ns string) []string { return []string{"nsenter", "--net=/run/netns/" + ns, "--"} }

// applyRules replaces the rules for packets that come into a namespace, in one step.
func applyRules(ns string, rules []string) error {
	return applyTable(ns, "chaos", "type filter hook input priority 0;", rules)
}

// applyRedirections replaces the rules for connections that begin in a namespace; "" is
// our own.
func applyRedirections(ns string, rules []string) error {
	return applyTable(ns, "chaos_links", "type nat hook output priority -100;", rules)
}

// applyTable replaces a table of one chain.
func applyTable(ns, table, hook string, rules []string) error {
	family := "inet"
	if strings.Contains(hook, "nat") {
		family = "ip"
	}
	var script strings.Builder
	fmt.Fprintf(&script, "table %s %s\ndelete table %s %s\n", family, table, family, table)
	if len(rules) > 0 {
		fmt.Fprintf(&script, "table %s %s {\n chain packets {\n  %s\n", family, table, hook)
		for _, r := range rules {
			fmt.Fprintf(&script, "  %s\n", r)
		}
		script.WriteString(" }\n}\n")
	}
	line := []string{"nft", "-f", "-"}
	if ns != "" {
		line = append(wrapIn(ns), line...)
	}
	nft := exec.Command(line[0], line[1:]...)
	nft.Stdin = strings.NewReader(script.String())
	if out, err := nft.CombinedOutput(); err != nil {
		return fmt.Errorf("nft in %s: %w: %s\n%s", ns, err, out, script.String())
	}
	return nil
}
