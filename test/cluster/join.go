package cluster

import (
	"path/filepath"
	"slices"
	"strings"
)

// Join prepares a broker on loopback that is not of the group: it knows its members
// and waits to be added. It is not started.
func (c *Cluster) Join(id string) *Node {
	c.t.Helper()
	ports := FreePorts(c.t, 3)
	var peers, common []string
	for _, n := range c.nodes {
		peers = append(peers, n.ID+"="+n.Peer)
	}
	// What follows the settings of its own is for every broker.
	if first := c.nodes[0].args; len(first) > ownArgs {
		common = first[ownArgs:]
	}
	n := &Node{
		ID: id, Data: filepath.Join(c.t.TempDir(), "data"), t: c.t, log: filepath.Join(c.t.TempDir(), "log"),
		Client: local(ports[0]), Peer: local(ports[1]), HTTP: local(ports[2]),
	}
	n.args = append(n.ownArgs(peers), common...)
	n.args, n.env = append(n.args, "--join"), c.nodes[0].env
	c.nodes = append(c.nodes, n)
	c.t.Cleanup(n.cleanup)
	return n
}

// Joins starts the broker with --join from now on: one that was removed, and comes back,
// must not begin a group.
func (n *Node) Joins() {
	if !slices.Contains(n.args, "--join") {
		n.args = append(n.args, "--join")
	}
}

// ownArgs is how many words of a command line are about the broker itself.
const ownArgs = 15

// ownArgs are those words.
func (n *Node) ownArgs(peers []string) []string {
	return []string{
		"serve", "--id", n.ID, "--data", n.Data, "--peers", strings.Join(peers, ","), "--cluster-id", "test",
		"--client-addr", n.Client, "--peer-addr", n.Peer, "--http-addr", n.HTTP,
	}
}

// Forget takes a broker out of the cluster's list; its process goes on.
func (c *Cluster) Forget(n *Node) {
	c.nodes = slices.DeleteFunc(c.nodes, func(other *Node) bool { return other == n })
}

// Recover runs `broker recover` on the directory of a broker that does not run, and
// returns what it printed.
func (n *Node) Recover(args ...string) (string, error) {
	own := append([]string{"recover"}, n.args[1:ownArgs]...)
	out, err := Program(n.t.Context(), "broker", append(own, args...)...).CombinedOutput()
	return string(out), err
}
