package history

import (
	"fmt"
	"testing"
)

// long is a valid history of n sends of four producers to one queue, a consumer and
// two copies.
func long(n int) []Operation {
	none := Operation{Topic: "t", Outcome: OK, Sequence: Unknown, Offset: Unknown, Index: Unknown, Term: Unknown}
	var ops []Operation
	var all []Message
	for i := range n {
		s := none
		s.Op, s.Client, s.Value = Send, fmt.Sprintf("p%d", i%4), fmt.Sprintf("v%d", i)
		s.Invoke, s.Complete, s.Offset = int64(10*i), int64(10*i+15), int64(i)
		ops, all = append(ops, s), append(all, Message{Offset: int64(i), Value: s.Value})
	}
	end := int64(10*n + 100)
	for at := 0; at < n; at += 100 {
		p := none
		p.Op, p.Client, p.Offset, p.Messages = Pull, "c", int64(at), all[at:min(at+100, n)]
		p.Invoke, p.Complete = end+int64(at), end+int64(at)
		ops = append(ops, p)
		for _, m := range []string{"m1", "m2"} {
			d := p
			d.Op, d.Client, d.Member, d.End, d.Offset = Drain, "drain", m, int64(n), Unknown
			ops = append(ops, d)
		}
	}
	return ops
}

func BenchmarkChecker(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		ops := long(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if r := judge(b, Options{}, ops); !r.Clean() {
					b.Fatal(r)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/send")
		})
	}
}
