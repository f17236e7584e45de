package demo

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Every message says who it is: its producer, its queue, and which one of that
// producer's for that queue it is, from 0. So each acknowledged message can be
// looked for, and each consumed one recognised.
const payloadHeader = 16

type messageID struct {
	producer, queue uint32
	sequence        uint64
}

func (id messageID) encode(size int) []byte {
	b := make([]byte, max(size, payloadHeader))
	binary.LittleEndian.PutUint32(b, id.producer)
	binary.LittleEndian.PutUint32(b[4:], id.queue)
	binary.LittleEndian.PutUint64(b[8:], id.sequence)
	return b
}

func decodeID(b []byte) (messageID, error) {
	if len(b) < payloadHeader {
		return messageID{}, fmt.Errorf("message of %d bytes is none of ours", len(b))
	}
	return messageID{
		producer: binary.LittleEndian.Uint32(b),
		queue:    binary.LittleEndian.Uint32(b[4:]),
		sequence: binary.LittleEndian.Uint64(b[8:]),
	}, nil
}

// counts is what became of the messages.
type counts struct {
	Published uint64 `json:"published"`
	Acked     uint64 `json:"acked"`
	// Unacked messages have failed or were still under way at the end: nobody knows
	// whether they are stored.
	Unacked    uint64 `json:"unacked"`
	Consumed   uint64 `json:"consumed"`
	Lost       uint64 `json:"lost"`
	Duplicated uint64 `json:"duplicated"`
	OutOfOrder uint64 `json:"out_of_order"`
	// Phantom messages were consumed and never published.
	Phantom uint64 `json:"phantom"`
}

func (c counts) clean() bool {
	return c.Lost == 0 && c.Duplicated == 0 && c.OutOfOrder == 0 && c.Phantom == 0
}

// lane is what one producer sends to one queue.
type lane struct {
	published       uint64 // sequences given out
	acked, consumed bitset
	next            uint64 // the highest sequence consumed, plus one
}

// tally keeps the books of a run.
type tally struct {
	queues int

	mu struct {
		sync.Mutex
		counts  counts
		lanes   []lane // producer × queue
		latency *hdrhistogram.Histogram
		window  *hdrhistogram.Histogram // since the last report
		kill    kill
	}
}

// kill is the newest killing of a leader, until its successor's first
// acknowledgement is in.
type kill struct {
	at       time.Time
	term     int64
	firstAck time.Time
}

func newTally(producers, queues int) *tally {
	t := &tally{queues: queues}
	t.mu.lanes = make([]lane, producers*queues)
	t.mu.latency = hdrhistogram.New(1, time.Minute.Microseconds(), 3)
	t.mu.window = hdrhistogram.New(1, time.Minute.Microseconds(), 3)
	return t
}

func (t *tally) laneLocked(producer, queue uint32) *lane {
	return &t.mu.lanes[int(producer)*t.queues+int(queue)]
}

// publish gives out the identity of the next message of a producer for a queue.
func (t *tally) publish(producer, queue uint32) messageID {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.laneLocked(producer, queue)
	id := messageID{producer, queue, l.published}
	l.published++
	t.mu.counts.Published++
	return id
}

// acked notes an acknowledgement and how long it took.
func (t *tally) acked(id messageID, term int64, at time.Time, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.laneLocked(id.producer, id.queue).acked.add(id.sequence)
	t.mu.counts.Acked++
	_ = t.mu.latency.RecordValue(took.Microseconds())
	_ = t.mu.window.RecordValue(took.Microseconds())
	if k := &t.mu.kill; !k.at.IsZero() && term > k.term && (k.firstAck.IsZero() || at.Before(k.firstAck)) {
		k.firstAck = at
	}
}

// failed notes a message of which nobody knows whether it is stored.
func (t *tally) failed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.counts.Unacked++
}

// consumed notes a message that came out of a queue.
func (t *tally) consumed(queue uint32, value []byte) {
	id, err := decodeID(value)
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &t.mu.counts
	c.Consumed++
	if err != nil || id.queue != queue || int(queue) >= t.queues || int(id.producer) >= len(t.mu.lanes)/t.queues {
		c.Phantom++
		return
	}
	switch l := t.laneLocked(id.producer, id.queue); {
	case id.sequence >= l.published:
		c.Phantom++
	case l.consumed.has(id.sequence):
		c.Duplicated++
	case id.sequence < l.next:
		c.OutOfOrder++
		l.consumed.add(id.sequence)
	default:
		l.consumed.add(id.sequence)
		l.next = id.sequence + 1
	}
}

// report returns the counts so far and the latencies since the last report.
// Lost is what was acknowledged and passed over by its consumer; when the queues
// have been read to their ends, that is everything not consumed.
func (t *tally) report(drained bool) (counts, *hdrhistogram.Histogram) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.mu.counts
	for i := range t.mu.lanes {
		l := &t.mu.lanes[i]
		end := l.next
		if drained {
			end = l.published
		}
		c.Lost += l.acked.missingIn(&l.consumed, end)
	}
	window := t.mu.window
	t.mu.window = hdrhistogram.New(1, time.Minute.Microseconds(), 3)
	return c, window
}

// latency returns the latencies of the whole run.
func (t *tally) latency() *hdrhistogram.Histogram {
	t.mu.Lock()
	defer t.mu.Unlock()
	return hdrhistogram.Import(t.mu.latency.Export())
}

// killed notes when the leader of a term was killed.
func (t *tally) killed(term int64, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.kill = kill{at: at, term: term}
}

// firstAck is how long after the newest kill the first message was acknowledged
// by a later leader; ok is false while none was.
func (t *tally) firstAck() (time.Duration, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.mu.kill
	return k.firstAck.Sub(k.at), !k.firstAck.IsZero()
}

// bitset is a set of sequences.
type bitset struct{ words []uint64 }

func (b *bitset) add(n uint64) {
	for uint64(len(b.words)) <= n/64 {
		b.words = append(b.words, 0)
	}
	b.words[n/64] |= 1 << (n % 64)
}

func (b *bitset) has(n uint64) bool {
	return n/64 < uint64(len(b.words)) && b.words[n/64]&(1<<(n%64)) != 0
}

// missingIn counts what is in b below end and not in other.
func (b *bitset) missingIn(other *bitset, end uint64) uint64 {
	var n int
	for i, word := range b.words {
		if i < len(other.words) {
			word &^= other.words[i]
		}
		switch first := uint64(i) * 64; {
		case first >= end:
			return uint64(n)
		case end-first < 64:
			word &= 1<<(end-first) - 1
		}
		n += bits.OnesCount64(word)
	}
	return uint64(n)
}
