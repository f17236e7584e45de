package mixed

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/history"
	"github.com/ledgermq/ledgermq/test/cluster"
	"github.com/ledgermq/ledgermq/test/workload"
)

const (
	patience = 60 * time.Second
	queues   = 3
)

// topics are what is published to, each with a consumer group of the same name; that of
// the last one receives and acknowledges.
var topics = []string{"plain", "delayed", "transactional", work}

const work = "work"

// run is one run: brokers, clients, and what they saw.
type run struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	cluster *cluster.Cluster
	client  *client.Client // of the test itself
	record  *workload.Record
	scene   *workload.Scene

	stopSources, stopMembers context.CancelFunc
	sources, members         errgroup.Group
	transactor               *workload.Transactor
	dead                     int // letters
}

func newRun(t *testing.T, seed uint64, lives [2]time.Duration) *run {
	t.Helper()
	r := &run{t: t, seed: seed, rng: newRand(seed, 1)}
	r.cluster = cluster.Start(t, cluster.Config{Env: []string{"LEDGERMQ_TRANSACTIONS_CHECK_AFTER=300ms", "LEDGERMQ_TRANSACTIONS_CHECK_INTERVAL=500ms"}})
	var err error
	r.record, err = workload.NewRecord(filepath.Join(t.TempDir(), "history.jsonl"))
	require.NoError(t, err)
	var seeds []string
	for _, n := range r.cluster.Nodes() {
		seeds = append(seeds, n.Client)
	}
	dial := func(ctx context.Context) (*client.Client, error) {
		return client.Dial(ctx, client.Config{Seeds: seeds})
	}
	r.scene = workload.NewScene(workload.Config{Dial: dial, Recorder: r.record, Note: t.Logf, Lives: lives, Strict: true})
	r.client, err = dial(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.client.Close() })
	for _, topic := range topics {
		_, err := r.client.Admin().CreateTopic(t.Context(), topic, queues)
		require.NoError(t, err)
	}
	return r
}

// kinds are what has to be done before and after each kill, and how often.
func kinds() map[string]int {
	all := map[string]int{"transactional end": 2, "work send": 3, "work receive": 2, "work ack": 3}
	for _, topic := range topics[:3] {
		all[topic+" send"], all[topic+" pull"], all[topic+" commit"] = 3, 3, 1
	}
	return all
}

// seldom is what a run has to have seen, however short it is, before it may end: what comes
// by chance, and late.
func seldom() map[string]int {
	return map[string]int{
		"work nack": 1, "work poison": 1, "delayed recall": 1,
		"transactional check": 1, "transactional committed": 1, "transactional rolled back": 1,
	}
}

// start sets everyone to work. In a long run some members end without a word.
func (r *run) start(long bool) {
	sources, stopSources := context.WithCancel(r.t.Context())
	members, stopMembers := context.WithCancel(r.t.Context())
	r.stopSources, r.stopMembers = stopSources, stopMembers
	part := uint64(100)
	source := func(who, topic string, rate int) workload.Source {
		part++
		return workload.Source{Scene: r.scene, Who: who, Topic: topic, Queues: queues, Rate: rate, Rng: newRand(r.seed, part)}
	}
	crash, delay, invisible := 0, 800*time.Millisecond, 400*time.Millisecond
	if long {
		crash, delay, invisible = 20, 3*time.Second, 2*time.Second
	}
	decisions := workload.NewDecisions()
	for i := range 2 {
		p := &workload.Producer{Source: source(fmt.Sprintf("p%d", i), "plain", 200)}
		named := &workload.Producer{Source: source(fmt.Sprintf("named%d", i), "plain", 100), Named: true}
		d := &workload.Delayed{Source: source(fmt.Sprintf("d%d", i), "delayed", 100), Delay: delay}
		x := &workload.Transactor{Source: source(fmt.Sprintf("x%d", i), "transactional", 50), Decisions: decisions, Group: "shop"}
		for _, work := range []func(context.Context) error{p.Work, named.Work, d.Work, x.Work} {
			r.sources.Go(func() error { return work(sources) })
		}
		r.transactor = x
		forWorkers := &workload.Producer{Source: source(fmt.Sprintf("w%d", i), work, 50), ForWorkers: true}
		r.sources.Go(func() error { return forWorkers.Work(sources) })
	}
	for i := range 4 {
		part++
		w := &workload.Worker{Scene: r.scene, Who: fmt.Sprintf("worker%d", i), Group: work, Topic: work, Invisible: invisible, Rng: newRand(r.seed, part)}
		r.members.Go(func() error { return w.Work(members) })
	}
	for _, topic := range topics[:3] {
		for i := range 3 {
			part++
			if topic != "plain" {
				crash = 0
			}
			m := &workload.Member{Scene: r.scene, Who: fmt.Sprintf("%s%d", topic, i), Group: topic, Topic: topic, CommitEach: 10, CrashOne: crash, Rng: newRand(r.seed, part)}
			r.members.Go(func() error { return m.Work(members) })
		}
	}
}

