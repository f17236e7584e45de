package client

import (
	"fmt"
	"strings"
)

// limitOf reads, from the text with which gRPC refuses a message, how large one may be; 0:
// it does not say.
func limitOf(text string) (limit int) {
	const says = "received message larger than max "
	if at := strings.Index(text, says); at >= 0 {
		var size int
		if n, _ := fmt.Sscanf(text[at+len(says):], "(%d vs. %d)", &size, &limit); n == 2 {
			return limit
		}
	}
	return 0
}

// oversizeLocked uses that the broker's gRPC refused a frame as too large. It does so when
// it has read the frame's length, and the broker can answer nothing more then, not even
// what it has stored of the frames before. They stay in doubt; the first one above the
// limit, and all behind it, the broker has not seen.
func (s *session) oversizeLocked() {
	for i, f := range s.frames {
		if f.size <= s.ending.limit {
			continue
		}
		s.unseenLocked(s.frames[i:])
		s.apartLocked(f.batches)
		return
	}
}

// unseenLocked notes of frames that the broker has stored nothing of them.
func (s *session) unseenLocked(frames []sentFrame) {
	for _, f := range frames {
		for _, b := range f.batches {
			b.waiting = false
		}
	}
}

// apartLocked condemns the batch of a frame that was too large. If there are several, all that
// are under way are sent one by one, to see which it is, and later frames are smaller.
func (s *session) apartLocked(batches []*outBatch) {
	if len(batches) > 1 {
		size := 0
		for _, b := range batches {
			size += b.load
		}
		s.p.mu.frameBytes = max(1, size/2)
		s.p.mu.apart = 0
		for _, q := range s.p.queues {
			s.p.mu.apart += len(q.flight)
		}
		return
	}
	batches[0].condemned = s.ending
	s.verdicts = append(s.verdicts, verdict{b: batches[0], err: s.ending})
}

// condemnLocked tells whether the next batch of q under way is condemned, and so is not sent
// again: it would only cut off the answers to what is before it. Once it is known what became
// of that, the session ends with the verdict.
func (s *session) condemnLocked(q *outQueue) (condemned, now bool) {
	if q.sent >= len(q.flight) || q.flight[q.sent].condemned == nil {
		return false, false
	}
	b := q.flight[q.sent]
	if q.doubtBefore(b) {
		return true, false
	}
	s.verdicts = append(s.verdicts, verdict{b: b, err: b.condemned})
	return true, true
}
