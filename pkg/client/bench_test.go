package client

import (
	"testing"
	"time"
)

// BenchmarkPublish measures the client's own cost per message; the cluster is in
// this process and checks every batch.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"128B", 128}, {"1KiB", 1024}} {
		b.Run(size.name, func(b *testing.B) {
			c := newCluster(b, 1)
			c.topic("t", 1)
			p, err := c.client().Producer(b.Context(), ProducerConfig{Topic: "t"})
			if err != nil {
				b.Fatal(err)
			}
			value := make([]byte, size.bytes)
			b.SetBytes(int64(size.bytes))
			b.ReportAllocs()
			var last *Result
			for b.Loop() {
				last = p.Publish(b.Context(), Message{Value: value})
			}
			if _, err := last.Get(within(b, time.Minute)); err != nil {
				b.Fatal(err)
			}
		})
	}
}
