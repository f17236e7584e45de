package state

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

// TouchEvery is how coarsely the state knows when a producer was used last, so that
// noting it costs nothing: the true time is less than so much later than the known one.
const TouchEvery = time.Hour

// MaxWindows bounds the windows of all producers and queues.
const MaxWindows = 4 << 20

// producer is an identity that was registered.
type producer struct {
	epoch  uint32
	name   string    // empty: cannot be registered again
	used   int64     // Unix ms, by leaders' clocks; 0: not since that is noted
	queues []QueueID // those in which it has a window
}

// producerVersionUsed is that of producers of whom it is known when they were used.
const producerVersionUsed = 2

func (p *producer) append(b []byte) []byte {
	version := byte(valueVersion)
	if p.used != 0 {
		version = producerVersionUsed
	}
	b = binary.AppendUvarint(append(b, version), uint64(p.epoch))
	b = appendText(b, p.name)
	if p.used != 0 {
		b = binary.AppendUvarint(b, uint64(p.used))
	}
	return b
}

func parseProducer(b []byte) (*producer, error) {
	used := len(b) > 0 && b[0] == producerVersionUsed
	if !used && (len(b) == 0 || b[0] != valueVersion) {
		return nil, errValue
	}
	r := valueReader{b: b[1:]}
	p := &producer{epoch: r.uint32(), name: r.text()}
	if used {
		p.used = r.int64()
		r.bad = r.bad || p.used == 0
	}
	return p, r.end()
}

func (w *working) addProducer(id uint64, p *producer) {
	w.producers[id] = p
	if p.name != "" {
		w.names[p.name] = id
	}
}

// lastUse is when a producer was used last, as far as that is known. Whoever was
// there before it was noted counts as used then.
func (w *working) lastUse(p *producer) int64 { return max(p.used, w.usesFrom) }

// touch notes that a producer is used. Values change once in TouchEvery at most.
func (w *working) touch(out *pebble.Batch, id uint64, p *producer) {
	if w.usesFrom == 0 || w.now-w.lastUse(p) < TouchEvery.Milliseconds() {
		return
	}
	p.used = w.now
	w.storeProducer(out, id, p)
}

func (w *working) storeProducer(out *pebble.Batch, id uint64, p *producer) {
	w.key, w.value = appendProducerKey(w.key[:0], id), p.append(w.value[:0])
	set(out, w.key, w.value)
}

// expireProducers forgets those that are named and were not used. The first such
// command begins the noting of uses: a member that has applied less than it, with an
// older build too, and one that applies it again know the same.
func (w *working) expireProducers(out *pebble.Batch, c *recordv1.ExpireProducers) Outcome {
	if n := len(c.GetIds()); n > MaxDeliver {
		return refuse(CodeLimitExceeded, "%d producers to expire at once, at most %d are possible", n, MaxDeliver)
	}
	o := Outcome{BaseOffset: NoOffset, AboutWaiting: true}
	if w.usesFrom == 0 {
		w.usesFrom = max(1, w.now)
		set(out, appendMoreKey(nil, prefixUses, 0), binary.AppendUvarint([]byte{valueVersion}, uint64(w.usesFrom)))
	}
	for _, id := range c.GetIds() {
		if p := w.producers[id]; p != nil && w.lastUse(p) < c.GetUnusedSinceUnixMs() {
			w.dropProducer(out, id, p)
			o.Count++
		}
	}
	return o
}

// dropProducer forgets a producer and its windows.
func (w *working) dropProducer(out *pebble.Batch, id uint64, p *producer) {
	for _, queue := range p.queues {
		q := w.queues[queue]
		q.windows[id].gone = true // the call that runs may have it on its list
		delete(q.windows, id)
		w.key = appendWindowKey(w.key[:0], queue, id)
		del(out, w.key)
	}
	w.windows -= len(p.queues)
	delete(w.producers, id)
	if p.name != "" {
		delete(w.names, p.name)
	}
	w.key = appendProducerKey(w.key[:0], id)
	del(out, w.key)
}

// addWindow enters a window with its queue and its producer.
func (w *working) addWindow(q *queue, win *window) {
	if q.windows == nil {
		q.windows = make(map[uint64]*window)
	}
	q.windows[win.producer] = win
	p := w.producers[win.producer]
	p.queues = append(p.queues, q.id)
	w.windows++
}

// dropWindows has the producers forget a queue that goes.
func (w *working) dropWindows(q *queue) {
	for id := range q.windows {
		p := w.producers[id]
		if at := slices.Index(p.queues, q.id); at >= 0 {
			p.queues = slices.Delete(p.queues, at, at+1)
		}
	}
	w.windows -= len(q.windows)
}

// loadUses reads since when it is noted when producers are used.
func (s *Store) loadUses() error {
	return s.scanKeys(appendMoreKey(nil, prefixUses, 0), appendMoreKey(nil, prefixUses, 1), func(_, value []byte) (bool, error) {
		r := valueReader{b: value}
		r.version()
		s.work.usesFrom = r.int64()
		if s.work.usesFrom == 0 {
			r.bad = true
		}
		return false, r.end()
	})
}
