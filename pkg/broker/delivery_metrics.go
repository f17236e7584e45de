package broker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgermq/ledgermq/pkg/state"
)

// deliveryMetrics are about messages that wait.
type deliveryMetrics struct {
	delivered, carried, lost prometheus.Counter
}

func newDeliveryMetrics(registry *prometheus.Registry, store *state.Store) *deliveryMetrics {
	m := &deliveryMetrics{
		delivered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "broker_delayed_delivered_total", Help: "Messages that had waited for their delivery time and got their place in a queue, counted as that is applied.",
		}),
		carried: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "broker_delayed_carried_total", Help: "Batches that wait and were copied to the end of the ledger so that their segment could go, counted on the leader.",
		}),
	}
	m.lost = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "broker_waiting_lost_total", Help: "Batches that waited for their delivery time, or the end of their transaction, and were given up because no disk has them any more, counted as that is applied. Alert when it grows.",
	})
	registry.MustRegister(m.delivered, m.carried, m.lost,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "broker_delayed_waiting", Help: "Batches that wait for their delivery time.",
		}, func() float64 { return float64(store.Waiting().Delayed) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "broker_delayed_due_lag_seconds", Help: "How long the earliest delivery time has passed without a delivery; 0: nothing is due. Alert when it is above 1 for a minute.",
		}, func() float64 {
			due := store.Waiting().NextDue
			if due == 0 {
				return 0
			}
			return max(0, time.Since(time.UnixMilli(due)).Seconds())
		}))
	return m
}
