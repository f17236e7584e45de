package broker

import (
	"context"
	"errors"
	"time"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// maxPullBatches bounds the batches of one answer; their bytes are bounded too.
const maxPullBatches = 4096

// puller reads committed batches. It serves what is applied and nothing beyond.
type puller struct {
	store    *state.Store
	ledger   *dledger.Server
	gate     *memoryGate
	filters  *filtering
	hold     *pullHold
	maxBytes int
	maxWait  time.Duration
	metrics  *metrics
}

// queue is where a pull reads: the queue's number and how clients call it.
type queue struct {
	id     state.QueueID
	topic  string
	number uint32
	// filtered is set when not all that is read is sent: the filter counts that.
	filtered bool
	// group is the consumer group for which it is read; empty: none.
	group string
}

// pulled is what a look at a queue found.
type pulled struct {
	first, end state.Offset
	infos      []*brokerv1.BatchInfo
	batches    []pulledBatch // to be released
	size       int           // their bytes
	next       state.Offset  // the offset after the last record
	records    int
}

// streamEnds is what ends waiting beside the client itself.
type streamEnds struct {
	lost     <-chan struct{} // the leadership is over
	stopping <-chan struct{} // the broker is shutting down
}

func (s *messagingService) ends(lead *leadership) streamEnds {
	return streamEnds{lost: lead.done, stopping: s.router.stopping}
}

// resolve finds the queue that a request names. An id other than 0 must be that
// queue's: a topic that was made anew under the name has other messages under the
// same offsets.
func (p *puller) resolve(topic string, number, id uint32) (queue, error) {
	return resolveQueue(p.store, topic, number, id)
}

func resolveQueue(store *state.Store, topic string, number, id uint32) (queue, error) {
	t, ok := store.Topic(topic)
	if !ok {
		return queue{}, noTopic(store, topic)
	}
	if int64(number) >= int64(len(t.Queues)) {
		return queue{}, errorf(CodeUnknownQueue, "topic %q has queues 0 to %d, not %d", topic, len(t.Queues)-1, number)
	}
	if now := t.Queues[number]; id != 0 && state.QueueID(id) != now {
		return queue{}, errorf(CodeUnknownQueue, "topic %q was deleted and made anew: its queue %d has the id %d now, not %d", topic, number, now, id)
	}
	return queue{id: t.Queues[number], topic: topic, number: number}, nil
}

// limit is how many bytes an answer may have, when the client asks for max.
func (p *puller) limit(wanted int64) int {
	if wanted <= 0 || wanted > int64(p.maxBytes) {
		return p.maxBytes
	}
	return int(wanted)
}

// await reads from offset, waiting up to wait for something to be there; a
// negative wait is endless. Nothing found in time is no error.
func (p *puller) await(ctx context.Context, q queue, offset state.Offset, limit int, wait time.Duration, ends streamEnds) (pulled, error) {
	began := time.Now()
	if err := p.awaitMemory(ctx, wait, ends); err != nil {
		return pulled{}, err
	}
	if wait > 0 {
		wait = max(0, wait-time.Since(began))
	}
	got, err := p.read(q, offset, limit)
	if err != nil || len(got.infos) > 0 || wait == 0 {
		return got, err
	}
	if !p.hold.enter() {
		return pulled{}, fullf("too many pulls are waiting: see limits.max_held_pulls")
	}
	defer p.hold.leave()
	return p.held(ctx, q, offset, limit, wait, ends)
}

// awaitMemory waits while there is none for an answer, as long as the pull has time for;
// one that has none is refused, and may come again.
func (p *puller) awaitMemory(ctx context.Context, wait time.Duration, ends streamEnds) error {
	var until <-chan time.Time
	if wait >= 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		until = timer.C
	}
	return p.gate.waits(ctx, until, ends)
}

