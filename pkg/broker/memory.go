package broker

import (
	"fmt"
	"runtime/debug"
	"strings"
)

// Shares of limits.memory.
const (
	fixedShare = 0.75 // what queues and caches may sum up to
	gateShare  = 0.80 // live memory above which nothing more is taken in
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
// bounds those.
func (c Config) memoryUses() []memoryUse {
	pending := c.Limits.MaxPendingBytes + reservedBytes
	peers := Size(len(c.members()) - 1)
	return []memoryUse{
		// What is not durable yet stays in the tail, whatever the cache's size.
		{"storage.tail_cache_bytes", max(c.Storage.TailCacheBytes, pending, c.inboundBytes())},
		{"storage.state_cache_bytes", c.Storage.StateCacheBytes},
		{"limits.max_pending_bytes (proposals)", pending},
		{"limits.max_pending_bytes (requests that wait for a leader)", c.Limits.MaxPendingBytes},
		{fmt.Sprintf("pushes from %d peers", peers), peers * c.inboundBytes()},
		{"limits.max_connections", Size(c.Limits.MaxConnections) * connectionBytes},
		{"limits.max_held_pulls", Size(c.Limits.MaxHeldPulls) * heldPullBytes},
		{"tables of the state store", 3 * c.memTableBytes()},
		{"the program itself", runtimeBytes},
	}
}

// inboundBytes bounds what one peer has pushed and is not written yet.
func (c Config) inboundBytes() Size {
	peers := Size(max(1, len(c.members())-1))
	return share(c.Limits.Memory, 16*peers, 4*mebibyte, 32*mebibyte)
}

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

// memTableBytes is one table of the state store in memory; there can be three.
func (c Config) memTableBytes() Size { return share(c.Limits.Memory, 64, 4*mebibyte, 32*mebibyte) }

// share is one n-th of the memory within bounds.
func share(memory Size, n, least, most Size) Size { return min(max(memory/n, least), most) }

// validateMemory refuses bounds that sum up to more than the cap leaves for them.
func (c Config) validateMemory() error {
	if err := within("limits.memory", c.Limits.Memory, 256*mebibyte, 4096*gibibyte); err != nil {
		return err
	}
	var sum Size
	var named []string
	for _, u := range c.memoryUses() {
		sum += u.bytes
		named = append(named, fmt.Sprintf("%s %s", u.setting, roundSize(int64(u.bytes))))
	}
	if allowed := Size(float64(c.Limits.Memory) * fixedShare); sum > allowed {
		return fmt.Errorf("limits.memory %s is too small: queues and caches may take %s of it, but sum up to %s (%s): lower some, or raise limits.memory to %s",
			c.Limits.Memory, roundSize(int64(allowed)), roundSize(int64(sum)), strings.Join(named, " + "), roundSize(int64(float64(sum)/fixedShare)+1))
	}
	return nil
}

// LimitMemory makes Go's runtime keep this process below limits.memory: it collects
// garbage more often before it takes more. It is for the process, so a program with
// one broker calls it. A smaller GOMEMLIMIT stays.
func (c Config) LimitMemory() {
	memory := c.withDefaults().Limits.Memory
	// The rest is for what the runtime does not count, the program's text for one, and
	// for what it takes beyond a limit that is not a hard one.
	limit := int64(memory - max(memory/6, 48*mebibyte))
	if now := debug.SetMemoryLimit(-1); limit < now {
		debug.SetMemoryLimit(limit)
	}
}
