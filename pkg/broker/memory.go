package broker

import (
	"fmt"
	"runtime/debug"
	gometrics "runtime/metrics"
	"strings"
)

// Shares of limits.memory.
const (
	fixedShare = 0.75 // what queues and caches may sum up to, with the program itself
	// closeShare and openShare are the memory in use above which nothing more is taken in,
	// and below which it is again. What is on its way when the gate closes has its room
	// above: a request that has arrived is copied once more before it is refused.
	closeShare = 0.72
	openShare  = 0.69
)

// runtimeBytes is what the program takes before it does anything.
const runtimeBytes = 32 * mebibyte

// memoryUse is one thing that may fill up, and the setting that bounds it.
type memoryUse struct {
	setting string
	bytes   Size
}

// memoryUses are the queues and caches of a broker at their fullest. What is not
// here is requests on their way in and answers on their way out: the memory gate
// bounds those. peers is how many other members push, or may.
func (c Config) memoryUses(peers int) []memoryUse {
	each := c.inboundBytes(peers)
	return append(c.ownUses(), memoryUse{fmt.Sprintf("pushes from %d peers", peers), Size(peers) * each})
}

// ownUses are those that do not depend on who else is in the group.
func (c Config) ownUses() []memoryUse {
	pending := c.Limits.MaxPendingBytes + reservedBytes
	return []memoryUse{
		// What is not durable yet stays in the tail, whatever the cache's size.
		{"storage.tail_cache_bytes", max(c.Storage.TailCacheBytes, pending, share(c.Limits.Memory, 16, 0, mostInbound))},
		{"storage.state_cache_bytes", c.Storage.StateCacheBytes},
		{"limits.max_pending_bytes (proposals)", pending},
		{"limits.max_pending_bytes (requests that wait for a leader)", c.Limits.MaxPendingBytes},
		{"limits.max_connections", Size(c.Limits.MaxConnections) * connectionBytes},
		{"limits.max_held_pulls", Size(c.Limits.MaxHeldPulls) * heldPullBytes},
		{"limits.max_queues", Size(c.Limits.MaxQueues) * queueBytes},
		{"limits.max_groups", Size(c.Limits.MaxGroups) * groupBytes},
		{"limits.max_group_queues", Size(c.Limits.MaxGroupQueues) * groupQueueBytes},
		{"limits.max_group_members", Size(c.Limits.MaxGroupMembers) * groupMemberBytes},
		{"limits.max_producers", Size(c.Limits.MaxProducers) * producerBytes},
		{"limits.max_producer_queues", Size(c.Limits.MaxProducerQueues) * producerQueueBytes},
		{"limits.max_delayed", Size(c.Limits.MaxDelayed) * delayedBytes},
		{"limits.max_transactions", Size(c.Limits.MaxTransactions) * transactionBytes},
		{"filters of pulls", filterBytes(c.Limits.Memory)},
		{"tables of the state store", 3 * c.memTableBytes()},
		{"the program itself", runtimeBytes},
	}
}

// What one peer has pushed and is not written yet takes so much at least and at most.
const (
	leastInbound = mebibyte
	mostInbound  = 32 * mebibyte
)

// inboundBytes bounds what each of so many peers has pushed and is not written yet. They
// share what other uses leave, for a group may grow long after the settings were checked.
func (c Config) inboundBytes(peers int) Size {
	room := c.allowedBytes()
	for _, u := range c.ownUses() {
		room -= u.bytes
	}
	return share(min(room, c.Limits.Memory/16), Size(max(1, peers)), leastInbound, mostInbound)
}

// allowedBytes is what queues and caches may sum up to, with the program itself.
func (c Config) allowedBytes() Size { return Size(float64(c.Limits.Memory) * fixedShare) }

// windowBytes is the HTTP/2 window of a client's stream and of its connection, both
// set so that neither is the other's bottleneck.
func (c Config) windowBytes() Size { return share(c.Limits.Memory, 128, mebibyte, 8*mebibyte) }

// streamAnswerBytes bounds the batches in one answer of a pull stream; one batch
// always goes through. A client that does not read holds about three of them: one
// that the transport has, and one, with its encoding, that waits to be sent.
func (c Config) streamAnswerBytes() Size { return share(c.Limits.Memory, 1024, 64*kibibyte, mebibyte) }

// What a connection and a waiting pull take when nothing else happens on them. Tests
// measure it.
const (
	connectionBytes = 32 * kibibyte
	heldPullBytes   = 12 * kibibyte
)

