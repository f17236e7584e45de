package broker

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgermq/ledgermq/pkg/state"
)

// maxGroupSeries bounds the queues of consumer groups that have lag series of their own;
// all further ones share one.
const maxGroupSeries = 2000

// groupCollector tells how far consumer groups are behind, those without members too. Only
// the leader does.
type groupCollector struct {
	groups  *groupService
	serving func() *leadership

	lagMessages, lagSeconds, members, committed *prometheus.Desc

	mu struct {
		sync.Mutex
		stored map[lagKey]int64 // when messages that wait were stored, Unix ns
	}
}

type lagKey struct {
	queue  state.QueueID
	offset state.Offset
}

func newGroupCollector(groups *groupService, serving func() *leadership) *groupCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &groupCollector{
		groups: groups, serving: serving,
		lagMessages: desc("broker_group_lag_messages", "Messages that are kept and that a consumer group has not consumed, also of groups without members. On the leader.", "group", "topic", "queue"),
		lagSeconds:  desc("broker_group_lag_seconds", "For how long the oldest of these messages has been stored. On the leader.", "group", "topic", "queue"),
		members:     desc("broker_group_members", "Members of a consumer group. On the leader.", "group"),
		committed:   desc("broker_group_last_commit_timestamp_seconds", "When the newest commit of a consumer group was taken, as Unix time; 0: there was none. On the leader.", "group"),
	}
}

// Describe implements prometheus.Collector.
func (c *groupCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.lagMessages, c.lagSeconds, c.members, c.committed} {
		ch <- d
	}
}

// lagSample is one series of lag.
type lagSample struct {
	group, topic, queue string
	messages            int64
	waiting             time.Duration
}

// Collect implements prometheus.Collector.
func (c *groupCollector) Collect(ch chan<- prometheus.Metric) {
	lead := c.serving()
	if lead == nil {
		return
	}
	samples, rest := c.samples(lead, ch)
	if rest.messages >= 0 {
		samples = append(samples, rest)
	}
	for _, s := range samples {
		ch <- prometheus.MustNewConstMetric(c.lagMessages, prometheus.GaugeValue, float64(s.messages), s.group, s.topic, s.queue)
		ch <- prometheus.MustNewConstMetric(c.lagSeconds, prometheus.GaugeValue, s.waiting.Seconds(), s.group, s.topic, s.queue)
	}
}

// samples are the series of lag, and what does not fit into them; its messages are -1 if
// everything does. The groups' own series go out on the way, for as many of them.
func (c *groupCollector) samples(lead *leadership, ch chan<- prometheus.Metric) (samples []lagSample, rest lagSample) {
	s := c.groups
	counts, now := s.coordinator.counts(lead), s.coordinator.now()
	rest = lagSample{group: otherTopics, topic: otherTopics, messages: -1}
	known, next := c.times(), map[lagKey]int64{}
	for i, g := range s.store.Groups() {
		newest := int64(0)
		for _, p := range s.store.GroupProgress(g.ID) {
			newest = max(newest, p.CommittedUnixMs)
			topic, number, ok := s.store.TopicOfQueue(p.Queue)
			l, kept := s.finder.lag(p.Queue, p.Offset)
			switch {
			case !ok || !kept:
			case len(samples) >= maxGroupSeries:
				rest.messages = max(0, rest.messages) + l.messages
			default:
				samples = append(samples, lagSample{g.Name, topic, strconv.Itoa(number), l.messages, c.waiting(p, l, now, known, next)})
			}
		}
		if i < maxGroupSeries {
			ch <- prometheus.MustNewConstMetric(c.members, prometheus.GaugeValue, float64(counts[g.Name]), g.Name)
			ch <- prometheus.MustNewConstMetric(c.committed, prometheus.GaugeValue, float64(newest)/1e3, g.Name)
		}
	}
	c.remember(next)
	return samples, rest
}

// waiting is for how long the oldest message that is not consumed has been stored. When
// that was is looked up in the ledger once per message.
func (c *groupCollector) waiting(p state.QueueProgress, l lag, now time.Time, known, next map[lagKey]int64) time.Duration {
	if l.messages == 0 {
		return 0
	}
	key := lagKey{p.Queue, max(p.Offset, l.first)}
	stored, ok := known[key]
	if !ok {
		var err error
		if _, stored, err = c.groups.finder.storedAt(queue{id: key.queue}, key.offset); err != nil {
			return 0
		}
	}
	next[key] = stored
	return max(0, now.Sub(time.UnixMilli(stored)))
}

func (c *groupCollector) times() map[lagKey]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.stored
}

func (c *groupCollector) remember(stored map[lagKey]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.stored = stored
}
