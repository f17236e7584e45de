package broker

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// topicKeeper is the leader's clock for topics: it trims those that keep messages for a
// time or in a number, and removes deleted ones whose grace is over. What it decides goes
// through the ledger, so that all members serve the same. One goroutine, which only looks
// at its clock while another member leads.
type topicKeeper struct {
	store    *state.Store
	finder   *offsetFinder
	proposer *proposer
	serving  func() *leadership
	full     func() error // of the disk
	interval time.Duration
	wall     func() time.Time
	mono     func() time.Duration
	clock    commitlog.ClockGuard
	log      *slog.Logger
	trimmed  prometheus.Counter
}

func newTopicKeeper(b *Broker) *topicKeeper {
	began := time.Now()
	k := &topicKeeper{
		store: b.store, serving: b.leaderships.serving, full: b.disk.refusal,
		proposer: &proposer{ledger: b.ledger, timeout: b.cfg.Limits.AckTimeout, now: time.Now},
		finder:   &offsetFinder{&puller{store: b.store, ledger: b.ledger}},
		interval: b.cfg.Retention.CheckInterval,
		wall:     func() time.Time { return time.Now().Round(0) }, // without the monotonic reading
		mono:     func() time.Duration { return time.Since(began) },
		clock:    commitlog.ClockGuard{Settles: b.cfg.ClockSettles}, log: b.log,
		trimmed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "broker_topic_retention_trimmed_total",
			Help: "Messages that the retention of topics has taken out of service, counted on the leader.",
		}),
	}
	b.metrics.registry.MustRegister(k.trimmed)
	return k
}

// run looks at the topics now and then, until ctx is done.
func (k *topicKeeper) run(ctx context.Context) error {
	tick := time.NewTicker(k.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := k.wall()
		steady, _ := k.clock.Look(now, k.mono()) // retention raises the alarm
		if lead := k.serving(); lead != nil {
			k.look(ctx, lead, now, steady)
		}
	}
}

// look does what is due. A clock that may have jumped says nothing of ages, and ends no
// grace.
func (k *topicKeeper) look(ctx context.Context, lead *leadership, now time.Time, steady bool) {
	if steady {
		k.purge(ctx, lead, now)
	}
	if k.full() != nil {
		return // a trim frees no disk, and costs an entry
	}
	trim, messages := &recordv1.TrimQueues{}, int64(0)
	for _, topic := range k.store.Topics() {
		if topic.Settings.RetentionMs == 0 && topic.Settings.RetentionMessages == 0 {
			continue
		}
		for _, q := range topic.Queues {
			first, keep, ok := k.keepFrom(topic, q, now, steady)
			if !ok || keep <= first {
				continue
			}
			trim.Offsets = append(trim.Offsets, &recordv1.QueueOffset{QueueId: uint32(q), Offset: int64(keep)})
			messages += int64(keep - first)
			if len(trim.GetOffsets()) == state.MaxTrim {
				k.trim(ctx, lead, trim, messages)
				trim, messages = &recordv1.TrimQueues{}, 0
			}
		}
	}
	if len(trim.GetOffsets()) > 0 {
		k.trim(ctx, lead, trim, messages)
	}
}

// keepFrom is the oldest message of a queue that its topic keeps.
func (k *topicKeeper) keepFrom(topic *state.Topic, id state.QueueID, now time.Time, steady bool) (first, keep state.Offset, ok bool) {
	first, end, ok := k.store.QueueRange(id)
	if !ok || first == end {
		return first, first, false
	}
	keep = first
	if n := topic.Settings.RetentionMessages; n != 0 {
		keep = max(keep, end-state.Offset(n))
	}
	if age := topic.Settings.RetentionMs; age != 0 && steady {
		q, oldest := queue{id: id, topic: topic.Name}, now.UnixMilli()-age
		_, stored, err := k.finder.storedAt(q, first) // mostly it is young enough, for one read
		if err == nil && stored < oldest {
			found, findErr := k.finder.findTime(q, oldest)
			keep, err = max(keep, state.Offset(found.GetOffset())), findErr
		}
		if err != nil {
			k.log.Debug("a queue is not trimmed by age now", "topic", topic.Name, "queue_id", uint32(id), "error", err)
		}
	}
	return first, keep, true
}

func (k *topicKeeper) trim(ctx context.Context, lead *leadership, trim *recordv1.TrimQueues, messages int64) {
	if k.serving() != lead {
		return
	}
	if _, err := k.proposer.command(ctx, &recordv1.Command{Kind: &recordv1.Command_TrimQueues{TrimQueues: trim}}); err != nil {
		k.log.Debug("queues are not trimmed now", "queues", len(trim.GetOffsets()), "error", err)
		return // the next look finds the same again
	}
	k.trimmed.Add(float64(messages))
}

// purge removes deleted topics whose grace is over.
func (k *topicKeeper) purge(ctx context.Context, lead *leadership, now time.Time) {
	for {
		due := ""
		for _, t := range k.store.AllTopics() {
			if t.Deleted() && t.UndeleteUntilUnixMs <= now.UnixMilli() {
				due = t.Name
				break
			}
		}
		if due == "" || k.serving() != lead {
			return
		}
		out, err := k.proposer.command(ctx, &recordv1.Command{
			Kind: &recordv1.Command_PurgeDeleted{PurgeDeleted: &recordv1.PurgeDeleted{UpToUnixMs: now.UnixMilli(), Limit: state.MaxPurge}},
		})
		if err != nil {
			k.log.Debug("deleted topics are not removed now", "topic", due, "error", err)
			return
		}
		k.log.Info("deleted topics removed, their grace is over", "topics", out.Count)
	}
}
