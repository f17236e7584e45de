package client

import (
	"errors"
	"math"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// idleProducer has queues of the identities given and nobody who sends; tests take
// the steps of its sessions themselves.
func idleProducer(identities ...uint64) *Producer {
	p := &Producer{
		c: &Client{codec: batch.NewCodec()}, cfg: ProducerConfig{Topic: "t"}.withDefaults(),
		wake: make(chan struct{}, 1),
	}
	p.mu.room.free = 1 << 30
	p.mu.limit, p.mu.frameBytes, p.mu.window = math.MaxInt, maxFrameBytes, unadvised
	for i, id := range identities {
		p.queues = append(p.queues, &outQueue{index: i, id: uint32(i + 1), who: identity{id: id}})
	}
	return p
}

// batchFor makes a batch of one message that no queue holds yet.
func batchFor(t *testing.T, p *Producer, q *outQueue, created time.Time) *outBatch {
	t.Helper()
	b, err := p.newBatchLocked(q, created)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.builder.Append(&batch.Record{Value: []byte("x"), Timestamp: 1}); err != nil {
		t.Fatal(err)
	}
	b.add(1)
	p.mu.buffered++
	return b
}

// sendAll gathers and seals one frame.
func sendAll(t *testing.T, s *session) []*outBatch {
	t.Helper()
	batches, _, err := s.gather(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(batches) > 0 {
		if _, err := s.seal(uint64(len(s.frames)+1), batches); err != nil {
			t.Fatal(err)
		}
	}
	return batches
}

// TestSmallBatchesWaitForAnAnswer: while two frames are under way, a batch grows that is not
// full, and a full one is sent.
func TestSmallBatchesWaitForAnAnswer(t *testing.T) {
	p := idleProducer(7)
	q, s := p.queues[0], &session{p: p}
	for range eagerFrames {
		q.open = batchFor(t, p, q, time.Now())
		if len(sendAll(t, s)) != 1 {
			t.Fatal("a batch waits for nothing")
		}
	}
	full, small := batchFor(t, p, q, time.Now()), batchFor(t, p, q, time.Now())
	q.open = small
	if sent, wait, _ := s.gather(time.Now()); len(sent) != 0 || wait != forever {
		t.Fatalf("%d batches in a third frame, or soon: %v", len(sent), wait)
	}
	q.full = append(q.full, full)
	if sent := sendAll(t, s); len(sent) != 1 || sent[0] != full {
		t.Fatalf("the full one was to be sent, not %v", sent)
	}
	s.frames = s.frames[1:]
	if len(sendAll(t, s)) != 0 {
		t.Fatal("two frames are under way still")
	}
	s.frames = s.frames[1:]
	if sent := sendAll(t, s); len(sent) != 1 || sent[0] != small {
		t.Fatalf("the small one was to be sent, not %v", sent)
	}
}

// TestColdQueueBesideAHotOne: a batch that is not full waits no longer than for what was under way when
// it was begun, though full ones of another queue are under way all the time.
func TestColdQueueBesideAHotOne(t *testing.T) {
	p := idleProducer(7, 8)
	s := &session{p: p}
	s.begin()
	p.mu.window = window{bytes: math.MaxInt, piece: math.MaxInt}
	cold := 0
	for range 100 {
		for len(p.queues[0].full) < 2 {
			p.queues[0].full = append(p.queues[0].full, batchOf(t, p, p.queues[0], maxFrameBytes))
		}
		if p.queues[1].open == nil {
			p.queues[1].open = batchFor(t, p, p.queues[1], time.Now())
		}
		for got := sendAll(t, s); len(got) > 0; got = sendAll(t, s) {
			for _, b := range got {
				cold += b.queue
			}
		}
		answerFirst(t, s, 0)
	}
	if cold < 10 {
		t.Errorf("%d batches of the cold queue were sent while 100 frames were answered", cold)
	}
}

// TestLostIdentityIsNotUsedAgain: a batch that was numbered but not sent before its
// queue lost its identity must not go out under it.
func TestLostIdentityIsNotUsedAgain(t *testing.T) {
	p := idleProducer(7, 0) // queue 1 lost its identity in the last session
	q0, q1 := p.queues[0], p.queues[1]
	now := time.Now()
	old := batchFor(t, p, q0, now.Add(-2*time.Minute))
	q0.number(old)
	q0.flight, old.tries, old.maybe = []*outBatch{old}, 1, true
	if err := p.seal(old); err != nil {
		t.Fatal(err)
	}
	next := batchFor(t, p, q0, now)
	q0.open, q1.open = next, batchFor(t, p, q1, now)
	s := &session{p: p}
	_, _, err := s.gather(now)
	if !errors.Is(err, errRenumber) || len(q0.flight) != 2 {
		t.Fatalf("gather: %v, %d batches in flight", err, len(q0.flight))
	}
	s.conclude()

	q1.who = identity{id: 8}
	p.renumber()
	p.sweep(now.Add(time.Second), nil) // old runs out of time, and may be stored
	if got, _, err := (&session{p: p}).gather(now); !errors.Is(err, errRenumber) {
		t.Errorf("sends %d batches, the first under producer %d (%v), want errRenumber", len(got), next.who.id, err)
	}
}

// TestDoubtKeepsItsIdentity: a refusal of one batch must not renumber one before
// it that may be stored already.
func TestDoubtKeepsItsIdentity(t *testing.T) {
	p := idleProducer(7)
	q := p.queues[0]
	first, second := batchFor(t, p, q, time.Now()), batchFor(t, p, q, time.Now())
	q.full = []*outBatch{first, second}
	s := &session{p: p}
	if len(sendAll(t, s)) != 2 {
		t.Fatal("not both are sent")
	}
	p.mu.Lock()
	first.waiting, second.waiting = false, false
	_ = s.judgeLocked(first, &Error{Code: CodeLeadershipLost, Indefinite: true})
	_ = s.judgeLocked(second, &Error{Code: CodeMessageTooLarge})
	p.mu.Unlock()
	s.conclude()
	if first.who.id != 7 || q.who.id != 7 || second.err != nil {
		t.Fatalf("queue has identity %d, the first batch %d, the second is settled: %v", q.who.id, first.who.id, second.err)
	}
	// The next leader says that the first one is stored, and refuses the second again.
	s = &session{p: p}
	sendAll(t, s)
	p.mu.Lock()
	first.waiting, second.waiting = false, false
	q.remove(first)
	_ = s.judgeLocked(second, &Error{Code: CodeMessageTooLarge})
	p.mu.Unlock()
	s.conclude()
	if !errors.Is(second.err, ErrMessageTooLarge) || asError(second.err).Indefinite {
		t.Errorf("second batch: %v", second.err)
	}
}

// TestDefiniteStatusClearsDoubt: a broker answers all that it proposed before it
// ends a stream with a definite status, so nothing of the rest is stored.
func TestDefiniteStatusClearsDoubt(t *testing.T) {
	tooLarge := status.Error(codes.ResourceExhausted, "grpc: received message larger than max (9437184 vs. 8454144)")
	for name, tc := range map[string]struct {
		ending error
		maybe  bool // of what was sent
		gone   bool // the first batch is condemned
	}{
		"gRPC's own limit":   {tooLarge, true, false}, // neither is above it: what became of them is not said
		"broker's limit":     {codeError(codes.InvalidArgument, CodeMessageTooLarge, map[string]string{"outcome": "definite"}), false, true},
		"definite refusal":   {codeError(codes.Unavailable, CodeNotLeader, map[string]string{"outcome": "definite"}), false, false},
		"indefinite refusal": {codeError(codes.Unavailable, CodeLeadershipLost, map[string]string{"outcome": "indefinite"}), true, false},
		"broken connection":  {errCut, true, false},
		"client is closed":   {errClientClosed, true, false},
	} {
		p := idleProducer(7)
		q := p.queues[0]
		first, second := batchFor(t, p, q, time.Now()), batchFor(t, p, q, time.Now())
		s := &session{p: p}
		for _, b := range []*outBatch{first, second} {
			q.full = []*outBatch{b}
			sendAll(t, s)
		}
		s.ending = fromStatus(tc.ending)
		s.conclude()
		if gone := first.err != nil; gone != tc.gone || gone && asError(first.err).Indefinite {
			t.Errorf("%s: first batch: %v", name, first.err)
		}
		if second.err != nil || second.maybe != tc.maybe {
			t.Errorf("%s: second batch: maybe %v, error %v", name, second.maybe, second.err)
		}
	}
}

// TestTooLargeFrameIsTakenApart: a status does not say which batch was meant.
func TestTooLargeFrameIsTakenApart(t *testing.T) {
	p := idleProducer(7)
	q := p.queues[0]
	first, second := batchFor(t, p, q, time.Now()), batchFor(t, p, q, time.Now())
	q.full = []*outBatch{first, second}
	s := &session{p: p}
	sendAll(t, s)
	s.ending = &Error{Code: CodeMessageTooLarge, definite: true}
	s.conclude()
	if first.err != nil || second.err != nil {
		t.Fatalf("condemned: %v, %v", first.err, second.err)
	}
	s = &session{p: p}
	for range 2 {
		if got := sendAll(t, s); len(got) != 1 {
			t.Errorf("%d batches share a frame again", len(got))
		}
		stored := &brokerv1.PublishStreamResponse{Frame: s.frames[0].number, Results: []*brokerv1.BatchResult{{}}}
		if err := s.answer(stored, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if want := (first.load + second.load) / 2; p.mu.apart != 0 || p.mu.frameBytes != want {
		t.Errorf("later frames have %d bytes, want %d, and %d one batch each", p.mu.frameBytes, want, p.mu.apart)
	}
	q.full = []*outBatch{batchFor(t, p, q, time.Now()), batchFor(t, p, q, time.Now())}
	p.mu.frameBytes = maxFrameBytes
	if got := sendAll(t, s); len(got) != 2 {
		t.Errorf("%d batches in a frame, want both", len(got))
	}
}

// TestBuildersOfAnOldBound: what was begun before the topic's bound was made lower must not
// leave its room to the batches that are begun after.
func TestBuildersOfAnOldBound(t *testing.T) {
	p := idleProducer(7)
	q := p.queues[0]
	q.full = []*outBatch{batchFor(t, p, q, time.Now())}
	const limit = 2000
	if !p.adopt(&Topic{Settings: TopicSettings{MaxMessageBytes: limit}, queueIDs: []uint32{1}}) {
		t.Fatal("nothing has changed")
	}
	sendAll(t, &session{p: p}) // and its builder is free
	b := batchFor(t, p, q, time.Now())
	var err error
	for err == nil {
		err = b.builder.Append(&batch.Record{Value: make([]byte, 100), Timestamp: 1})
	}
	if got := b.builder.Size() - batch.HeaderBytes; !errors.Is(err, batch.ErrFull) || got > limit {
		t.Errorf("a batch of %d bytes for a topic that takes %d: %v", got, limit, err)
	}
}
