package chaos

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ledgermq/ledgermq/pkg/history"
)

// TestPageCacheLoses is the proof that this harness can see a loss: brokers that
// acknowledge what stands in memory only, and a power cut of all three.
func TestPageCacheLoses(t *testing.T) {
	if testing.Short() || *onlyFlag != "" {
		t.Skip("SKIPPED in short mode and with -chaos.only: it proves something about the harness, not about the brokers")
	}
	dir := filepath.Join(os.Getenv(dirEnv), "page-cache")
	must(t, os.Mkdir(dir, 0o700))
	m := probe(dir, errNamespaces == nil, errNamespaces)
	if !m.has(powerLoss) {
		t.Skipf("SKIPPED: this machine lacks power loss: %v", m.lacks[powerLoss])
	}
	r := newRun(t, m, dir, "", 1, round{buffered: true, more: "durability: {ack: page-cache}\n"})
	r.storm(newNemesis(t.Context(), t, m, r, pace{}, nil, nil), func(n *nemesis) {
		for range 6 { // a cut may come just after the background sync, and once in thirty runs three did
			began := time.Duration(r.record.now())
			n.idle(2 * time.Second)
			r.awaitTraffic(max(began, time.Duration(r.record.now())-100*time.Millisecond)) // else nothing is on its way
			power(n, n.hosts)()
		}
	})
	r.drainAll()
	report, err := r.record.close(history.Options{})
	must(t, err)
	t.Logf("%d acknowledged, %d lost, anomalies %v", report.Acked, report.Lost(), report.Anomalies)
	if report.Lost() == 0 {
		t.Error("all power was cut, nothing had been synced, and nothing is reported lost")
	}
}
