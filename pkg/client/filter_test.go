package client

import (
	"testing"

	"github.com/ledgermq/ledgermq/pkg/batch"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// TestFilteredAnswers: what a broker with a filter leaves out is no gap, and where it has
// looked is where reading goes on, inside of a batch as well.
func TestFilteredAnswers(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	c.fill("t", 0, 0, 20, 1<<20, batch.None)
	c.mu.Lock()
	stored := c.mu.queues[c.mu.topics["t"][0]].batches[0].data
	c.mu.Unlock()
	cs := &Consumer{cfg: ConsumerConfig{Topic: "t", Filter: SQLFilter("TRUE")}}
	f := &fetcher{cs: cs}
	frame := &pullFrame{batches: stored}
	frame.Infos = []*brokerv1.BatchInfo{{BaseOffset: 20, Matches: []byte{0b0000_0110, 0b10, 0}}}
	frame.NextOffset = 40
	got, after, err := f.check(frame, 5)
	if err != nil || after != 40 || got.after != 40 || len(got.batches) != 1 {
		t.Fatal(got, after, err)
	}
	got.at = 1
	var wanted []int64
	for offset := int64(20); offset < 40; offset++ {
		if got.matches(offset) {
			wanted = append(wanted, offset)
		}
	}
	if len(wanted) != 3 || wanted[0] != 21 || wanted[1] != 22 || wanted[2] != 29 {
		t.Error(wanted)
	}
	frame.NextOffset = 25 // the same batch comes again, for what was not looked at
	if _, after, err = f.check(frame, 5); err != nil || after != 25 {
		t.Fatal(after, err)
	}
	frame.NextOffset = 40
	if got, after, err = f.check(frame, after); err != nil || after != 40 || len(got.batches) != 1 {
		t.Fatal(got, after, err)
	}
	frame.NextOffset = 0
	if _, _, err = f.check(frame, 5); CodeOf(err) != CodeUnimplemented {
		t.Error("a broker that knows no filters:", err)
	}
	cs.cfg.Filter = Filter{}
	if _, _, err = f.check(frame, 5); CodeOf(err) != CodeSkipped {
		t.Error("without a filter nothing may be left out:", err)
	}
}

// TestBrokerWithoutFilters: a broker that does not know them sends everything, and that
// is not what was asked for.
func TestBrokerWithoutFilters(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	c.fill("t", 0, 0, 10, 5, batch.None)
	cs := newConsumer(t, c, ConsumerConfig{Filter: TagFilter("tag")})
	if _, err := cs.Next(within(t, patience)); CodeOf(err) != CodeUnimplemented {
		t.Error(err)
	}
}
