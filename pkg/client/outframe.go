package client

import "time"

// outFrame is a frame that is being put together.
type outFrame struct {
	batches  []*outBatch
	size     int
	most     int           // a second batch does not make it larger than that
	wait     time.Duration // how long the first batch lingers that is left out
	settling bool          // only what is in doubt is
	left     int           // the first queue that got nothing because there was no room; -1: none
	full     bool          // there is no room in the window
}

// gather takes the batches of the next frame as far as the window reaches, of each queue those
// first that an earlier stream left behind. One that makes a frame larger than it should be is
// alone in it, for the brokers may refuse it. If there are none, wait says how long the first lingers.
func (s *session) gather(now time.Time) (batches []*outBatch, wait time.Duration, err error) {
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed != nil && p.mu.buffered == 0 {
		return nil, 0, errDrained
	}
	settling := p.settlingLocked()
	if settling && !p.doubtLocked() {
		return nil, 0, errRenumber
	}
	if len(s.frames) >= p.cfg.MaxInFlightBatches {
		return nil, forever, nil
	}
	s.forgetLocked(now)
	f := outFrame{most: min(p.mu.frameBytes, p.mu.window.piece), wait: forever, settling: settling, left: -1}
	first := s.turn
	for i := 0; i < len(p.queues) && !f.full; i++ {
		if err := s.addLocked(&f, (first+i)%len(p.queues), now); err != nil {
			return nil, 0, err
		}
	}
	switch {
	case f.left >= 0:
		s.turn = f.left
	case len(f.batches) > 0:
		s.turn = (first + 1) % len(p.queues)
	}
	return f.batches, f.wait, nil
}

// addLocked adds what it can of a queue to the frame. Once the window has no room for a batch,
// nobody else takes what is left of it, or a large batch would never go.
func (s *session) addLocked(f *outFrame, at int, now time.Time) error {
	p, q, had := s.p, s.p.queues[at], len(f.batches)
	for {
		if f.settling && q.sent >= q.doubts() {
			return nil
		}
		if condemned, now := s.condemnLocked(q); now {
			return errRenumber
		} else if condemned {
			return nil
		}
		b, lingers := s.nextLocked(q, now)
		if b == nil {
			f.wait = min(f.wait, lingers)
			return nil
		}
		second := f.size > 0 && (f.size+b.size() > f.most || p.mu.apart > 0)
		if f.full = !second && !s.roomLocked(f, b); second || f.full {
			if f.left < 0 && len(f.batches) == had {
				f.left = at
			}
			return nil
		}
		if b = p.takeLocked(q); b.who.id == 0 || b.who != q.who {
			return errRenumber
		}
		f.batches = append(f.batches, b)
		f.size += b.load
	}
}

// eagerFrames is how many frames are under way before a batch that is not full waits for the
// answer to one of them, and grows meanwhile. A lonely message is sent at once; what comes
// faster than answers do shares frames, writes and syncs, which makes all of them faster.
const eagerFrames = 2

// eagerLocked says whether a batch is sent that is not full. It is, too, when all is answered that was
// under way when it was begun: else one queue with full batches could keep it waiting for ever.
func (s *session) eagerLocked(b *outBatch) bool {
	return len(s.frames) < eagerFrames || s.frames[0].nth > b.after
}

// nextLocked is the next batch of q, nil if there is none to be sent now: then it is how long
// one lingers.
func (s *session) nextLocked(q *outQueue, now time.Time) (*outBatch, time.Duration) {
	p := s.p
	if q.sent < len(q.flight) {
		return q.flight[q.sent], 0
	}
	if len(q.flight) >= p.cfg.MaxInFlightBatches || p.mu.inFlight >= p.cfg.MaxInFlightBytes {
		return nil, forever
	}
	switch next := q.unsent(); {
	case next != nil && p.mu.before > 0 && next.layout == p.mu.layout:
		return nil, forever // what was published before the topic grew is stored first
	case len(q.full) > 0:
		return next, 0
	case next == nil || !s.eagerLocked(next):
		return nil, forever // an answer wakes
	default:
		left := p.cfg.Linger - now.Sub(next.created)
		if left > 0 && p.mu.flushing == 0 && p.mu.closed == nil {
			return nil, left
		}
		return next, 0
	}
}

// takeLocked puts the next batch of q under way.
func (p *Producer) takeLocked(q *outQueue) *outBatch {
	if q.sent < len(q.flight) {
		q.sent++
		return q.flight[q.sent-1]
	}
	b := q.unsent()
	if b == q.open {
		q.open = nil
		p.moveOnLocked(q)
	}
	q.full = without(q.full, b)
	b.load = b.builder.Size()
	p.mu.inFlight += b.load
	q.number(b)
	q.flight = append(q.flight, b)
	q.sent++
	return b
}