// held is the waiting part of await.
func (p *puller) held(ctx context.Context, q queue, offset state.Offset, limit int, wait time.Duration, ends streamEnds) (pulled, error) {
	var timeout <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		timeout = timer.C
	}
	var paused resumeLook
	defer paused.stop()
	for {
		arrived := p.hold.next(q.id)
		got, err := p.read(q, offset, limit)
		if err != nil || len(got.infos) > 0 {
			return got, err
		}
		select {
		case <-arrived:
		case <-paused.due(p.paused(q)):
		case <-timeout:
			return got, nil
		case <-ends.lost:
			return got, errLeadershipOver
		case <-ends.stopping:
			return got, errorf(CodeShuttingDown, "the broker is shutting down")
		case <-ctx.Done():
			return got, ctx.Err()
		}
	}
}

// errLeadershipOver ends what belongs to one leadership; callers say who leads now.
var errLeadershipOver = errors.New("the leadership is over")

// read returns batches from offset on, as many as limit allows, at least one if
// there is any.
func (p *puller) read(q queue, offset state.Offset, limit int) (pulled, error) {
	first, end, ok := p.store.QueueRange(q.id)
	got := pulled{first: first, end: end, next: offset}
	switch {
	case !ok:
		return got, errorf(CodeUnknownQueue, "topic %q was deleted", q.topic)
	case p.store.Hidden(q.id) != 0:
		return got, topicDeleted(q.topic, p.store.Hidden(q.id))
	case offset < first:
		return got, tooLow(q, offset, first, end)
	case offset > end:
		return got, errorf(CodeOffsetTooHigh, "offset %d of %s/%d is above the end, %d (the first is %d)", offset, q.topic, q.number, end, first)
	case offset == end, p.paused(q):
		return got, nil
	}
	places, err := p.store.Locate(q.id, offset, maxPullBatches)
	if err == nil {
		err = p.fetch(&got, q, places, limit)
	}
	if errors.Is(err, commitlog.ErrPurged) {
		p.skipPurged(q, places)
	}
	if errors.Is(err, state.ErrOffsetTooLow) || errors.Is(err, commitlog.ErrPurged) {
		got.release()
		first, _, _ := p.store.QueueRange(q.id) // purged while we were looking
		return pulled{}, tooLow(q, offset, first, end)
	}
	if err != nil {
		got.release()
		return got, err
	}
	if !q.filtered {
		p.metrics.delivered(q, got)
	}
	return got, nil
}

// skipPurged lets the queue begin behind the batches that the ledger does not have
// any more. Usually it does already. But what has waited for its delivery is in an
// older entry than its neighbours, and after a restart nobody knows how much
// younger ones had been given up before (ADR 0021).
func (p *puller) skipPurged(q queue, places []state.Location) {
	begin := state.Index(p.ledger.Begin())
	for _, place := range places {
		if place.Index < begin {
			p.store.RaiseFirst(q.id, place.BaseOffset+state.Offset(place.Count))
		}
	}
}

func tooLow(q queue, offset, first, end state.Offset) error {
	return errorf(CodeOffsetTooLow, "offset %d of %s/%d is below the first, %d (the end is %d)", offset, q.topic, q.number, first, end)
}

// fetch reads the batches at the places from the ledger. Places that follow one
// another in the ledger are read together. Of a batch nobody knows the size before it is
// read; one that turns out not to fit would be read again, so none is when there is less
// room than the one before it took.
func (p *puller) fetch(got *pulled, q queue, places []state.Location, limit int) error {
	for len(places) > 0 && got.size < limit && limit-got.size >= got.lastBytes() {
		n := contiguous(places)
		frame, err := p.ledger.Read(commitlog.Index(places[0].Index), commitlog.Index(places[n-1].Index), limit-got.size)
		if damaged(err) {
			if len(got.infos) > 0 {
				return nil // what stands before it first
			}
			return damagedBatch(err, q, places[0])
		}
		if err != nil {
			return err
		}
		taken, err := got.take(frame, places, limit)
		if err != nil || taken == 0 {
			return err
		}
		places = places[taken:]
	}
	return nil
}

