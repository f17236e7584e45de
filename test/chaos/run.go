package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/history"
	"github.com/ledgermq/ledgermq/test/cluster"
)

const (
	topic     = "chaos"
	queues    = 3
	producers = 4
	maxBatch  = 128 << 10

	// healTime is how soon after the last fault everything acknowledged must have
	// been delivered, and a leader must serve. It takes a few seconds; a machine that is
	// busy with other things takes longer.
	healTime = time.Minute
)

// run is one run: a cluster, its clients, what they saw.
type run struct {
	t         *testing.T
	seed      uint64
	rate      int // messages a second of each producer
	cluster   *cluster.Cluster
	hosts     []*host
	client    *client.Client // of the test itself, outlives all others
	record    *record
	registers registers
	faults    []fault
	nemesis   *nemesis
	retention bool // old messages are purged
	bystanders
}

// random is a source of its own for each part of the run.
func (r *run) random(part uint64) *rand.Rand { return rand.New(rand.NewPCG(r.seed, part)) }

// note logs what is worth knowing when something else is wrong.
func (r *run) note(format string, args ...any) {
	r.t.Logf("%8.3f  %s", time.Since(r.record.began).Seconds(), fmt.Sprintf(format, args...))
}

// dial connects a new client, by a random order of seeds.
func (r *run) dial(ctx context.Context) (*client.Client, error) {
	var seeds []string
	for _, h := range r.hosts {
		seeds = append(seeds, h.node.Client)
	}
	rand.Shuffle(len(seeds), func(i, j int) { seeds[i], seeds[j] = seeds[j], seeds[i] })
	return client.Dial(ctx, client.Config{Seeds: seeds})
}

// newRun starts hosts and brokers for a round, and makes the topic. The names of
// what is kept in dir end with suffix.
func newRun(t *testing.T, m *machine, dir, suffix string, seed uint64, what round) *run {
	t.Helper()
	config := filepath.Join(t.TempDir(), "broker.yaml")
	must(t, os.WriteFile(config, []byte(what.settings()), 0o600))
	r := &run{t: t, seed: seed, rate: 400, retention: what.retention}
	r.cluster, r.hosts = newHosts(t, m, dir, config, what.direct(r.random(2)))
	t.Cleanup(func() {
		for _, h := range r.hosts {
			_ = os.WriteFile(filepath.Join(dir, h.node.ID+suffix+".log"), []byte(h.node.Logs()), 0o600)
		}
	})
	for _, h := range r.hosts {
		h.start()
	}
	r.cluster.Leader()
	record, err := newRecord(filepath.Join(dir, "history"+suffix+".jsonl"))
	must(t, err)
	r.record = record
	r.client, err = r.dial(t.Context())
	must(t, err)
	t.Cleanup(func() { _ = r.client.Close() })
	_, err = r.client.Admin().CreateTopic(t.Context(), topic, queues)
	must(t, err)
	// A ledger with delayed messages goes 65,536 entries at a time: every other round with
	// retention is without, so that members come back to purged entries.
	if !what.buffered && (!what.retention || seed%2 == 1) {
		r.invite()
	}
	return r
}

// storm is the middle of a run: traffic, what harm does, the healing, and the traffic's
// end.
func (r *run) storm(n *nemesis, harm func(*nemesis)) {
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	stop, stopProducers := context.WithCancel(ctx)
	defer stopProducers()
	producing, consuming := errgroup.Group{}, errgroup.Group{}
	for i := range producers {
		p := &producer{run: r, number: i, rng: r.random(uint64(100 + i))}
		producing.Go(func() error { return p.work(ctx, stop) })
	}
	for i := range registrars {
		producing.Go(func() error { return r.registrar(stop, i, r.random(uint64(300+i))) })
	}
	var ends []chan []int64
	for i := range 2 * queues {
		end := make(chan []int64, 1)
		ends = append(ends, end)
		c := &consumer{run: r, queue: i % queues, wanders: i >= queues, rng: r.random(uint64(200 + i)), name: fmt.Sprintf("c%d", i)}
		consuming.Go(func() error { return c.work(ctx, end) })
	}

	r.bystanders.start(r)

	r.nemesis = n
	n.idle(time.Second)
	harm(n)
	r.faults = n.past
	healed := unknown(history.Heal, "", 0)
	healed.Topic, healed.Invoke, healed.Complete, healed.Within = "", r.record.now(), r.record.now(), int64(healTime)
	must(r.t, r.record.write(healed))
	r.awaitTraffic(time.Duration(healed.Complete))
	n.idle(2 * time.Second) // a calm with traffic

	stopProducers()
	must(r.t, producing.Wait())
	r.bystanders.finish(r)
	all := r.ends(ctx)
	for _, end := range ends {
		end <- all
	}
	overdue := time.AfterFunc(2*healTime, cancel)
	defer overdue.Stop()
	if err := consuming.Wait(); err != nil {
		r.t.Error(err)
	}
}

// awaitTraffic waits until the group acknowledges again.
func (r *run) awaitTraffic(after time.Duration) {
	overdue := time.Now().Add(healTime)
	for r.record.acksAfter(after) == 0 {
		if time.Now().After(overdue) {
			r.t.Errorf("nothing was acknowledged for %v after the last fault", healTime)
			return
		}
		r.nemesis.idle(50 * time.Millisecond)
	}
}

// ends asks where the queues end.
func (r *run) ends(ctx context.Context) []int64 {
	described, err := r.client.Admin().DescribeTopic(ctx, topic)
	must(r.t, err)
	var ends []int64
	for _, q := range described.Queues {
		ends = append(ends, q.End)
	}
	return ends
}

// restartCold kills everyone at once and starts them again, so that what is read
// afterwards comes from disks and not from memory.
func (r *run) restartCold() {
	for _, h := range r.hosts {
		h.kill()
	}
	for _, h := range r.hosts {
		h.start()
	}
	r.cluster.Leader()
}

// converge waits until all members have the same committed ledger and the same state.
func (r *run) converge() {
	r.cluster.Eventually("three members with one ledger and one state", func(ctx context.Context) bool {
		r.nemesis.lookAfter()
		var ledgers, states []string
		for _, h := range r.hosts {
			s, err := h.node.Status(ctx)
			if err != nil || s.GetCommitIndex() != s.GetLedgerEndIndex() || s.GetAppliedIndex() != s.GetCommitIndex() || s.GetLogHashIndex() != s.GetLedgerEndIndex() {
				return false
			}
			ledgers = append(ledgers, fmt.Sprintf("%d %08x", s.GetLogHashIndex(), s.GetLogHash()))
			states = append(states, fmt.Sprintf("%d %08x", s.GetAppliedIndex(), s.GetStateHash()))
		}
		return len(slices.Compact(ledgers)) == 1 && len(slices.Compact(states)) == 1
	})
}
