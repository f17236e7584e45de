package client

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/ledgermq/ledgermq/pkg/batch"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// GroupConsumer reads a topic as a member of a consumer group: the group's members share
// the queues, and the group remembers how far it is. Its methods are for one goroutine at
// a time.
//
// A message that was handed out and not committed comes again after a crash, or to
// whoever gets its queue; one that is below the committed offset never does. While a
// leader is being replaced there is latency, not errors. A consumer keeps its queues as
// long as its process lives, however long it works on a message; but queues that it is to
// lose it must let go of within 30 s, which Next does. While its topic is deleted and can
// be had back it has none, and waits.
type GroupConsumer struct {
	cfg    GroupConfig
	cs     *Consumer // reads the queues that are owned
	member *groupMember
	stop   context.CancelFunc
	paused map[int]bool       // by the user
	held   bool               // by the group
	given  map[int]int64      // by queue: behind the newest message that was handed out
	lost   map[int]ownedQueue // as they were when they were given up
	last   *Message           // handed out, finished with the next call
	handed []Message          // by Poll: the newest of each queue, likewise
}

// GroupConsumer joins a consumer group. ctx bounds the look-up of the topic only; who
// cannot join is told by Next. Errors are ErrUnknownTopic or those of brokers that cannot
// be reached.
func (c *Client) GroupConsumer(ctx context.Context, cfg GroupConfig) (*GroupConsumer, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	topic, err := c.Admin().DescribeTopic(ctx, cfg.Topic)
	if err != nil {
		return nil, err
	}
	cs := &Consumer{
		c: c, group: cfg.Group, cfg: ConsumerConfig{Topic: cfg.Topic, MaxBytes: cfg.MaxBytes, Filter: cfg.Filter}, share: max(1, len(topic.Queues)),
		reader: batch.NewReader(c.codec), fetched: make(chan *fetched, len(topic.Queues)),
	}
	cs.ctx, cs.cancel = context.WithCancelCause(c.ctx)
	g := &GroupConsumer{cfg: cfg, cs: cs, paused: map[int]bool{}, given: map[int]int64{}, lost: map[int]ownedQueue{}}
	g.member = &groupMember{
		c: c, cfg: cfg, news: make(chan struct{}, 1), due: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	mctx, stop := context.WithCancel(c.ctx)
	g.stop = stop
	if err := c.start(func(context.Context) error { return g.member.run(mctx) }); err != nil {
		stop()
		return nil, errors.Join(err, cs.Close())
	}
	return g, nil
}

// Next returns the next message of the queues that this consumer owns, and waits until
// there is one or ctx ends. Unless GroupConfig.Manual, the message of the call before is
// finished with it. Errors are those of Consumer.Next, and what keeps the consumer out of
// its group, such as ErrGroupMismatch.
func (g *GroupConsumer) Next(ctx context.Context) (Message, error) {
	for {
		m, ok, err := g.TryNext(ctx)
		if ok || err != nil {
			return m, err
		}
		if err := g.Await(ctx); err != nil {
			return Message{}, err
		}
	}
}

// Await waits until TryNext may have something to give, or has another assignment to
// follow. Errors are ctx's and ErrClosed.
func (g *GroupConsumer) Await(ctx context.Context) error {
	if g.cs.current != nil || g.cs.failed != nil {
		return nil
	}
	g.passOver()
	select {
	case f := <-g.cs.fetched:
		g.cs.take(f)
	case <-g.member.news:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-g.cs.ctx.Done():
		return context.Cause(g.cs.ctx)
	}
	return nil
}

// TryNext is Next that does not wait: ok is false when no message is here. ctx bounds the
// committing of queues that are lost.
func (g *GroupConsumer) TryNext(ctx context.Context) (m Message, ok bool, err error) {
	g.finishLast()
	if err := g.follow(ctx); err != nil {
		return Message{}, false, err
	}
	if m, ok, err = g.next(); ok && !g.cfg.Manual {
		last := m
		g.last = &last
	}
	return m, ok, err
}

func (g *GroupConsumer) next() (m Message, ok bool, err error) {
	if m, ok, err = g.cs.TryNext(); ok {
		g.given[*m.Queue] = m.Offset + 1
	}
	return m, ok, err
}

// passOver finishes what a filter did not want, in queues of which all that was handed
// out is finished: else a group would lag behind messages that nobody will ever see.
func (g *GroupConsumer) passOver() {
	if g.cfg.Filter.none() {
		return
	}
	owned := g.member.reads()
	for _, f := range g.cs.fetchers {
		if q, ok := owned[f.queue]; ok && q.finished >= g.given[f.queue] {
			g.member.finish(f.queue, f.position)
		}
	}
}

// Poll waits for a message and returns it with all others that are here already, limit at
// most. All of them are finished with the next call.
func (g *GroupConsumer) Poll(ctx context.Context, limit int) ([]Message, error) {
	first, err := g.Next(ctx)
	if err != nil {
		return nil, err
	}
	messages, latest := []Message{first}, map[int]Message{*first.Queue: first}
	g.last = nil
	for len(messages) < limit {
		m, ok, err := g.next()
		if !ok || err != nil { // an error comes again with the next call
			break
		}
		messages, latest[*m.Queue] = append(messages, m), m
	}
	if !g.cfg.Manual {
		g.handed = slices.Collect(maps.Values(latest))
	}
	return messages, nil
}

// Finish says that a message, and all before it in its queue, are done with. They are
// committed soon; Commit does it now. A message of a queue that is not owned any more is
// passed over.
func (g *GroupConsumer) Finish(m *Message) {
	if f, err := g.cs.fetcherOf(*m.Queue); err == nil && m.Offset < f.position {
		g.member.finish(*m.Queue, m.Offset+1)
	}
}

func (g *GroupConsumer) finishLast() {
	if g.last != nil {
		g.Finish(g.last)
		g.last = nil
	}
	for i := range g.handed {
		g.Finish(&g.handed[i])
	}
	g.handed = nil
}

// Commit stores what is finished now. It returns when that is on disk on a majority.
func (g *GroupConsumer) Commit(ctx context.Context) error { return g.member.commit(ctx) }

// follow goes over to the newest assignment, if there is one.
func (g *GroupConsumer) follow(ctx context.Context) error {
	a, session, err := g.member.newest()
	if err != nil || a == nil {
		return err
	}
	now := make(map[int]*brokerv1.AssignedQueue)
	for _, q := range a.GetQueues() {
		if q.GetTopic() == g.cfg.Topic {
			now[int(q.GetQueue())] = q
		}
	}
	before := g.member.reads()
	var lost, gained []int
	for number, q := range before {
		if next := now[number]; next == nil || next.GetQueueId() != q.id || next.GetEpoch() != q.epoch {
			lost = append(lost, number)
		}
	}
	for number, q := range now {
		if was, ok := before[number]; !ok || q.GetQueueId() != was.id || q.GetEpoch() != was.epoch {
			gained = append(gained, number)
		}
	}
	slices.Sort(lost)
	slices.Sort(gained)
	g.lose(ctx, lost)
	owned := g.member.reads()
	for _, number := range lost {
		delete(owned, number)
	}
	if err := g.gain(ctx, gained, now, owned); err != nil {
		return err // the assignment is followed by the next call
	}
	g.member.follow(a, session, owned)
	g.hold(a.GetPaused())
	if len(gained) > 0 && g.cfg.OnAssigned != nil {
		g.cfg.OnAssigned(gained)
	}
	return nil
}

// revokeTimeout bounds the committing of queues that are lost: whoever waits for them
// should not have to for long.
const revokeTimeout = 5 * time.Second

// lose commits what is finished of some queues and reads them no more.
func (g *GroupConsumer) lose(ctx context.Context, queues []int) {
	if len(queues) == 0 {
		return
	}
	if g.cfg.OnRevoked != nil {
		g.cfg.OnRevoked(queues)
	}
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	_ = g.member.commit(ctx) // what is not committed comes again to the new owner
	left := g.member.reads()
	for _, number := range queues {
		g.cs.remove(number)
		g.lost[number] = left[number]
	}
}

// gain begins to read some queues where the group is in them.
func (g *GroupConsumer) gain(ctx context.Context, queues []int, now map[int]*brokerv1.AssignedQueue, owned map[int]ownedQueue) error {
	for _, number := range queues {
		q := now[number]
		at := q.GetOffset()
		if at < 0 { // a broadcast group keeps none
			var err error
			if at, err = g.cs.c.startOf(ctx, g.cfg.Topic, number, g.cfg.From); err != nil {
				return err
			}
		}
		if was := g.lost[number]; was.id == q.GetQueueId() && was.epoch == q.GetEpoch() {
			at = max(at, was.committed) // it was told before that was committed
		}
		g.cs.share = max(g.cs.share, number+1) // the topic may have grown
		g.cs.remove(number)                    // if a call before this one got only so far
		if err := g.cs.add(number, q.GetQueueId(), at, g.paused[number] || g.held); err != nil {
			return err
		}
		delete(g.given, number)
		owned[number] = ownedQueue{id: q.GetQueueId(), epoch: q.GetEpoch(), finished: at, committed: at, stored: at}
	}
	return nil
}

// hold stops or resumes reading because the group is paused.
func (g *GroupConsumer) hold(paused bool) {
	if g.held == paused {
		return
	}
	g.held = paused
	for _, q := range g.cs.Queues() {
		_ = g.cs.pause(q, paused || g.paused[q]) // it is read
	}
}

// reads is a copy of what is owned.
func (m *groupMember) reads() map[int]ownedQueue {
	m.mu.Lock()
	defer m.mu.Unlock()
	owned := maps.Clone(m.mu.owned)
	if owned == nil {
		owned = make(map[int]ownedQueue)
	}
	return owned
}

// Queues lists the queues that this consumer owns, as of the last call of Next.
func (g *GroupConsumer) Queues() []int { return g.cs.Queues() }

// Position is the offset that Next will return next for a queue that is owned.
func (g *GroupConsumer) Position(queue int) (int64, error) { return g.cs.Position(queue) }

// Grant is how this consumer owns a queue. Epoch is the number under which it was given
// to it: it grows each time the queue is given away, so whoever is told of it can refuse
// what comes from an owner of before. Committed is the offset up to which the group's
// progress is known to be stored, on a majority.
type Grant struct {
	Epoch     uint64
	Committed int64
}

// Grant says how this consumer owns a queue, as of the last call of Next. A commit of a
// queue that it has lost meanwhile is not taken, and does not raise Committed.
func (g *GroupConsumer) Grant(queue int) (Grant, error) {
	q, ok := g.member.reads()[queue]
	if !ok {
		return Grant{}, errorf(CodeUnknownQueue, "this consumer does not own queue %d of %s", queue, g.cfg.Topic)
	}
	return Grant{Epoch: q.epoch, Committed: q.stored}, nil
}

// Seek goes on with another offset of a queue that is owned. What the group has committed
// stays: progress goes back only by Admin.ResetGroup.
func (g *GroupConsumer) Seek(queue int, offset int64) error { return g.cs.Seek(queue, offset) }

// Pause stops reading a queue, also when it is lost and comes back; it stays owned.
func (g *GroupConsumer) Pause(queue int) error {
	g.paused[queue] = true
	return g.cs.pause(queue, true)
}

// Resume ends a Pause.
func (g *GroupConsumer) Resume(queue int) error {
	delete(g.paused, queue)
	return g.cs.pause(queue, g.held)
}

// Close commits what is finished, leaves the group, and ends fetching. The message that
// Next returned last is not finished by it: say so with Finish, or it comes again.
func (g *GroupConsumer) Close(ctx context.Context) error {
	if g.cs.ctx.Err() != nil {
		g.stop()
		<-g.member.stopped
		return g.cs.Close()
	}
	if queues := g.Queues(); len(queues) > 0 && g.cfg.OnRevoked != nil {
		g.cfg.OnRevoked(queues)
	}
	err := g.member.commit(ctx)
	g.stop()
	<-g.member.stopped
	err = errors.Join(err, g.member.leave(ctx))
	return errors.Join(err, g.cs.Close())
}
