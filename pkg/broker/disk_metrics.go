package broker

import "github.com/prometheus/client_golang/prometheus"

// diskCollector reports what the disk guard knows.
type diskCollector struct {
	guard                *diskGuard
	free, ratio, blocked *prometheus.Desc
	reserves             *prometheus.Desc
}

// The reasons for which writes are blocked.
const (
	blockedByMark  = "disk_watermark"
	blockedByNoSeg = "log_space"
)

func newDiskCollector(guard *diskGuard) *diskCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &diskCollector{
		guard:    guard,
		free:     desc("broker_disk_free_bytes", "Bytes free for this process on the file system of the data directory."),
		ratio:    desc("broker_disk_free_ratio", "Share of that file system that is free, 0 to 1; what is kept for root does not count."),
		blocked:  desc("broker_write_blocked", "1 while this member refuses publishes, by reason (disk_watermark: at storage.disk_read_only_at, log_space: no space for the next segment).", "reason"),
		reserves: desc("broker_disk_reserve_released_total", "How often the reserve was given up because nothing else was left on the disk."),
	}
}

// Describe implements prometheus.Collector.
func (d *diskCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{d.free, d.ratio, d.blocked, d.reserves} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (d *diskCollector) Collect(ch chan<- prometheus.Metric) {
	now := d.guard.state.Load()
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	gauge(d.blocked, oneIf(now.level == diskReadOnly), blockedByMark)
	gauge(d.blocked, oneIf(now.noSpace != nil), blockedByNoSeg)
	ch <- prometheus.MustNewConstMetric(d.reserves, prometheus.CounterValue, float64(d.guard.gaveBack.Load()))
	if !now.known || now.fs.Total == 0 {
		return // a gap in the graph says that nothing is known
	}
	gauge(d.free, float64(now.fs.Free))
	gauge(d.ratio, float64(now.fs.Free)/float64(now.fs.Total))
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
