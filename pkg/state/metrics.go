package state

import (
	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	topics, queues, producers prometheus.Gauge
	windows, deleted          prometheus.Gauge
	groups, progress          prometheus.Gauge
	apply                     prometheus.Histogram
	duplicates                prometheus.Counter
	flushes, compactions      prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &metrics{
		topics:    gauge("broker_topics", "Topics in the applied state, those too that are deleted and can be had back."),
		deleted:   gauge("broker_topics_deleted", "Topics that are deleted and can be had back, until their grace is over."),
		queues:    gauge("broker_queues", "Queues of all topics in the applied state."),
		producers: gauge("broker_producers", "Producer identities in the applied state."),
		windows:   gauge("broker_producer_queues", "Queues in which batches of producers are remembered, producer by producer, in the applied state."),
		groups:    gauge("broker_groups", "Consumer groups in the applied state."),
		progress:  gauge("broker_group_queues", "Queues in which consumer groups have progress, group by group, in the applied state."),
		apply: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "broker_apply_seconds",
			Help:    "Time to apply one run of committed entries to the state store.",
			Buckets: prometheus.ExponentialBuckets(10e-6, 4, 10), NativeHistogramBucketFactor: 1.1,
		}),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "broker_duplicates_suppressed_total",
			Help: "Batches of idempotent producers that were stored before and so not again, counted as they are applied.",
		}),
		flushes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "broker_state_flushes_total",
			Help: "Tables of the state store that were brought from memory to disk.",
		}),
		compactions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "broker_state_compactions_total",
			Help: "Compactions of the state store, those that only moved a table left out.",
		}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.topics, m.deleted, m.queues, m.producers, m.windows, m.groups, m.progress, m.apply, m.duplicates, m.flushes, m.compactions} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// watch counts what Pebble does in the background.
func (m *metrics) watch(events *pebble.EventListener) {
	events.FlushEnd = func(info pebble.FlushInfo) {
		if info.Err == nil {
			m.flushes.Inc()
		}
	}
	events.CompactionEnd = func(info pebble.CompactionInfo) {
		if info.Err == nil && info.Reason != "move" {
			m.compactions.Inc()
		}
	}
}