// queueBytes is a queue in memory with its share of a topic: some hundred bytes, and its
// newest posting block once it is used.
const queueBytes = 2 * kibibyte

// What a consumer group, its progress in one queue and one of its members take.
const (
	groupBytes       = 512
	groupQueueBytes  = 96
	groupMemberBytes = kibibyte
)

// What a producer takes, and what is remembered of its batches in one queue. A test in
// pkg/state measures it.
const (
	producerBytes      = 128
	producerQueueBytes = 160
)

// What a batch that waits for its delivery time takes, and one that waits for the end of
// its transaction, with what the leader remembers of that. Tests in pkg/state and here
// measure it.
const (
	delayedBytes     = 128
	transactionBytes = 256
)

// part is one n-th of the memory, but half of that where there is little of it: what
// else there is must fit, too.
func part(memory, n Size) Size {
	if memory < 512*mebibyte {
		return memory / (2 * n)
	}
	return memory / n
}

// mostGroupMembers is the highest limit of members, whatever the memory.
const mostGroupMembers = 1_000_000

// filterBytes bounds the filters of all pulls that are open.
func filterBytes(memory Size) Size { return share(memory, 128, mebibyte, 8*mebibyte) }

// memTableBytes is one table of the state store in memory; there can be three.
func (c Config) memTableBytes() Size { return share(c.Limits.Memory, 64, 4*mebibyte, 32*mebibyte) }

// share is one n-th of the memory within bounds.
func share(memory Size, n, least, most Size) Size { return min(max(memory/n, least), most) }

// validateMemory refuses bounds that sum up to more than the cap leaves for them.
func (c Config) validateMemory() error {
	if err := within("limits.memory", c.Limits.Memory, 256*mebibyte, 4096*gibibyte); err != nil {
		return err
	}
	return c.checkMemory(len(c.members()) - 1)
}

// checkMemory says what is wrong with the bounds in a group with so many peers.
func (c Config) checkMemory(peers int) error {
	var sum Size
	var named []string
	for _, u := range c.memoryUses(peers) {
		sum += u.bytes
		named = append(named, fmt.Sprintf("%s %s", u.setting, roundSize(int64(u.bytes))))
	}
	if allowed := c.allowedBytes(); sum > allowed {
		return fmt.Errorf("limits.memory %s is too small: queues and caches may take %s of it, but sum up to %s (%s): lower some, or raise limits.memory to %s",
			c.Limits.Memory, roundSize(int64(allowed)), roundSize(int64(sum)), strings.Join(named, " + "), roundSize(int64(float64(sum)/fixedShare)+1))
	}
	return nil
}

// gateBytes are the memory in use at which the gate closes, and below which it opens.
// It opens above all that queues and caches hold by right: they stay full, and a gate
// that waited for less would never open.
func (c Config) gateBytes(peers int) (closes, opens uint64) {
	var held Size
	for _, u := range c.memoryUses(peers) {
		held += u.bytes
	}
	held -= runtimeBytes // which is not memory in use
	memory := float64(c.Limits.Memory)
	opens = max(uint64(memory*openShare), uint64(held))
	return opens + uint64(memory*(closeShare-openShare)), opens
}

// memoryInUse is what the process holds: objects with the garbage that is not swept yet,
// stacks, and the runtime's own structures. It is resident memory but for the program's
// text and what the runtime keeps free.
func memoryInUse() (sum uint64) {
	samples := []gometrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/memory/classes/metadata/mspan/inuse:bytes"},
		{Name: "/memory/classes/metadata/mcache/inuse:bytes"},
		{Name: "/memory/classes/metadata/other:bytes"},
		{Name: "/memory/classes/os-stacks:bytes"},
		{Name: "/memory/classes/other:bytes"},
	}
	gometrics.Read(samples)
	for _, s := range samples {
		sum += s.Value.Uint64()
	}
	return sum
}

// LimitMemory makes Go's runtime keep this process below limits.memory: it collects
// garbage more often before it takes more, and the more often the more is in use. It is
// for the process, so a program with one broker calls it. A smaller GOMEMLIMIT stays, and
// a GOGC.
func (c *Config) LimitMemory() {
	c.ownProcess = true
	memory := c.withDefaults().Limits.Memory
	// The rest is for what the runtime does not count, the program's text for one, and
	// for what it takes beyond a limit that is not a hard one.
	limit := int64(memory - memory/4)
	if now := debug.SetMemoryLimit(-1); limit < now {
		debug.SetMemoryLimit(limit)
	}
}