// ask notes how far the groups are.
func (r *run) ask() (lag int64) {
	r.t.Helper()
	for _, topic := range topics {
		behind, err := r.scene.AskProgress(r.t.Context(), r.client, "watcher", topic, topic)
		require.NoError(r.t, err)
		lag += behind
	}
	return lag
}

// finish lets the work come to its end: what was published is delivered and committed. In a
// long run what a member had when it ended without a word is given again a while later.
func (r *run) finish(long bool) {
	r.t.Helper()
	r.stopSources()
	require.NoError(r.t, r.sources.Wait())
	require.NoError(r.t, r.transactor.Finish(r.t.Context()))
	r.eventually("everything is delivered to its group", func() bool {
		some, n := r.scene.Missing()
		if n > 0 {
			r.t.Logf("%d are missing: %v", n, some)
		}
		return n == 0 && r.scene.Waits() == 0
	})
	groups := []string{work}
	if long {
		groups = topics
	}
	for _, group := range groups {
		r.eventually("all of "+group+" is done, or a dead letter", func() bool {
			d, err := r.client.Admin().DescribeGroup(r.t.Context(), group)
			require.NoError(r.t, err)
			return d.Lag == 0
		})
	}
	r.stopMembers()
	require.NoError(r.t, r.members.Wait())
	var err error
	r.dead, err = r.scene.DeadLetters(r.t.Context(), r.client, "watcher", work, work)
	require.NoError(r.t, err)
	require.Zero(r.t, r.ask(), "who leaves commits what it has finished")
}

// eventually is asked twice a second.
func (r *run) eventually(what string, holds func() bool) {
	r.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			keep(r.t, r.record.Path())
			r.t.Fatalf("waited %v until %s", patience, what)
		}
	}
}

// drain reads every queue from each member's copy.
func (r *run) drain() {
	r.t.Helper()
	for _, n := range r.cluster.Nodes() {
		r.eventually(n.ID+" leads and is read", func() bool {
			ctx, cancel := context.WithTimeout(r.t.Context(), patience)
			defer cancel()
			before, err := n.Status(ctx)
			if err != nil || !before.GetServing() {
				_, _, err := r.client.Admin().Transfer(ctx, n.ID)
				r.t.Logf("transfer to %s: %v", n.ID, err)
				if before, err = n.Status(ctx); err != nil || !before.GetServing() {
					return false
				}
			}
			var lines []history.Operation
			for _, topic := range topics {
				for queue := range queues {
					read, err := workload.Drain(ctx, r.record.Now, n.ID, n.Client, topic, queue)
					require.NoError(r.t, err)
					lines = append(lines, read...)
				}
			}
			after, err := n.Status(ctx)
			if err != nil || !after.GetServing() || after.GetTerm() != before.GetTerm() {
				return false // what was read could be another's
			}
			for _, o := range lines {
				require.NoError(r.t, r.record.Write(o))
			}
			return true
		})
	}
}
