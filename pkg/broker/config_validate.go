package broker

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"time"

	"github.com/ledgermq/ledgermq/pkg/state"
)

// namePattern is what ids and topic names are made of.
var namePattern = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,127}$`)

// Validate reports everything that is wrong with the configuration, with the
// defaults filled in, one line per fault, each naming its key.
func (c Config) Validate() error { return c.withDefaults().validate() }

// ErrConfig is what every refusal of a configuration wraps.
var ErrConfig = errors.New("config")

// Check reports what Validate does and, if that is nothing, what is wrong with the
// files that the configuration names: it reads them as New would.
func (c Config) Check() error {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return err
	}
	return c.TLS.checkFiles()
}

func (c Config) validate() error {
	return errors.Join(
		c.validateNames(), c.validatePeers(), c.validateAddresses(), c.validateRaft(),
		c.validateStorage(), c.Retention.validate(), c.Topics.validate(), c.Transactions.validate(), c.Producers.validate(), c.validateLimits(), c.validateMemory(), c.validateListeners(), c.validateLog(),
	)
}

func (c Config) validateNames() error {
	var errs []error
	if !namePattern.MatchString(c.Node.ID) || len(c.Node.ID) > 64 {
		errs = append(errs, fmt.Errorf("node.id %q: use 1 to 64 of a-z A-Z 0-9 . _ -", c.Node.ID))
	}
	if !namePattern.MatchString(c.Cluster.ID) || len(c.Cluster.ID) > 64 {
		errs = append(errs, fmt.Errorf("cluster.id %q: use 1 to 64 of a-z A-Z 0-9 . _ -", c.Cluster.ID))
	}
	if c.Durability.Ack != QuorumFsync && c.Durability.Ack != PageCache {
		errs = append(errs, fmt.Errorf("durability.ack %q: use quorum-fsync or page-cache", c.Durability.Ack))
	}
	return errors.Join(errs...)
}

func (c Config) validatePeers() error {
	peers := c.Cluster.Peers
	if len(peers) == 0 {
		if c.Cluster.Join {
			return errors.New("cluster.join needs cluster.peers: name the members of the group that this broker is to be added to")
		}
		return nil
	}
	var errs []error
	_, own := peers[c.Node.ID]
	if c.Cluster.Join && own && len(peers) == 1 {
		errs = append(errs, errors.New("cluster.join, but cluster.peers names only this broker: name the members of the group that it is to be added to"))
	}
	if c.Cluster.Join && c.Cluster.Bootstrap {
		errs = append(errs, errors.New("cluster.join and cluster.bootstrap exclude each other: a broker either joins a group or begins one"))
	}
	if !own && !c.Cluster.Join {
		errs = append(errs, fmt.Errorf("cluster.peers has no %q: it must name every member, this one (node.id) too", c.Node.ID))
	}
	if len(peers) > 9 {
		errs = append(errs, fmt.Errorf("cluster.peers names %d members: at most 9", len(peers)))
	}
	seen := make(map[string]string, len(peers))
	for _, id := range slices.Sorted(maps.Keys(peers)) {
		addr := peers[id]
		if !namePattern.MatchString(id) || len(id) > 64 {
			errs = append(errs, fmt.Errorf("cluster.peers: id %q: use 1 to 64 of a-z A-Z 0-9 . _ -", id))
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			errs = append(errs, fmt.Errorf("cluster.peers: %s=%q is not HOST:PORT", id, addr))
		}
		if other, dup := seen[addr]; dup {
			errs = append(errs, fmt.Errorf("cluster.peers: %s and %s have the same address %s", other, id, addr))
		}
		seen[addr] = id
	}
	if p := c.Raft.PreferredLeader; p != "" {
		if _, ok := peers[p]; !ok {
			errs = append(errs, fmt.Errorf("raft.preferred_leader %q is not in cluster.peers", p))
		}
	}
	return errors.Join(errs...)
}

func (c Config) validateAddresses() error {
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(c.Cluster.Addresses)) {
		if err := checkPeerAddr(c.Cluster.Addresses[id]); err != nil {
			errs = append(errs, fmt.Errorf("cluster.addresses: %s=%q is not HOST:PORT", id, c.Cluster.Addresses[id]))
		}
	}
	return errors.Join(errs...)
}

func (c Config) validateRaft() error {
	r := c.Raft
	return errors.Join(
		within("raft.heartbeat", r.Heartbeat, 5*time.Millisecond, 10*time.Second),
		within("raft.max_heartbeat_leak (the election timeout in heartbeats)", r.MaxHeartbeatLeak, 5, 1000),
		within("raft.min_vote_interval", r.MinVoteInterval, time.Millisecond, 10*time.Second),
		within("raft.max_vote_interval", r.MaxVoteInterval, 2*r.MinVoteInterval, time.Minute),
	)
}

func (c Config) validateStorage() error {
	var scrub error
	if c.Storage.ScrubRate != RateOff {
		scrub = within("storage.scrub_rate", c.Storage.ScrubRate, Rate(64*kibibyte), Rate(gibibyte))
	}
	_, _, without := c.Storage.GoOnWithout.parse()
	if without != nil {
		without = fmt.Errorf("storage.go_on_without: %w", without)
	}
	return errors.Join(
		scrub, without,
		within("storage.segment_bytes", c.Storage.SegmentBytes, mebibyte, 4*gibibyte),
		within("storage.segment_bytes (at least 2 × limits.max_batch_bytes)", c.Storage.SegmentBytes, 2*c.Limits.MaxBatchBytes, 4*gibibyte),
		within("storage.tail_cache_bytes", c.Storage.TailCacheBytes, mebibyte, 64*gibibyte),
		within("storage.state_cache_bytes", c.Storage.StateCacheBytes, mebibyte, 64*gibibyte),
		within("storage.seed_rate", c.Storage.SeedRate, mebibyte, 64*gibibyte),
		within("storage.disk_reserve_bytes", c.Storage.DiskReserveBytes, mebibyte, 16*gibibyte),
		c.Storage.validateMarks(),
	)
}

func (s StorageConfig) validateMarks() error {
	var errs []error
	for _, m := range []struct {
		key  string
		mark DiskMark
	}{{"storage.disk_warn_at", s.DiskWarnAt}, {"storage.disk_read_only_at", s.DiskReadOnlyAt}} {
		if _, _, err := m.mark.parse(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.key, err))
		}
	}
	if len(errs) == 0 && !s.DiskReadOnlyAt.later(s.DiskWarnAt) {
		errs = append(errs, fmt.Errorf("storage.disk_read_only_at %s must come after storage.disk_warn_at %s", s.DiskReadOnlyAt, s.DiskWarnAt))
	}
	return errors.Join(errs...)
}

func (c Config) validateLimits() error {
	l := c.Limits
	return errors.Join(
		within("limits.max_batch_bytes", l.MaxBatchBytes, kibibyte, 15*mebibyte),
		within("limits.max_frame_bytes", l.MaxFrameBytes, l.MaxBatchBytes, 256*mebibyte),
		within("limits.max_queues_per_topic", l.MaxQueuesPerTopic, 1, state.MaxQueuesPerTopic),
		within("limits.max_topics", l.MaxTopics, 1, state.MaxTopics),
		within("limits.max_queues", l.MaxQueues, 1, state.MaxQueues),
		within("limits.max_groups", l.MaxGroups, 1, state.MaxGroups),
		within("limits.max_group_queues", l.MaxGroupQueues, 1, state.MaxProgress),
		within("limits.max_group_members", l.MaxGroupMembers, 1, mostGroupMembers),
		within("limits.max_producers", l.MaxProducers, 1, state.MaxProducers),
		within("limits.max_producer_queues", l.MaxProducerQueues, 1, state.MaxWindows),
		within("limits.max_delayed", l.MaxDelayed, 1, state.MaxDelayed),
		within("limits.max_transactions", l.MaxTransactions, 1, state.MaxTransactions),
		within("limits.max_pending_proposals", l.MaxPendingProposals, 1, 1_000_000),
		within("limits.max_pending_bytes", l.MaxPendingBytes, l.MaxFrameBytes, 4*gibibyte),
		within("limits.stream_window_bytes", l.StreamWindowBytes, 64*kibibyte, gibibyte),
		within("limits.max_pull_bytes", l.MaxPullBytes, kibibyte, 16*mebibyte),
		within("limits.max_pull_wait", l.MaxPullWait, time.Millisecond, 10*time.Minute),
		within("limits.max_held_pulls", l.MaxHeldPulls, 1, 1_000_000),
		within("limits.hold_timeout", l.HoldTimeout, time.Millisecond, 10*time.Minute),
		within("limits.ack_timeout", l.AckTimeout, time.Millisecond, 10*time.Minute),
		within("limits.max_streams", l.MaxStreams, 1, 1_000_000),
		within("limits.max_connections", l.MaxConnections, 1, 1_000_000),
		within("limits.ready_max_lag", l.ReadyMaxLag, 1, 1<<40),
		within("limits.drain_timeout", l.DrainTimeout, time.Millisecond, 10*time.Minute),
	)
}

func within[T ~int | ~int64](key string, v, low, high T) error {
	if v < low || v > high {
		return fmt.Errorf("%s is %v: use %v to %v", key, v, low, high)
	}
	return nil
}

func (c Config) validateListeners() error {
	errs := []error{within("tls.reload", c.TLS.Reload, time.Millisecond, 24*time.Hour)}
	for _, l := range []struct {
		name, addr string
		tls        ListenerTLS
	}{
		{"client", c.Listen.Client, c.TLS.Client},
		{"peer", c.Listen.Peer, c.TLS.Peer},
		{"http", c.Listen.HTTP, c.TLS.HTTP},
	} {
		errs = append(errs, l.tls.validate(l.name), validateAddress(l.name, l.addr, l.tls.enabled() || c.Insecure))
	}
	errs = append(errs, c.validateApart())
	if a := c.Advertise.Client; a != "" {
		if _, _, err := net.SplitHostPort(a); err != nil {
			errs = append(errs, fmt.Errorf("advertise.client %q is not HOST:PORT", a))
		}
	}
	return errors.Join(errs...)
}

// validateApart finds listeners that would be in each other's way.
func (c Config) validateApart() error {
	all := []struct {
		name, addr string
		given      net.Listener
	}{
		{"client", c.Listen.Client, c.Listeners.Client},
		{"peer", c.Listen.Peer, c.Listeners.Peer},
		{"http", c.Listen.HTTP, c.Listeners.HTTP},
	}
	var errs []error
	for i, a := range all {
		for _, b := range all[i+1:] {
			if a.given == nil && b.given == nil && sameAddress(a.addr, b.addr) {
				errs = append(errs, fmt.Errorf("listen.%s %q and listen.%s %q are one address: give each a port of its own", a.name, a.addr, b.name, b.addr))
			}
		}
	}
	return errors.Join(errs...)
}

// sameAddress tells whether nobody can listen on both. The system chooses a free port
// for port 0, so it is never the same.
func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "" || portA == "0" {
		return false
	}
	return hostA == hostB || isWildcard(hostA) || isWildcard(hostB)
}

// isWildcard tells whether host stands for every address of the machine.
func isWildcard(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

func (t ListenerTLS) validate(name string) error {
	key := "tls." + name
	switch {
	case (t.Cert == "") != (t.Key == ""):
		return fmt.Errorf("%s: cert and key go together: set both or none", key)
	case t.Cert == "" && t.CA != "":
		return fmt.Errorf("%s: ca without cert and key would not be used: set them too", key)
	case name == "peer" && t.Cert != "" && t.CA == "":
		return fmt.Errorf("%s: set ca as well: members prove to each other who they are", key)
	case name == "peer" && t.Cert != "" && t.ClientAuth != ClientAuthRequired:
		return fmt.Errorf("%s.client_auth %q: peers always use required", key, t.ClientAuth)
	case t.ClientAuth != ClientAuthNone && t.ClientAuth != ClientAuthOptional && t.ClientAuth != ClientAuthRequired:
		return fmt.Errorf("%s.client_auth %q: use none, optional or required", key, t.ClientAuth)
	case t.Cert != "" && t.ClientAuth != ClientAuthNone && t.CA == "":
		return fmt.Errorf("%s.client_auth %s needs ca to check certificates against", key, t.ClientAuth)
	}
	return nil
}

// validateAddress refuses to be reached by strangers in plain text.
func validateAddress(name, addr string, protected bool) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("listen.%s %q is not HOST:PORT", name, addr)
	}
	if protected || isLoopback(host) {
		return nil
	}
	return fmt.Errorf("listen.%s %q is not a loopback address and tls.%s has no certificate: "+
		"anyone who reaches it could read and write everything; set tls.%s.cert and tls.%s.key, "+
		"listen on 127.0.0.1, or accept plain text with --insecure", name, addr, name, name, name)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func (c Config) validateLog() error {
	var errs []error
	switch c.Log.Level {
	case "debug", "info", "warn", "error":
	default:
		errs = append(errs, fmt.Errorf("log.level %q: use debug, info, warn or error", c.Log.Level))
	}
	switch c.Log.Format {
	case "auto", "text", "json":
	default:
		errs = append(errs, fmt.Errorf("log.format %q: use auto, text or json", c.Log.Format))
	}
	return errors.Join(errs...)
}
