package figures

import "time"

// The metrics that a table knows; a result may have others, which follow them.
const (
	MsgsPerS = "msgs_per_s"
	MBPerS   = "mb_per_s" // of values, 10^6 bytes
	Messages = "messages"
	Seconds  = "seconds"

	P50MS  = "p50_ms"
	P99MS  = "p99_ms"
	P999MS = "p999_ms"
	MaxMS  = "max_ms"

	LeaderCPU   = "leader_cpu_us_per_msg"
	FollowerCPU = "follower_cpu_us_per_msg" // all followers together
	ClientCPU   = "client_cpu_us_per_msg"

	Written      = "written_bytes_per_msg" // to disk, by all brokers together
	Read         = "read_bytes_per_msg"    // from disk, likewise
	LeaderAllocs = "leader_allocs_per_msg"
	ClientAllocs = "client_allocs_per_msg"
	LeaderRSS    = "leader_peak_rss_mib"
	FollowerRSS  = "follower_peak_rss_mib" // of the largest

	OfBare   = "of_bare"   // the rate, as a share of the bare path's
	OfDisk   = "of_disk"   // bytes written, as a share of synced sequential writes
	OfStream = "of_stream" // bytes of values, as a share of a gRPC stream's
	OfSync   = "of_sync"   // fdatasync's p50 as a share of this p50

	OthersBusy = "others_busy" // which part of the machine other processes took
)

// Result is one workload, measured once.
type Result struct {
	Workload string `json:"workload"`
	// Variant tells runs of a workload apart, such as "100 producers".
	Variant string `json:"variant,omitempty"`
	// Size of a message's value in bytes.
	Size int `json:"size,omitempty"`
	// X is the place on a curve.
	X  float64   `json:"x,omitempty"`
	At time.Time `json:"at"`
	// Failed says why there are no figures.
	Failed  string             `json:"failed,omitempty"`
	Metrics map[string]float64 `json:"metrics"`
}

// NewResult is a result without figures yet.
func NewResult(workload, variant string, size int) *Result {
	return &Result{Workload: workload, Variant: variant, Size: size, At: time.Now().UTC(), Metrics: map[string]float64{}}
}

// Rate notes how many messages were done in how long.
func (r *Result) Rate(messages int64, took time.Duration) {
	seconds := max(took, time.Microsecond).Seconds()
	r.Metrics[Messages], r.Metrics[Seconds] = float64(messages), seconds
	r.Metrics[MsgsPerS] = float64(messages) / seconds
	if r.Size > 0 {
		r.Metrics[MBPerS] = float64(messages) / seconds * float64(r.Size) / 1e6
	}
}

// Latencies notes what a histogram holds.
func (r *Result) Latencies(h *Histogram) {
	r.Metrics[P50MS], r.Metrics[P99MS] = h.AtMS(50), h.AtMS(99)
	r.Metrics[P999MS], r.Metrics[MaxMS] = h.AtMS(99.9), h.AtMS(100)
}
