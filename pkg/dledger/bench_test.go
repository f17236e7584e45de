package dledger

import (
	"fmt"
	"sync"
	"testing"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// BenchmarkReplicate keeps 256 proposals under way in a group of three on one
// machine: quorum fdatasync, no client in between.
func BenchmarkReplicate(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			c := benchCluster(b)
			l := c.leader()
			one := body(string(make([]byte, size-4)))
			slots := make(chan struct{}, 256)
			var wait sync.WaitGroup
			b.SetBytes(int64(size))
			for b.Loop() {
				slots <- struct{}{}
				wait.Add(1)
				p := &Proposal{Bodies: []commitlog.Body{one}, Done: func(r ProposalResult) {
					if r.Err != nil {
						b.Error(r.Err)
					}
					<-slots
					wait.Done()
				}}
				if err := l.Propose(p); err != nil {
					b.Fatal(err)
				}
			}
			wait.Wait()
		})
	}
}
