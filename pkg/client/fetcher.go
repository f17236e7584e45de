package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/ledgermq/ledgermq/pkg/batch"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// minCredit is the least that one queue may be fetched ahead.
const minCredit = 64 << 10

// behindTimeout is how long a leader may lack offsets that were seen before, while
// it catches up, until that is an error.
const behindTimeout = 30 * time.Second

// internalTimeout is how long a leader may answer with nothing but INTERNAL.
const internalTimeout = 30 * time.Second

// fetcher reads one queue from whoever leads and hands over what arrives.
type fetcher struct {
	cs       *Consumer
	queue    int
	id       uint32 // the broker's number: a topic that is made anew has others
	frames   frameCodec
	credit   int64         // bytes that may be fetched and not yet read
	changed  chan struct{} // capacity 1: the wishes changed
	returned chan struct{} // capacity 1: there is credit to give back
	done     chan struct{}
	ctx      context.Context // ends with the Consumer, or when it reads this queue no more
	cancel   context.CancelCauseFunc
	seenEnd  int64 // highest end of the queue that a broker told; the fetcher's own

	// position is the next offset for the user. It and what follows it are the
	// user's goroutine's own.
	position   int64
	distrusted int64 // base of a batch that was fetched again because it could not be read; -1: none
	label      int   // what messages point to as their Queue

	current atomic.Int64 // mu.generation, for Next to look at each message

	mu struct {
		sync.Mutex
		next       int64 // next offset to fetch
		generation int   // counts restarts: what was fetched before one is stale
		paused     bool
		stop       context.CancelCauseFunc // ends the present session
		unread     int64                   // bytes handed over and not yet read
		received   int64                   // bytes that came in this session
	}
}

// fetched is one answer, or an error that Next must tell.
type fetched struct {
	from       *fetcher
	generation int
	infos      []*brokerv1.BatchInfo
	batches    [][]byte
	bytes      int64
	after      int64 // the offset behind all of it
	err        error

	// Where Next stands; the user's goroutine's own.
	at     int
	offset int64
}

func newFetcher(cs *Consumer, queue int, id uint32, at int64) *fetcher {
	f := &fetcher{
		cs: cs, queue: queue, id: id, label: queue, position: at, distrusted: -1, frames: newFrameCodec(),
		credit:  int64(max(cs.cfg.MaxBytes/cs.share, minCredit)),
		changed: make(chan struct{}, 1), returned: make(chan struct{}, 1), done: make(chan struct{}),
	}
	f.mu.next = at
	f.ctx, f.cancel = context.WithCancelCause(cs.ctx)
	return f
}

// stale tells that the user went elsewhere since this was fetched.
func (f *fetched) stale() bool { return int64(f.generation) != f.from.current.Load() }

// release gives the credit of an answer back.
func (f *fetched) release() {
	f.from.mu.Lock()
	if f.generation == f.from.mu.generation {
		f.from.mu.unread -= f.bytes
	}
	f.from.mu.Unlock()
	notify(f.from.returned)
}

func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

var errRestart = errors.New("reading goes on elsewhere")

// restart goes on with another offset, or pauses.
func (f *fetcher) restart(next int64, paused bool) {
	f.mu.Lock()
	f.mu.paused = paused
	f.mu.Unlock()
	f.seek(next)
}

// seek goes on with another offset, if it is paused when it is resumed.
func (f *fetcher) seek(next int64) {
	f.mu.Lock()
	f.mu.next = next
	f.mu.generation++
	f.current.Store(int64(f.mu.generation))
	f.mu.unread = 0
	stop := f.mu.stop
	f.mu.Unlock()
	if stop != nil {
		stop(errRestart)
	}
	notify(f.changed)
}

// wishes is what a session works on.
type wishes struct {
	next       int64
	generation int
	paused     bool
}

// begin reads the wishes and enters the session's stop function.
func (f *fetcher) begin(stop context.CancelCauseFunc) wishes {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.stop = stop
	f.mu.received = 0
	return wishes{next: f.mu.next, generation: f.mu.generation, paused: f.mu.paused}
}

// run holds one pull session after the other until the consumer is closed.
func (f *fetcher) run(ctx context.Context) error {
	defer close(f.done)
	pace, same := pacer{}, complaint{}
	for ctx.Err() == nil {
		r := f.cs.c.router.route()
		progressed, w, err := f.session(ctx, r)
		if progressed {
			pace, same = pacer{}, complaint{}
		}
		if errors.Is(err, errRestart) || ctx.Err() != nil {
			same = complaint{}
			continue
		}
		e := asError(err)
		f.cs.c.router.hint(r, r.leader, e)
		if f.passes(e, w, same.lasts(e.Code)) {
			pace.pause(ctx, r, e)
			continue
		}
		f.surrender(ctx, w, e)
		same = complaint{}
	}
	return nil
}

// complaint is an error code that is all that brokers have answered for a while.
type complaint struct {
	code  Code
	since time.Time
}

// lasts tells how long nothing but code has come, this time included.
func (c *complaint) lasts(code Code) time.Duration {
	if c.code != code {
		*c = complaint{code: code, since: time.Now()}
	}
	return time.Since(c.since)
}

// passes tells whether to try again after an error that has come for so long.
func (f *fetcher) passes(e *Error, w wishes, lasted time.Duration) bool {
	switch e.Code {
	case CodeInternal:
		return lasted < internalTimeout
	case CodeOffsetTooHigh:
		return w.next <= f.seenEnd && lasted < behindTimeout
	case CodeTopicDeleted:
		return f.cs.group != ""
	}
	return passes(e)
}

