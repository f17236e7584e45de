package broker

import (
	"bytes"
	"testing"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// BenchmarkFilter is what looking into batches costs the leader: batches of 1,000
// messages of some size, with two headers, of which one in a hundred is wanted.
func BenchmarkFilter(b *testing.B) {
	for name, how := range map[string]batch.Compression{"none": batch.None, "s2": batch.S2, "zstd": batch.Zstd} {
		for size, value := range map[string]int{"128B": 128, "1KiB": 1024} {
			for kind, f := range map[string]*brokerv1.Filter{
				"sql": sqlFilter("region = 'EU' AND price > 98"),
				"tag": {Kind: brokerv1.Filter_KIND_TAG, Expression: "XX || EU"},
			} {
				b.Run(name+"/"+size+"/"+kind, func(b *testing.B) { benchmarkFilter(b, how, value, f) })
			}
		}
	}
}

func benchmarkFilter(b *testing.B, how batch.Compression, value int, f *brokerv1.Filter) {
	builder, err := batch.NewBuilder(batch.BuilderConfig{MaxBytes: 4 << 20, RecordBytes: batch.MaxBatchBytes, Compression: how})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		r := priced([]string{"EU", "US"}[i%2], i%100)
		if i%100 != 98 {
			r.Tag = "YY"
		}
		r.Value = bytes.Repeat([]byte{byte(i), 'v', 'w', 'x'}, value/4)
		if err := builder.Append(&r); err != nil {
			b.Fatal(err)
		}
	}
	data, err := builder.Build(batch.Stamp{Queue: 1})
	if err != nil {
		b.Fatal(err)
	}
	sieve, err := newFiltering(mebibyte, nil).open(f)
	if err != nil {
		b.Fatal(err)
	}
	reader, info := batch.NewReader(sieve.shared.codec), &brokerv1.BatchInfo{}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		sieve.work = 0
		if found := sieve.look(reader, info, data, 0); found.next != state.NoOffset {
			b.Fatal(found)
		}
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}
