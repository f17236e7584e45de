package broker

import (
	"fmt"
	"sync/atomic"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	protobuf "google.golang.org/protobuf/proto"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// heldFrame is a frame of the ledger of which batches are on their way to a consumer.
type heldFrame struct {
	frame commitlog.Frame
	holds atomic.Int32 // of pulled batches, and of gRPC
}

// letGo gives up one hold; the last one releases the frame.
func (h *heldFrame) letGo() {
	if h.holds.Add(-1) == 0 {
		h.frame.Release()
	}
}

// Put implements mem.BufferPool: gRPC gives back what it was lent, some time after
// Send has returned.
func (h *heldFrame) Put(*[]byte) { h.letGo() }

// Get completes mem.BufferPool; nothing asks for it.
func (*heldFrame) Get(n int) *[]byte {
	b := make([]byte, n)
	return &b
}

// pulledBatch is a batch where it lies.
type pulledBatch struct {
	bytes []byte
	held  *heldFrame
}

// release gives up the batches. What has been lent to gRPC stays until that is done.
func (got *pulled) release() {
	for _, b := range got.batches {
		b.held.letGo()
	}
	got.batches = nil
}

// join puts the batches one behind the other, in memory of their own.
func (got *pulled) join() []byte {
	joined := make([]byte, 0, got.size)
	for _, b := range got.batches {
		joined = append(joined, b.bytes...)
	}
	got.release()
	return joined
}

// pullAnswer is a PullStreamResponse whose batches are sent from where they lie.
type pullAnswer struct {
	head *brokerv1.PullStreamResponse // without batches
	got  *pulled
}

// marshal puts an answer together. Small batches are copied: gRPC tells of none below
// a threshold when it has been sent, and each would take longer than its copy.
func (a *pullAnswer) marshal() (mem.BufferSlice, error) {
	small := make([]byte, 0, a.smallBytes()+protobuf.Size(a.head)+16)
	small, err := protobuf.MarshalOptions{}.MarshalAppend(small, a.head)
	if err != nil {
		return nil, fmt.Errorf("pull answer: %w", err)
	}
	if a.got.size > 0 {
		small = protowire.AppendTag(small, batchesField, protowire.BytesType)
		small = protowire.AppendVarint(small, uint64(a.got.size))
	}
	out := make(mem.BufferSlice, 0, 2*len(a.got.batches)+1)
	sent := 0 // of small
	for _, b := range a.got.batches {
		if mem.IsBelowBufferPoolingThreshold(cap(b.bytes)) {
			small = append(small, b.bytes...)
			continue
		}
		if sent < len(small) {
			out = append(out, mem.SliceBuffer(small[sent:len(small):len(small)]))
			sent = len(small)
		}
		b.held.holds.Add(1)
		out = append(out, mem.NewBuffer(&b.bytes, b.held))
	}
	if sent < len(small) {
		out = append(out, mem.SliceBuffer(small[sent:]))
	}
	return out, nil
}

func (a *pullAnswer) smallBytes() (n int) {
	for _, b := range a.got.batches {
		if mem.IsBelowBufferPoolingThreshold(cap(b.bytes)) {
			n += len(b.bytes)
		}
	}
	return n
}
