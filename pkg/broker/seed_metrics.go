package broker

import "github.com/prometheus/client_golang/prometheus"

// seedMetrics are those of giving and taking seeds.
type seedMetrics struct {
	seeds, bytes *prometheus.CounterVec
	missing      prometheus.Gauge
}

func newSeedMetrics(r prometheus.Registerer) *seedMetrics {
	m := &seedMetrics{
		seeds: counterVec("broker_ledger_seeds_total", "Seeds for members that lack purged entries: offered to another member, installed here, failed here (to be tried again), unneeded here after all.", "result"),
		bytes: counterVec("broker_ledger_seed_bytes_total", "Bytes of seeds by direction (sent, received), as they were read.", "direction"),
		missing: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "broker_ledger_seed_missing_bytes", Help: "Bytes of the seed that this member is fetching which are not here yet; 0: none is fetched.",
		}),
	}
	r.MustRegister(m.seeds, m.bytes, m.missing)
	return m
}
