package broker

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/lease"
	"github.com/ledgermq/ledgermq/pkg/state"
)

const (
	// maxQueueWork is how many messages of a queue, not done and known, the leader keeps in
	// mind for one group; maxGroupLeases is how many a group's consumers may hold, and
	// maxWork how many messages it keeps in mind for all groups.
	maxQueueWork   = 10_000
	maxGroupLeases = 50_000
	maxWork        = 500_000
	// maxWorkHeld bounds the bytes of messages that were read and not delivered yet; what is
	// beyond is read again.
	maxWorkHeld = 32 << 20
	// workIdle is after which time a queue that nobody receives from is forgotten.
	workIdle = 2 * time.Minute
	// workGrace is for how long a new leader gives out nothing: acknowledgements that were
	// on their way to the former one come first.
	workGrace = 200 * time.Millisecond
	// workRetry is after which time is tried again what could not be read or settled, and
	// workWarn how often the log tells so, of each queue.
	workRetry = time.Second
	workWarn  = time.Minute
)

// workQueues is what the leader knows of the queues that work-queue groups receive from:
// who was leased what. It is memory of one leadership; what is done, and how often what was
// tried, is in the state. Its goroutine ends leases and moves dead letters.
type workQueues struct {
	store    *state.Store
	puller   *puller
	finder   *offsetFinder
	room     *groupRoom
	disk     *diskGuard
	proposer *proposer
	gatherer *gatherer[*recordv1.WorkItem]
	metrics  *workMetrics
	codec    *batch.Codec
	now      func() time.Time
	log      *slog.Logger
	due      chan struct{} // capacity 1: the goroutine has something to do
	active   atomic.Int64  // queues in mind

	mu struct {
		sync.Mutex
		lead      *leadership
		began     time.Time // of lead, as far as is known here
		queues    map[workKey]*workQueue
		readers   map[state.QueueID][]*workQueue
		changed   map[uint64]chan struct{} // by group: closed when there may be something to take
		leased    map[uint64]int           // by group
		stuck     map[uint64]bool          // groups that have as much as they may: what is done makes room
		beginning map[uint64]bool          // groups that are being given their start in queues
		entries   int
		held      int // bytes
		seq       uint64
		turn      int
		next      time.Time // when the goroutine looks again
	}
}

type workKey struct {
	group uint64
	queue state.QueueID
}

// workQueue is one queue of one group. All but what says otherwise is under the mutex.
type workQueue struct {
	workKey
	group   *state.Group // as it was first seen; name and policy never change
	topic   string
	number  uint32
	epoch   uint64
	table   *lease.Table
	cursor  state.Offset                 // what is below is in the table, or done
	first   state.Offset                 // what was below it is not kept, and not in the table
	held    map[state.Offset]*workRecord // read and not delivered
	used    time.Time
	buryAt  time.Time // dead letters are not looked at before
	dropped bool

	failed     error        // why it could not be read on; nil: it could
	failedFrom state.Offset // the cursor then
	retryAt    time.Time    // when it is tried again
	warned     time.Time    // when the log told of it

	scanning bool          // somebody reads on from cursor: nobody else changes it, but for who drops the queue
	backlog  []*workRecord // read and not in the table, from cursor on
	behind   int           // bytes of it
}

// workView is how a queue stands for a group, in the state.
type workView struct {
	queue
	progress   state.Progress
	first, end state.Offset
}

func newWorkQueues(b *Broker, proposer *proposer, finder *offsetFinder, room *groupRoom) *workQueues {
	w := &workQueues{
		store: b.store, puller: b.messaging.puller, finder: finder, room: room, disk: b.disk, proposer: proposer,
		gatherer: newWorkGatherer(b), codec: batch.NewCodec(), now: time.Now, log: b.log, due: make(chan struct{}, 1),
	}
	w.reset(nil)
	w.metrics = newWorkMetrics(b.metrics, w)
	return w
}