// damagedBatch says which messages cannot be read, and where those behind them
// begin.
func damagedBatch(err error, q queue, place state.Location) error {
	own := ownError(err)
	next := place.BaseOffset + state.Offset(place.Count)
	return errorf(own.Code, "offsets %d to %d of %s/%d cannot be read, offset %d is the next that is stored: %s",
		place.BaseOffset, next-1, q.topic, q.number, next, own.Message).wrap(err)
}

// contiguous returns how many places from the first on are neighbours in the ledger.
func contiguous(places []state.Location) int {
	n := 1
	for n < len(places) && places[n].Index == places[n-1].Index+1 {
		n++
	}
	return n
}

// take adds the frame's bodies to what was pulled, as far as the limit allows,
// and returns how many that were. The frame is its own from now on.
func (got *pulled) take(frame commitlog.Frame, places []state.Location, limit int) (int, error) {
	held := &heldFrame{frame: frame}
	held.holds.Store(1) // until we have looked through it
	defer held.letGo()
	taken := 0
	for rest := frame.Bytes; len(rest) > 0; {
		header, body, next, err := commitlog.NextEntry(rest)
		if err != nil {
			return taken, err
		}
		if got.size > 0 && got.size+len(body) > limit {
			return taken, nil
		}
		held.holds.Add(1)
		got.add(header, pulledBatch{bytes: body[:len(body):len(body)], held: held}, places[taken])
		taken++
		rest = next
	}
	return taken, nil
}

// lastBytes is the size of the last batch; 0: there is none.
func (got *pulled) lastBytes() int {
	if n := len(got.batches); n > 0 {
		return len(got.batches[n-1].bytes)
	}
	return 0
}

func (got *pulled) add(h commitlog.Header, b pulledBatch, place state.Location) {
	got.batches, got.size = append(got.batches, b), got.size+len(b.bytes)
	got.infos = append(got.infos, &brokerv1.BatchInfo{
		BaseOffset: int64(place.BaseOffset), LedgerIndex: int64(h.Index), Term: int64(h.Term),
		AppendTimeUnixMs: h.AppendTime / int64(time.Millisecond),
	})
	got.next = place.BaseOffset + state.Offset(place.Count)
	got.records += int(place.Count)
}

// Pull implements broker.v1.MessagingService.
func (s *messagingService) Pull(ctx context.Context, req *brokerv1.PullRequest) (*brokerv1.PullResponse, error) {
	return atLeader(ctx, s.router, brokerv1.MessagingService_Pull_FullMethodName, true, req, s.pull)
}

func (s *messagingService) pull(ctx context.Context, lead *leadership, req *brokerv1.PullRequest) (*brokerv1.PullResponse, error) {
	q, err := s.puller.resolve(req.GetTopic(), req.GetQueue(), req.GetQueueId())
	if err != nil {
		return nil, err
	}
	sieve, err := s.puller.filters.open(req.GetFilter())
	if err != nil {
		return nil, err
	}
	defer sieve.close()
	q.filtered = sieve != nil
	if q.group, err = readingGroup(req.GetGroup()); err != nil {
		return nil, err
	}
	wait := min(max(0, time.Duration(req.GetMaxWaitMs())*time.Millisecond), s.puller.maxWait)
	got, err := s.puller.await(ctx, q, state.Offset(req.GetOffset()), s.puller.limit(int64(req.GetMaxBytes())), wait, s.ends(lead))
	if errors.Is(err, errLeadershipOver) {
		return nil, s.router.ended()
	}
	next := state.Offset(0)
	if err == nil && sieve != nil {
		err = sieve.keep(ctx, q, state.Offset(req.GetOffset()), &got)
		next = got.next
	}
	if err != nil {
		return nil, err
	}
	return &brokerv1.PullResponse{FirstOffset: int64(got.first), EndOffset: int64(got.end), Infos: got.infos, Batches: got.join(), NextOffset: int64(next)}, nil
}
