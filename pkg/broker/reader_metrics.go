package broker

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// maxReaderSeries bounds the consumer groups that have series of their own here: each is a
// whole histogram. All further ones share one.
const maxReaderSeries = 200

// readerMetrics are what consumer groups are given, and how old that is.
type readerMetrics struct {
	messages *prometheus.CounterVec
	age      *prometheus.HistogramVec

	mu struct {
		sync.Mutex
		groups map[string]bool // that have series of their own
	}
}

func newReaderMetrics(registry *prometheus.Registry) *readerMetrics {
	m := &readerMetrics{
		messages: counterVec("broker_group_messages_delivered_total", "Messages handed to members of a consumer group, by whole batches but where there is a filter; again if they are read again. On the leader.", "group"),
		age: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "broker_group_delivery_seconds", Help: "Time from the storing of a batch, or from its delivery time if that is later, to its hand-over to a consumer group. Transactional batches are left out. On the leader.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 12), NativeHistogramBucketFactor: 1.1,
		}, []string{"group"}),
	}
	m.mu.groups = make(map[string]bool)
	registry.MustRegister(m.messages, m.age)
	return m
}

// delivered counts what is about to be sent to a member of a group.
func (m *readerMetrics) delivered(group string, got pulled, now time.Time) {
	label := m.label(group)
	m.messages.WithLabelValues(label).Add(float64(got.records))
	age := m.age.WithLabelValues(label)
	for i, b := range got.batches {
		h, err := batch.ParseHeader(b.bytes)
		if err != nil || h.TransactionGroup != 0 {
			continue // when it was committed is not in the batch
		}
		since := max(got.infos[i].GetAppendTimeUnixMs(), h.DeliverAt)
		age.Observe(max(0, now.Sub(time.UnixMilli(since)).Seconds()))
	}
}

// label is the group's name, or otherTopics when too many others have series.
func (m *readerMetrics) label(group string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.groups[group] {
		return group
	}
	if len(m.mu.groups) >= maxReaderSeries {
		return otherTopics
	}
	m.mu.groups[group] = true
	return group
}