// reset forgets everything: another leadership begins.
func (w *workQueues) reset(lead *leadership) {
	for _, q := range w.mu.queues {
		q.dropped = true
	}
	for _, ch := range w.mu.changed {
		close(ch)
	}
	w.mu.lead, w.mu.began = lead, w.now()
	w.mu.queues, w.mu.readers = map[workKey]*workQueue{}, map[state.QueueID][]*workQueue{}
	w.mu.changed, w.mu.leased, w.mu.beginning = map[uint64]chan struct{}{}, map[uint64]int{}, map[uint64]bool{}
	w.mu.stuck = map[uint64]bool{}
	w.mu.entries, w.mu.held = 0, 0
	w.active.Store(0)
}

// with runs do on what is known under lead.
func (w *workQueues) with(lead *leadership, do func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.lead != lead {
		if w.mu.lead != nil && w.mu.lead.term > lead.term {
			return errLeadershipOver
		}
		w.reset(lead)
	}
	do()
	return nil
}

// view is how a queue stands for a group; false: it is gone.
func (w *workQueues) view(group uint64, id state.QueueID) (v workView, ok bool) {
	var number int
	if v.topic, number, ok = w.store.TopicOfQueue(id); !ok {
		return v, false
	}
	v.id, v.number, v.filtered = id, uint32(number), true
	v.progress, _ = w.store.Progress(group, id)
	v.first, v.end, ok = w.store.QueueRange(id)
	return v, ok
}

// begun says that the group has a place in the queue.
func (v *workView) begun() bool { return v.progress.Offset != state.NoOffset }

// queueLocked returns what is known of a queue of a group, as it stands; nil: the view is of
// before a reset.
func (w *workQueues) queueLocked(g *state.Group, v workView) *workQueue {
	key := workKey{g.ID, v.id}
	q := w.mu.queues[key]
	if q != nil && q.epoch > v.progress.Epoch {
		return nil
	}
	if q != nil && q.epoch < v.progress.Epoch {
		w.dropLocked(q)
		q = nil
	}
	if q == nil {
		p := g.Work
		w.mu.seq += 1 << 32
		q = &workQueue{workKey: key, group: g, topic: v.topic, number: v.number, epoch: v.progress.Epoch, held: map[state.Offset]*workRecord{}}
		q.table = lease.New(lease.Config{
			MaxAttempts: p.MaxAttempts, BackoffMin: time.Duration(p.BackoffMinMs) * time.Millisecond,
			BackoffMax: time.Duration(p.BackoffMaxMs) * time.Millisecond, FIFO: p.FIFO, Limit: maxQueueWork,
		}, w.mu.seq)
		w.mu.queues[key] = q
		w.mu.readers[v.id] = append(w.mu.readers[v.id], q)
		w.active.Add(1)
	}
	q.used = w.now()
	if !q.scanning {
		w.raiseLocked(q, v)
	}
	return q
}

// raiseLocked forgets what is not kept any more, or done: what is behind it in its message
// group does not wait for it. What is done in the course of this leadership leaves the table
// by itself, so that not the whole of it is looked at whenever the progress rises.
func (w *workQueues) raiseLocked(q *workQueue, v workView) {
	low := max(v.first, v.progress.Offset)
	if low <= q.cursor && v.first <= q.first {
		return
	}
	q.first = max(q.first, v.first)
	if low > q.cursor {
		q.cursor = low
		w.backlogLocked(q, nil)
	}
	w.touchLocked(q, func() { q.table.DoneBelow(w.now(), lease.Offset(low)) })
	for o := range q.held {
		if o < low {
			w.unholdLocked(q, o)
		}
	}
}

// touchLocked changes a table, and keeps count.
func (w *workQueues) touchLocked(q *workQueue, do func()) {
	entries, leased := q.table.Len(), q.table.Leased()
	do()
	if !q.dropped {
		w.entriesLocked(q.table.Len() - entries)
		w.mu.leased[q.workKey.group] += q.table.Leased() - leased
	}
}

