package client

import "time"

// outFrame is a frame that is being put together.
type outFrame struct {
	batches  []*outBatch
	size     int
	most     int           // from this size on it takes no second batch
	wait     time.Duration // how long the first batch lingers that is left out
	settling bool          // only what is in doubt is
}

// gather takes the batches of the next frame: those that an earlier stream left
// behind first, then new ones of all queues, as far as the window reaches. One that makes
// a frame larger than it should be is alone in it, for the brokers may refuse it. If there
// are none, wait says how long the first lingers.
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
	f := outFrame{most: min(p.mu.frameBytes, p.mu.window.piece), wait: forever, settling: settling}
	first := s.turn
	for i := range p.queues {
		at := (first + i) % len(p.queues)
		full, err := s.addLocked(&f, p.queues[at], now)
		if err != nil {
			return nil, 0, err
		}
		if full { // it is this queue's turn until there is room for its batch
			s.turn = at
			return f.batches, f.wait, nil
		}
	}
	if len(f.batches) > 0 {
		s.turn = (first + 1) % len(p.queues)
	}
	return f.batches, f.wait, nil
}

// addLocked adds what it can of q to the frame; full says that the window has no room for
// the next batch: nobody else takes what is left of it, or a large batch would never go.
func (s *session) addLocked(f *outFrame, q *outQueue, now time.Time) (full bool, err error) {
	p := s.p
	for {
		if f.settling && q.sent >= q.doubts() {
			return false, nil
		}
		if condemned, now := s.condemnLocked(q); now {
			return false, errRenumber
		} else if condemned {
			return false, nil
		}
		b, lingers := s.nextLocked(q, now)
		if b == nil {
			f.wait = min(f.wait, lingers)
			return false, nil
		}
		if f.size > 0 && (f.size+b.size() > f.most || p.mu.apart > 0) {
			return false, nil
		}
		if !s.roomLocked(f, b) {
			return true, nil // an answer wakes
		}
		if b = p.takeLocked(q); b.who.id == 0 || b.who != q.who {
			return false, errRenumber
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
