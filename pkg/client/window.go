package client

import (
	"math"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// firstWindow is what is sent on a stream before the leader has answered anything: it may
// have to share what it takes among many.
const firstWindow = 256 << 10

// smallPiece is where batches and frames are closed for whom the window is less than a frame:
// smaller ones cost more than they spare. A little less than half a mebibyte for the reason
// that DefaultBatchBytes has.
const smallPiece = 1<<19 - 2<<10

// window is how much may be sent and not answered. It is guarded by Producer.mu.
type window struct {
	bytes int // but a batch alone always goes
	piece int // where a batch is closed, and a frame, for the window's sake
}

// unadvised is the window of a stream on which nothing has been answered yet.
var unadvised = window{bytes: firstWindow, piece: math.MaxInt}

// advised is the window of which the leader tells in an answer. Leaders of earlier versions
// give no advice.
func advised(resp *brokerv1.PublishStreamResponse) window {
	w := window{bytes: int(resp.GetWindowBytes()), piece: math.MaxInt}
	switch {
	case w.bytes == 0:
		w.bytes = math.MaxInt
	case w.bytes < maxFrameBytes:
		w.piece = smallPiece
	}
	return w
}
