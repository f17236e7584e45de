package broker

import (
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

// diskCollector reports the file system of the data directory when asked.
type diskCollector struct {
	dir         string
	free, ratio *prometheus.Desc
}

func newDiskCollector(dir string) *diskCollector {
	return &diskCollector{
		dir:   dir,
		free:  prometheus.NewDesc("broker_disk_free_bytes", "Bytes free for this process on the file system of the data directory.", nil, nil),
		ratio: prometheus.NewDesc("broker_disk_free_ratio", "Share of that file system that is free, 0 to 1.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (d *diskCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- d.free
	ch <- d.ratio
}

// Collect implements prometheus.Collector.
func (d *diskCollector) Collect(ch chan<- prometheus.Metric) {
	var fs unix.Statfs_t
	if err := unix.Statfs(d.dir, &fs); err != nil || fs.Blocks == 0 {
		return // a gap in the graph says that nothing is known
	}
	ch <- prometheus.MustNewConstMetric(d.free, prometheus.GaugeValue, float64(fs.Bavail)*float64(fs.Bsize))
	ch <- prometheus.MustNewConstMetric(d.ratio, prometheus.GaugeValue, float64(fs.Bavail)/float64(fs.Blocks))
}
