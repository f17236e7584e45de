package broker

import "github.com/prometheus/client_golang/prometheus"

// retentionMetrics are those of retention.
type retentionMetrics struct {
	oldest, paused                      prometheus.Gauge
	segments, bytes, clockJumps, failed prometheus.Counter
}

func newRetentionMetrics(r prometheus.Registerer) *retentionMetrics {
	m := &retentionMetrics{
		oldest: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "broker_retention_oldest_timestamp_seconds", Help: "When the oldest entry of this member's ledger was appended, as Unix time; 0: not known.",
		}),
		paused: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "broker_retention_paused", Help: "1 while nothing is purged by age because the wall clock has jumped ahead.",
		}),
		segments: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "broker_retention_purged_segments_total", Help: "Segments of the ledger that retention deleted.",
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "broker_retention_purged_bytes_total", Help: "Bytes of those segments' files.",
		}),
		clockJumps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "broker_retention_clock_jumps_total", Help: "How often the wall clock jumped ahead by more than an hour.",
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "broker_retention_failures_total", Help: "Looks at the ledger that failed, so that nothing could be purged.",
		}),
	}
	r.MustRegister(m.oldest, m.paused, m.segments, m.bytes, m.clockJumps, m.failed)
	return m
}
