package rolechange

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	changes *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	dropped prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "broker_role_changes_total",
			Help: "Changes of the broker role whose handlers ran, by new role and outcome (done, superseded, failed).",
		}, []string{"role", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "broker_role_change_seconds",
			Help:    "How long the handlers of a change of the broker role took.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}, []string{"role"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "broker_role_changes_late_total",
			Help: "Changes of the broker role that were dropped because a newer term was known.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.changes, m.seconds, m.dropped)
	}
	return m
}
