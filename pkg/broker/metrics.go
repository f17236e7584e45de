package broker

import (
	"runtime"
	"sync"
	"time"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// maxTopicSeries bounds the topics that have metrics of their own; all further
// ones share the series of otherTopics.
const (
	maxTopicSeries = 1000
	otherTopics    = "__other__"
)

// metrics are the broker's own. docs/metrics.md lists them with those of the
// packages below.
type metrics struct {
	registry *prometheus.Registry
	state    *prometheus.Registry // of the state store
	grpc     *grpcprom.ServerMetrics

	received, receivedBytes   *prometheus.CounterVec
	deliveries, deliveryBytes *prometheus.CounterVec
	filtered                  *prometheus.CounterVec
	sendSeconds               prometheus.Observer
	sendErrors                *prometheus.CounterVec
	certExpiry                *prometheus.GaugeVec
	heldRequests              prometheus.Gauge
	commitEntries             prometheus.Counter
	commits                   *prometheus.CounterVec
	seed                      *seedMetrics
	readers                   *readerMetrics

	topicOf func(state.QueueID) (topic string, queue int, ok bool)
	mu      struct {
		sync.Mutex
		topics map[string]bool // that have series of their own
	}
}

// newMetrics makes the registry of one broker. Nothing is global: several brokers
// live in one process without getting in each other's way.
func newMetrics(cfg Config, disk *diskGuard) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		grpc: grpcprom.NewServerMetrics(grpcprom.WithServerHandlingTimeHistogram(
			grpcprom.WithHistogramBuckets([]float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 30}))),
		received:      counterVec("broker_messages_received_total", "Messages stored for producers, counted where they were acknowledged: on the leader.", "topic"),
		receivedBytes: counterVec("broker_received_bytes_total", "Bytes of record batches stored for producers, as they travelled.", "topic"),
		deliveries:    counterVec("broker_messages_delivered_total", "Messages handed to consumers, whole batches counted but where there is a filter.", "topic"),
		deliveryBytes: counterVec("broker_delivered_bytes_total", "Bytes of record batches handed to consumers, as they travelled.", "topic"),
		filtered:      counterVec("broker_messages_filtered_total", "Messages that filters looked at and did not want.", "topic"),
		sendErrors:    counterVec("broker_send_errors_total", "Record batches that were not acknowledged, or whole requests, by error code.", "reason"),
		certExpiry: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "broker_tls_cert_expiry_timestamp_seconds", Help: "When the certificate in use expires, as Unix time.",
		}, []string{"usage"}),
		commits: counterVec("broker_group_commits_total", "Commits of progress in one queue, by what became of them: OK, or an error code.", "result"),
		commitEntries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "broker_group_commit_entries_total", Help: "Entries of the ledger that commits of progress were gathered into.",
		}),
		heldRequests: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "broker_held_requests", Help: "Requests that wait for a leader now.",
		}),
	}
	m.mu.topics = make(map[string]bool)
	send := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "broker_send_seconds", Help: "Time from the arrival of a publish request to its acknowledgement.",
		Buckets:                     prometheus.ExponentialBuckets(0.00025, 2, 16),
		NativeHistogramBucketFactor: 1.1,
	}, []string{"acks"})
	m.sendSeconds = send.WithLabelValues(string(cfg.Durability.Ack))
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "broker_build_info", Help: "Always 1; the labels say what runs.",
	}, []string{"version", "revision", "goversion"})
	build.WithLabelValues(cfg.Version, cfg.Revision, runtime.Version()).Set(1)
	m.registry.MustRegister(m.grpc, m.received, m.receivedBytes, m.deliveries, m.deliveryBytes, m.filtered, send, m.sendErrors,
		m.certExpiry, m.heldRequests, m.commits, m.commitEntries, build, newDiskCollector(disk), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.seed = newSeedMetrics(m.registry)
	m.readers = newReaderMetrics(m.registry)
	return m
}

func counterVec(name, help, label string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
}

// watch adds the metrics that are read from the broker's parts when asked for.
func (m *metrics) watch(b *Broker) {
	m.topicOf = b.store.TopicOfQueue
	m.registry.MustRegister(m.state, newGroupCollector(b.groups, b.leaderships.serving),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "broker_memory_short_total", Help: "How often clients began to be read in a trickle because memory was short: see limits.memory.",
		}, func() float64 { return float64(b.memory.closings.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "broker_memory_short", Help: "1 while clients are read in a trickle because memory is short: see limits.memory. Alert when it is 1 for a minute.",
		}, func() float64 {
			if b.memory.closed() {
				return 1
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "broker_held_pulls", Help: "Pulls that wait for messages now.",
		}, func() float64 { return float64(b.hold.held.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "broker_index_lag_entries", Help: "Committed entries that are not applied yet.",
			ConstLabels: prometheus.Labels{"index": "queue"},
		}, func() float64 { return float64(b.applyLag()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "broker_ready", Help: "1 when /readyz says yes.",
		}, func() float64 {
			if b.ready().OK {
				return 1
			}
			return 0
		}),
	)
}

// topic returns the label for a topic: its name, or otherTopics when too many
// others have one.
func (m *metrics) topic(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.topics[name] {
		return name
	}
	if len(m.mu.topics) >= maxTopicSeries {
		return otherTopics
	}
	m.mu.topics[name] = true
	return name
}

// stored counts a batch that was acknowledged.
func (m *metrics) stored(h batch.Header, duplicate bool) {
	if duplicate {
		return
	}
	name, _, ok := m.topicOf(state.QueueID(h.Queue))
	if !ok {
		return // deleted since
	}
	label := m.topic(name)
	m.received.WithLabelValues(label).Add(float64(h.Count))
	m.receivedBytes.WithLabelValues(label).Add(float64(h.Length))
}

// refused counts a batch, or a whole request, that was not acknowledged.
func (m *metrics) refused(code Code) { m.sendErrors.WithLabelValues(string(code)).Inc() }

// delivered counts what a pull found.
func (m *metrics) delivered(q queue, got pulled) {
	label := m.topic(q.topic)
	m.deliveries.WithLabelValues(label).Add(float64(got.records))
	m.deliveryBytes.WithLabelValues(label).Add(float64(got.size))
	if q.group != "" && got.records > 0 {
		m.readers.delivered(q.group, got, time.Now())
	}
}

// heldBack counts messages that a filter did not want.
func (m *metrics) heldBack(topic string, messages int) {
	m.filtered.WithLabelValues(m.topic(topic)).Add(float64(messages))
}

func (m *metrics) certificate(usage string, expiry time.Time) {
	m.certExpiry.WithLabelValues(usage).Set(float64(expiry.Unix()))
}
