package client

import (
	"math"
	"time"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// firstWindow is what is sent on a stream before the leader has answered anything: it may
// have to share what it takes among many.
const firstWindow = 256 << 10

// adviceHolds is how long the leader's advice is good when nothing is under way: others may
// have come meanwhile.
const adviceHolds = time.Second

// smallPiece is above which no batch and no frame grows where the window is less than a
// frame: still smaller ones cost more than they spare. It is a little less than half a mebibyte for
// the reason that DefaultBatchBytes has.
const smallPiece = 1<<19 - 2<<10

// window is how much may be sent and not answered. It is guarded by Producer.mu.
type window struct {
	bytes int // but a batch goes when nothing else is under way, however large
	piece int // where a batch is closed, and a frame, for the window's sake
}

// unadvised is the window of a stream on which nothing has been answered yet.
var unadvised = window{bytes: firstWindow, piece: math.MaxInt}

// begin forgets the advice of an earlier stream: it may be another leader's.
func (s *session) begin() {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.shrunk, s.p.mu.window = 1, unadvised
}

// roomLocked says whether a batch may be sent behind what is under way and in the frame.
func (s *session) roomLocked(f *outFrame, b *outBatch) bool {
	pending := s.pendingLocked()
	return pending+f.size == 0 || pending+int(float64(f.size+b.size())*s.shrunk) <= s.p.mu.window.bytes
}

// pendingLocked is how many bytes are sent and not answered.
func (s *session) pendingLocked() (bytes int) {
	for _, f := range s.frames {
		bytes += f.size
	}
	return bytes
}

// forgetLocked forgets advice that is old.
func (s *session) forgetLocked(now time.Time) {
	if len(s.frames) == 0 && now.Sub(s.heard) > adviceHolds {
		s.p.mu.window = unadvised
	}
}

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
