package main

import (
	"strings"
	"testing"
	"time"

	"github.com/ledgermq/ledgermq/test/bench/figures"
)

func TestTableComparesWithOurs(t *testing.T) {
	var all []Result
	for peer, rates := range map[string][]float64{"ledgermq": {300_000, 400_000, 350_000}, "nats": {70_000}} {
		for _, rate := range rates {
			all = append(all, Result{Time: time.Now(), Peer: peer, Version: "v", Workload: "throughput", Params: "1 KiB", Metrics: map[string]float64{figures.MsgsPerS: rate}})
		}
	}
	all = append(all, Result{Peer: "etcd", Workload: "throughput", Params: "1 KiB", Err: "acks missing"})
	var text strings.Builder
	writeTables(all, &text)
	for _, want := range []string{
		"| ledgermq | 3 | 350,000 [300,000–400,000] |  |", "| nats | 1 | 70,000 | 5 × |", "| etcd | 0 (1 failed: acks missing) |",
		"| publish 1 KiB, msg/s | – | 350,000 | 70,000 (5 ×) |", "| drain 1 KiB, msg/s | – | – | – |",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}

func TestWindowGivesBackWhatCameIn(t *testing.T) {
	w := &window{filled: make(chan struct{}, 1)}
	w.put([]byte{1})
	w.put([]byte{2})
	got, ok := w.take(nil, nil)
	if !ok || len(got) != 2 {
		t.Fatal(got, ok)
	}
	if _, ok := w.take(got, time.After(time.Millisecond)); ok {
		t.Fatal("nothing is there")
	}
	w.put([]byte{3})
	if err := awaitAll(w, 1); err != nil {
		t.Fatal(err)
	}
}

func TestResultsAreReadAsTheyWereWritten(t *testing.T) {
	all, err := parseResults(strings.NewReader(`{"peer":"nats","workload":"drain","rep":2,"metrics":{"msgs_per_s":5}}` + "\n"))
	if err != nil || len(all) != 1 || all[0].Rep != 2 || all[0].Metrics[figures.MsgsPerS] != 5 {
		t.Fatal(all, err)
	}
	if _, err := parseResults(strings.NewReader("{\n")); err == nil {
		t.Fatal("half a line is no result")
	}
}
