package commitlog

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Values of the label kind of broker_commitlog_corruptions_total.
const (
	corruptTornTail = "torn_tail" // expected after a crash: bytes that were never durable
	corruptRecovery = "recovery"  // Open refused the log
	corruptRead     = "read"      // a read met bytes that are not what was written
)

// Values of the label result of broker_commitlog_read_errors_total.
const (
	readHealed     = "healed"     // the second attempt went well
	readUnreadable = "unreadable" // it did not: a block is damaged
)

// metrics of one log. All names are in docs/metrics.md.
type metrics struct {
	fsync       prometheus.Histogram
	write       prometheus.Histogram
	entries     prometheus.Histogram
	size        prometheus.Gauge
	segments    prometheus.Gauge
	corruptions *prometheus.CounterVec
	padding     prometheus.Counter
	written     prometheus.Counter
	zeroed      prometheus.Counter
	faulty      prometheus.Gauge
	repaired    prometheus.Counter
	scrubbed    prometheus.Counter
	read        [readerKinds]prometheus.Counter
	yielded     prometheus.Counter
	readErrors  *prometheus.CounterVec
}

// latencyBuckets are 0.1 ms to 4 s.
var latencyBuckets = []float64{
	0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.003, 0.005,
	0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 4,
}

func newMetrics(r prometheus.Registerer) *metrics {
	return &metrics{
		fsync: register(r, histogram("broker_commitlog_fsync_seconds",
			"Time of one fdatasync of the commit log.", latencyBuckets)),
		write: register(r, histogram("broker_commitlog_append_seconds",
			"Time to write one group of entries, without the fdatasync.", latencyBuckets)),
		entries: register(r, histogram("broker_commitlog_group_commit_entries",
			"Entries written and synced together.", prometheus.ExponentialBuckets(1, 2, 15))),
		size: register(r, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "broker_commitlog_size_bytes",
			Help: "Bytes of all segments that are in use, headers and padding included.",
		})),
		segments: register(r, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "broker_commitlog_segments", Help: "Segment files of the commit log.",
		})),
		corruptions: register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "broker_commitlog_corruptions_total",
			Help: "Damage found: torn_tail (normal after a crash), recovery, read.",
		}, []string{"kind"})),
		readErrors: register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "broker_commitlog_read_errors_total",
			Help: "Blocks of sealed segments that the disk could not read: healed at the second attempt, or unreadable.",
		}, []string{"result"})),
		padding: register(r, counter("broker_commitlog_padding_bytes_total",
			"Bytes written only to fill groups up to whole blocks.")),
		zeroed: register(r, counter("broker_commitlog_zeroed_bytes_total",
			"Zeros written ahead of the log, so that its own writes are faster.")),
		written: register(r, counter("broker_commitlog_written_bytes_total",
			"Bytes written to segments, frames and padding included.")),
		faulty: register(r, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "broker_commitlog_faulty_entries",
			Help: "Entries of which this disk holds no good copy. Must be 0.",
		})),
		repaired: register(r, counter("broker_commitlog_repaired_entries_total",
			"Damaged entries that were replaced by a peer's copy.")),
		scrubbed: register(r, counter("broker_commitlog_scrubbed_bytes_total",
			"Bytes of sealed segments that the scrub has read and verified.")),
		read: readCounters(r),
		yielded: register(r, counter("broker_commitlog_read_yield_seconds_total",
			"Time for which such reads have waited for the log's own writes.")),
	}
}

// readCounters counts for each kind of readers.
func readCounters(r prometheus.Registerer) (all [readerKinds]prometheus.Counter) {
	vec := register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "broker_commitlog_read_bytes_total",
		Help: "Bytes read from segments: for clients that are behind, or for the group, which is peers and the state.",
	}, []string{"for"}))
	for who := range readerKinds {
		all[who] = vec.WithLabelValues(who.String())
	}
	return all
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

// register adds c to the registry. A log that is opened again in one process
// goes on with the collectors of the one before.
func register[C prometheus.Collector](r prometheus.Registerer, c C) C {
	if r == nil {
		return c
	}
	err := r.Register(c)
	if already := (prometheus.AlreadyRegisteredError{}); errors.As(err, &already) {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing
		}
	}
	assert(err == nil, "metric: %v", err)
	return c
}

// wroteFrame counts the bytes of a frame of entries.
func (m *metrics) wroteFrame(h groupHeader) {
	m.padding.Add(float64(h.frameBytes() - groupHeaderBytes - int64(h.payloadBytes)))
	m.written.Add(float64(h.frameBytes()))
	m.size.Add(float64(h.frameBytes()))
}

// measure sets the sizes anew after segments came or went.
func (m *metrics) measure(segments []*segment) {
	var size int64
	for _, s := range segments {
		size += s.w.pos
	}
	m.size.Set(float64(size))
	m.segments.Set(float64(len(segments)))
}
