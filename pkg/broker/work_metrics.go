package broker

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// workMetrics are about work-queue groups.
type workMetrics struct {
	redeliveries, dead *prometheus.CounterVec
	inFlight           *prometheus.Desc
	queues             *workQueues

	mu struct {
		sync.Mutex
		seen map[[2]string]bool // groups and topics that have series of their own
	}
}

func newWorkMetrics(m *metrics, queues *workQueues) *workMetrics {
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"group", "topic"})
	}
	w := &workMetrics{
		redeliveries: vec("broker_group_redeliveries_total", "Messages that a work-queue group was given again after an attempt in vain. On the leader."),
		dead:         vec("broker_group_dead_lettered_total", "Messages that a work-queue group was given in vain too often, moved to its dead letters. On the leader."),
		inFlight:     prometheus.NewDesc("broker_group_inflight_messages", "Messages that consumers of a work-queue group hold now. On the leader.", []string{"group", "topic"}, nil),
		queues:       queues,
	}
	w.mu.seen = map[[2]string]bool{}
	m.registry.MustRegister(w.redeliveries, w.dead, w)
	return w
}

// labels are those of a group and a topic, or common ones when too many have their own.
func (w *workMetrics) labels(group, topic string) (string, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := [2]string{group, topic}
	if !w.mu.seen[key] {
		if len(w.mu.seen) >= maxGroupSeries {
			return otherTopics, otherTopics
		}
		w.mu.seen[key] = true
	}
	return group, topic
}

func (w *workMetrics) redelivered(group, topic string, n int) {
	if n > 0 {
		w.redeliveries.WithLabelValues(w.labels(group, topic)).Add(float64(n))
	}
}

func (w *workMetrics) deadLettered(group, topic string, n int) {
	if n > 0 {
		w.dead.WithLabelValues(w.labels(group, topic)).Add(float64(n))
	}
}

// Describe implements prometheus.Collector.
func (w *workMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- w.inFlight }

// Collect implements prometheus.Collector.
func (w *workMetrics) Collect(ch chan<- prometheus.Metric) {
	for labels, n := range w.held() {
		ch <- prometheus.MustNewConstMetric(w.inFlight, prometheus.GaugeValue, float64(n), labels[0], labels[1])
	}
}

// held counts the leases of this leadership by group and topic.
func (w *workMetrics) held() map[[2]string]int {
	all := map[[2]string]int{}
	for labels, n := range w.queues.leases() {
		group, topic := w.labels(labels[0], labels[1])
		all[[2]string{group, topic}] += n
	}
	return all
}

// leasesOf is how many messages the consumers of a group hold.
func (w *workQueues) leasesOf(lead *leadership, group uint64) (n int) {
	_ = w.with(lead, func() { n = w.mu.leased[group] })
	return n
}

// leases counts what consumers hold, by group and topic; nothing unless this broker leads.
func (w *workQueues) leases() map[[2]string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[[2]string]int{}
	if w.mu.lead == nil {
		return all
	}
	select {
	case <-w.mu.lead.done:
		return all
	default:
	}
	for _, q := range w.mu.queues {
		all[[2]string{q.group.Name, q.topic}] += q.table.Leased()
	}
	return all
}
