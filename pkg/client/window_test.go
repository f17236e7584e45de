package client

import (
	"slices"
	"testing"
	"time"

	"github.com/ledgermq/ledgermq/pkg/batch"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// answerFirst has the leader store all of the oldest frame, with advice about the window.
func answerFirst(t *testing.T, s *session, advice uint32) {
	t.Helper()
	f := s.frames[0]
	resp := &brokerv1.PublishStreamResponse{Frame: f.number, WindowBytes: advice}
	for range f.batches {
		resp.Results = append(resp.Results, &brokerv1.BatchResult{})
	}
	if err := s.answer(resp, time.Now()); err != nil {
		t.Fatal(err)
	}
}

// batchOf makes a batch of one message of about so many bytes that no queue holds yet.
func batchOf(t *testing.T, p *Producer, q *outQueue, bytes int) *outBatch {
	t.Helper()
	b, err := p.newBatchLocked(q, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.builder.Append(&batch.Record{Value: make([]byte, bytes)}); err != nil {
		t.Fatal(err)
	}
	b.add(bytes)
	p.mu.buffered++
	return b
}

// TestWindow: no more is under way than the leader would have, but for a batch that is larger
// than its window, and nothing more than a little before it has said so.
func TestWindow(t *testing.T) {
	p := idleProducer(7)
	q, s := p.queues[0], &session{p: p}
	s.begin()
	for range 6 {
		q.full = append(q.full, batchOf(t, p, q, firstWindow/2))
	}
	sent := func(want int) {
		t.Helper()
		if got := sendAll(t, s); len(got) != want {
			t.Fatalf("%d batches are sent, want %d, with %d bytes under way", len(got), want, s.pendingLocked())
		}
	}
	sent(1) // two are a little more than the window, with their headers
	sent(0)
	answerFirst(t, s, firstWindow*3/2)
	sent(2)
	sent(0)
	answerFirst(t, s, smallPiece/8) // nothing is under way
	sent(1)
	sent(0)
	answerFirst(t, s, 0) // a leader that gives no advice
	sent(2)

	broken := s
	broken.conclude()
	s = &session{p: p}
	s.begin()
	sent(1) // the new leader may have less room: what is sent again waits, too
	sent(0)
	answerFirst(t, s, 0)
	sent(1)
	answerFirst(t, s, 0)
	if sent(0); s.pendingLocked() != 0 || p.mu.buffered != 0 {
		t.Errorf("%d bytes are under way, %d messages are left", s.pendingLocked(), p.mu.buffered)
	}
}

// TestPieces: where the window is narrow, batches and frames are smaller.
func TestPieces(t *testing.T) {
	p := idleProducer(7, 8)
	s := &session{p: p}
	publish := func(queue, messages int) {
		t.Helper()
		for range messages {
			if res := p.Publish(t.Context(), Message{Value: make([]byte, 1<<10), Queue: &queue}); res.batch.err != nil {
				t.Fatal(res.batch.err)
			}
		}
	}
	frame := func(advice uint32, least, most int, queues ...int) {
		t.Helper()
		size := 0
		s.turn = 0
		sent := sendAll(t, s)
		for i, b := range sent {
			if size += b.load; len(sent) != len(queues) || b.queue != queues[i] {
				t.Fatalf("a frame of %d batches, number %d of queue %d, want those of queues %v", len(sent), i, b.queue, queues)
			}
		}
		if size < least || size > most {
			t.Errorf("a frame of %d bytes, want %d to %d", size, least, most)
		}
		answerFirst(t, s, advice)
	}
	const message = 1<<10 + 100
	publish(0, 1)
	frame(smallPiece, 1<<10, message, 0) // and the window is less than a frame from now on
	publish(0, 1200)
	publish(1, 100)
	frame(smallPiece, smallPiece-message, smallPiece, 0)
	frame(smallPiece, smallPiece-message, smallPiece, 0)
	frame(maxFrameBytes, 290<<10, smallPiece, 0, 1)
	publish(1, 1200) // and it is wide
	publish(0, 100)
	frame(maxFrameBytes, 100<<10, 100*message, 0)
	frame(maxFrameBytes, DefaultBatchBytes-message, DefaultBatchBytes, 1)
	frame(maxFrameBytes, 100<<10, maxFrameBytes, 1)
}

// TestWindowIsFair: of queues that always have something to send each has its turn, whatever
// the sizes of their batches: a batch for which there is no room is the next to go.
func TestWindowIsFair(t *testing.T) {
	type queue struct{ bytes, full int } // the size of its batches, and how many there always are
	const kib = 1 << 10
	for _, c := range []struct {
		advice int
		queues []queue
	}{
		{320 * kib, []queue{{500 * kib, 2}, {kib, 2}}},
		{320 * kib, []queue{{300 * kib, 2}, {300 * kib, 2}}},
		{320 * kib, []queue{{200 * kib, 2}, {200 * kib, 1}}},
		{64 * kib, []queue{{60 * kib, 2}, {kib, 1}}},
		{320 * kib, []queue{{20 * kib, 1}, {500 * kib, 1}, {305 * kib, 1}}},
	} {
		p := idleProducer([]uint64{7, 8, 9}[:len(c.queues)]...)
		s := &session{p: p}
		s.begin()
		sent := make([]int, len(c.queues))
		for range 300 {
			for i, q := range p.queues {
				for len(q.full) < c.queues[i].full {
					q.full = append(q.full, batchOf(t, p, q, c.queues[i].bytes))
				}
			}
			p.mu.window = window{bytes: c.advice, piece: smallPiece}
			got := sendAll(t, s)
			for _, b := range got {
				sent[b.queue]++
			}
			if len(got) == 0 || len(s.frames) > 1 { // else the next one comes before the answer
				answerFirst(t, s, uint32(c.advice))
			}
		}
		if slices.Min(sent) < 40 {
			t.Errorf("a window of %d, queues with batches of %v: %v of them were sent", c.advice, c.queues, sent)
		}
	}
}

// TestOldAdvice: who has been silent for a while begins anew.
func TestOldAdvice(t *testing.T) {
	p := idleProducer(7)
	q, s := p.queues[0], &session{p: p}
	s.begin()
	q.full = append(q.full, batchOf(t, p, q, 1))
	sendAll(t, s)
	answerFirst(t, s, 8<<20)
	if _, _, err := s.gather(s.heard.Add(adviceHolds / 2)); err != nil || p.mu.window.bytes != 8<<20 {
		t.Errorf("the window is %d: %v", p.mu.window.bytes, err)
	}
	if _, _, err := s.gather(s.heard.Add(2 * adviceHolds)); err != nil || p.mu.window != unadvised {
		t.Errorf("the window is %d: %v", p.mu.window.bytes, err)
	}
}

// TestWindowOfCompressed: it is what travels that counts.
func TestWindowOfCompressed(t *testing.T) {
	p := idleProducer(7)
	p.cfg.Compression = batch.Zstd
	q, s := p.queues[0], &session{p: p}
	s.begin()
	for range 4 {
		q.full = append(q.full, batchOf(t, p, q, 300<<10))
	}
	for range 4 {
		if got := len(sendAll(t, s)); got != 1 {
			t.Fatalf("%d batches in a frame, %d bytes are under way", got, s.pendingLocked())
		}
		p.mu.window.piece = smallPiece / 2
	}
}