// surrender hands an error to the user and waits until he wants something else.
func (f *fetcher) surrender(ctx context.Context, w wishes, e *Error) {
	select {
	case f.cs.fetched <- &fetched{from: f, generation: w.generation, err: e}:
	case <-ctx.Done():
		return
	}
	select {
	case <-f.changed:
	case <-ctx.Done():
	}
}

// session reads from the leader of r until the stream breaks, another leader is
// known or the user wants something else.
func (f *fetcher) session(ctx context.Context, r *route) (progressed bool, w wishes, err error) {
	sctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	select {
	case <-f.changed: // the wishes are read now
	default:
	}
	w = f.begin(cancel)
	if w.paused {
		<-sctx.Done()
		return false, w, context.Cause(sctx)
	}
	if r.leader == nil {
		return false, w, errLeaderless
	}
	stop := context.AfterFunc(r.leading, func() { cancel(errLeaderMoved) })
	defer stop()
	g, gctx := errgroup.WithContext(sctx)
	stream, err := r.leader.pulls.NewStream(gctx,
		&grpc.StreamDesc{StreamName: "PullStream", ClientStreams: true, ServerStreams: true},
		brokerv1.MessagingService_PullStream_FullMethodName, grpc.ForceCodecV2(f.frames))
	if err != nil {
		return false, w, fromRPC(gctx, err)
	}
	g.Go(func() error { return f.grant(gctx, stream, w) })
	g.Go(func() error {
		var err error
		progressed, err = f.receive(gctx, stream, w)
		return err
	})
	return progressed, w, g.Wait()
}

// grant opens the stream and gives credit back as the user reads: the broker may
// have sent as many bytes as are not read yet and may still come, credit together.
func (f *fetcher) grant(ctx context.Context, stream grpc.ClientStream, w wishes) error {
	granted := f.allowed()
	req := &brokerv1.PullStreamRequest{
		Topic: f.cs.cfg.Topic, Queue: uint32(f.queue), QueueId: f.id, Offset: w.next, CreditBytes: max(granted, 0),
		Filter: f.cs.cfg.Filter.proto(), Group: f.cs.group,
	}
	for {
		if err := stream.SendMsg(req); err != nil {
			<-ctx.Done() // the receiver gets the stream's error
			return context.Cause(ctx)
		}
		more := f.allowed() - granted
		for more < f.credit/4 { // not for every little answer
			select {
			case <-f.returned:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			more = f.allowed() - granted
		}
		granted += more
		req = &brokerv1.PullStreamRequest{CreditBytes: more}
	}
}

// allowed is how many bytes the broker may send in this session up to now.
func (f *fetcher) allowed() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.credit - f.mu.unread + f.mu.received
}

// receive hands over answers in order and moves the next offset along.
func (f *fetcher) receive(ctx context.Context, stream grpc.ClientStream, w wishes) (progressed bool, err error) {
	next := w.next
	for {
		frame := new(pullFrame)
		if err := stream.RecvMsg(frame); err != nil {
			return progressed, fromRPC(ctx, err)
		}
		f.seenEnd = max(f.seenEnd, frame.GetEndOffset())
		got, after, err := f.check(frame, next)
		if err != nil {
			return progressed, err
		}
		got.generation = w.generation
		f.count(got)
		if len(got.batches) == 0 && after == next {
			got.release()
			continue
		}
		select {
		case f.cs.fetched <- got:
			next, progressed = after, true
			f.advance(w.generation, after)
		case <-ctx.Done():
			got.release() // fetched again
			return progressed, context.Cause(ctx)
		}
	}
}

// count enters an answer in the books of credit.
func (f *fetcher) count(got *fetched) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if got.generation == f.mu.generation {
		f.mu.received += got.bytes
		f.mu.unread += got.bytes
	}
}

// advance notes what has been handed over, unless the user went elsewhere.
func (f *fetcher) advance(generation int, next int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if generation == f.mu.generation {
		f.mu.next = next
	}
}

// check cuts an answer into batches and makes sure that no offset is missing.
// after is the offset that follows the last one.
func (f *fetcher) check(frame *pullFrame, next int64) (got *fetched, after int64, err error) {
	got = &fetched{from: f, bytes: int64(len(frame.batches))}
	infos := frame.GetInfos()
	for rest := frame.batches; len(rest) > 0; {
		var h batch.Header
		var b []byte
		h, b, rest, err = batch.Next(rest)
		if err != nil {
			return nil, 0, &Error{
				Code: CodeInvalidBatch, cause: err,
				Message: fmt.Sprintf("%s/%d: answer for offset %d cannot be read", f.cs.cfg.Topic, f.queue, next),
			}
		}
		if len(infos) == 0 {
			return nil, 0, errorf(CodeInvalidBatch, "%s/%d: answer for offset %d has more batches than it describes", f.cs.cfg.Topic, f.queue, next)
		}
		info := infos[0]
		infos = infos[1:]
		switch base := info.GetBaseOffset(); {
		case base+int64(h.Count) <= next:
			continue // all of it is known
		case base > next && f.cs.cfg.Filter.none():
			return nil, 0, errorf(CodeSkipped, "%s/%d: offsets %d to %d are missing in what the broker sent", f.cs.cfg.Topic, f.queue, next, base-1)
		default:
			next = base + int64(h.Count)
		}
		got.infos = append(got.infos, info)
		got.batches = append(got.batches, b)
	}
	got.after, err = f.skipped(frame, next)
	return got, got.after, err
}