// entriesLocked counts messages in mind. When there is room for more, all groups that were
// short of it look again.
func (w *workQueues) entriesLocked(more int) {
	was := w.mu.entries
	w.mu.entries += more
	if was < maxWork || w.mu.entries >= maxWork {
		return
	}
	for group := range w.mu.stuck {
		delete(w.mu.stuck, group)
		w.wakeLocked(group)
	}
}

// dropLocked forgets a queue, once. Those of its group that wait look again, so that they
// make it anew and are told what arrives in it.
func (w *workQueues) dropLocked(q *workQueue) {
	if q.dropped {
		return
	}
	w.entriesLocked(-q.table.Len())
	w.mu.leased[q.workKey.group] -= q.table.Leased()
	for o := range q.held {
		w.unholdLocked(q, o)
	}
	w.backlogLocked(q, nil)
	delete(w.mu.queues, q.workKey)
	all := w.mu.readers[q.queue]
	for i := range all {
		if all[i] == q {
			all = append(all[:i:i], all[i+1:]...)
			break
		}
	}
	if w.mu.readers[q.queue] = all; len(all) == 0 {
		delete(w.mu.readers, q.queue)
	}
	w.active.Add(-1)
	q.dropped = true
	w.wakeLocked(q.workKey.group)
}

// holdLocked keeps a message that was read until it is delivered, if there is room.
func (w *workQueues) holdLocked(q *workQueue, r *workRecord) {
	if w.mu.held < maxWorkHeld {
		q.held[r.offset] = r
		w.mu.held += r.size
	}
}

// failLocked notes that a queue cannot be read on; true: the log is to tell so.
func (q *workQueue) failLocked(now time.Time, from state.Offset, err error) bool {
	q.failed, q.failedFrom, q.retryAt = err, from, now.Add(workRetry)
	return q.warnLocked(now)
}

// warnLocked says whether it is time for the log to tell of a queue that is in trouble.
func (q *workQueue) warnLocked(now time.Time) bool {
	if now.Sub(q.warned) < workWarn {
		return false
	}
	q.warned = now
	return true
}

// backlogLocked keeps what was read and did not fit into the table, if there is room.
func (w *workQueues) backlogLocked(q *workQueue, rest []*workRecord) {
	w.mu.held -= q.behind
	q.backlog, q.behind = nil, 0
	if w.mu.held >= maxWorkHeld {
		return
	}
	for _, r := range rest {
		q.behind += r.size
	}
	q.backlog = rest
	w.mu.held += q.behind
}

func (w *workQueues) unholdLocked(q *workQueue, o state.Offset) *workRecord {
	r := q.held[o]
	if r != nil {
		delete(q.held, o)
		if !q.dropped {
			w.mu.held -= r.size
		}
	}
	return r
}

// changedLocked is closed when there may be something to take for a group.
func (w *workQueues) changedLocked(group uint64) chan struct{} {
	ch := w.mu.changed[group]
	if ch == nil {
		ch = make(chan struct{})
		w.mu.changed[group] = ch
	}
	return ch
}

// wakeLocked lets go of the consumers of a group that wait.
func (w *workQueues) wakeLocked(group uint64) {
	if ch := w.mu.changed[group]; ch != nil {
		delete(w.mu.changed, group)
		close(ch)
	}
}

// wakeGroup does so for a group of which something has changed in the state.
func (w *workQueues) wakeGroup(group uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wakeLocked(group)
}

// wakeAll lets go of everyone who waits: topics have changed.
func (w *workQueues) wakeAll() {
	if w.active.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for group := range w.mu.changed {
		w.wakeLocked(group)
	}
}

// arrived is told of queues in which there is something new, by the dispatcher.
func (w *workQueues) arrived(queues []state.QueueID) {
	if w.active.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range queues {
		for _, q := range w.mu.readers[id] {
			w.wakeLocked(q.workKey.group)
		}
	}
}

// soonLocked makes the goroutine look at a time, or earlier.
func (w *workQueues) soonLocked(at time.Time) {
	if at.Before(w.mu.next) {
		w.mu.next = at
		signal(w.due)
	}
}
