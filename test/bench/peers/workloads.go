package main

import (
	"slices"
	"strings"
	"time"
)

// workload is what every peer is measured with.
type workload struct {
	name string
	run  func(Peer) []*Result
	// lonely: not for a peer that acknowledges nothing until it has seen no more messages
	// for a while.
	lonely bool
}

// The windows: what a client that waits for nothing has in flight, and one that is wide
// enough for batches to fill. Every peer gets both; its better one counts.
const (
	usual = 4096
	wide  = 8 << 20 // bytes
)

const plenty = 20_000_000 // messages: the time ends a load

var workloads = []workload{
	{name: "1k", run: func(p Peer) []*Result { return runDrain(p, flat(1024, usual)) }},
	{name: "1k-wide", run: func(p Peer) []*Result { return one(runPublish(p, "throughput", flat(1024, wide/1024))) }},
	{name: "128", run: func(p Peer) []*Result { return runDrain(p, flat(128, usual)) }},
	{name: "128-wide", run: func(p Peer) []*Result { return one(runPublish(p, "throughput", flat(128, wide/128))) }},
	{name: "sync", lonely: true, run: func(p Peer) []*Result { return one(runPublish(p, "one in flight", flat(1024, 1))) }},
	{name: "5k", lonely: true, run: func(p Peer) []*Result {
		const rate = 5000
		n := int(limit.Seconds() * rate)
		return one(runEndToEnd(p, load{size: 1024, window: 4 * rate, rate: rate, n: n, limit: 30 * time.Second}))
	}},
}

// flat is a load without a rate.
func flat(size, window int) load {
	return load{size: size, window: window, n: plenty, limit: *limit}
}

func one(r *Result) []*Result { return []*Result{r} }

func workloadNames() []string {
	return []string{"1k", "1k-wide", "128", "128-wide", "sync", "5k"}
}

// selected are the workloads that were asked for and that suit a peer.
func selected(peer string) []workload {
	names := strings.Split(*onlyList, ",")
	return slices.DeleteFunc(slices.Clone(workloads), func(w workload) bool {
		return *onlyList != "" && !slices.Contains(names, w.name) || w.lonely && strings.Contains(peer, "batch")
	})
}
