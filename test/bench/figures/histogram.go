package figures

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histogram counts latencies from a microsecond to ten minutes, three digits of them.
// It does not correct for coordinated omission: whoever records counts from when a
// message was due, not from when it could be sent.
type Histogram struct{ h *hdrhistogram.Histogram }

// NewHistogram is an empty one.
func NewHistogram() *Histogram {
	return &Histogram{hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 3)}
}

// Record counts one latency; what is out of range counts as the nearest that is not.
func (h *Histogram) Record(d time.Duration) {
	_ = h.h.RecordValue(min(max(d.Microseconds(), 1), h.h.HighestTrackableValue()))
}

// Merge adds what another one has counted.
func (h *Histogram) Merge(other *Histogram) { h.h.Merge(other.h) }

// Count is how many latencies were recorded.
func (h *Histogram) Count() int64 { return h.h.TotalCount() }

// AtMS is the latency in milliseconds that a percentage of all did not exceed.
func (h *Histogram) AtMS(percent float64) float64 {
	if percent >= 100 {
		return float64(h.h.Max()) / 1000
	}
	return float64(h.h.ValueAtQuantile(percent)) / 1000
}
