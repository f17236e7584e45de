package client

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// groupMember keeps the membership of a GroupConsumer alive: it joins, beats, watches the
// assignment and commits what is finished, whatever the user's goroutine does meanwhile.
type groupMember struct {
	c       *Client
	cfg     GroupConfig
	news    chan struct{} // capacity 1: there is an assignment, or an error
	due     chan struct{} // capacity 1: a beat should go out
	stopped chan struct{} // closed when run has returned

	mu struct {
		sync.Mutex
		session    string
		interval   time.Duration
		assignment *brokerv1.Assignment // the newest of the session
		followed   int64                // version that the user's goroutine follows
		owned      map[int]ownedQueue   // by queue number: what it reads
		failed     error
	}
}

// ownedQueue is a queue that this consumer reads.
type ownedQueue struct {
	id        uint32
	epoch     uint64
	finished  int64 // next offset after what the user has finished
	committed int64 // what need not be sent again
	stored    int64 // what is known to be stored
}

// errRejoin ends a session that the leader does not know.
var errRejoin = errors.New("the session is to be made anew")

// shortSession is how long a session lasts at least in peace.
const shortSession = time.Second

// run holds one session after the other until ctx is done.
func (m *groupMember) run(ctx context.Context) error {
	defer close(m.stopped)
	pace := pacer{}
	for ctx.Err() == nil {
		r := m.c.router.route()
		err := m.join(ctx)
		began := time.Now()
		if err == nil {
			err = m.hold(ctx)
		}
		lasted := time.Since(began)
		if lasted >= shortSession {
			pace = pacer{}
		}
		if errors.Is(err, errRejoin) || ctx.Err() != nil {
			if lasted < shortSession { // another consumer has our name, or leaders come and go
				pace.pause(ctx, r, nil)
			}
			continue
		}
		var e *Error // else a request ran out of its time
		if errors.As(err, &e) && !transient(e.Code) && e.Code != CodeLimitExceeded && e.Code != CodeTopicDeleted {
			m.fail(e)
			return nil
		}
		pace.pause(ctx, r, nil)
	}
	return nil
}

func (m *groupMember) fail(err error) {
	m.mu.Lock()
	m.mu.failed = err
	m.mu.Unlock()
	notify(m.news)
}

// call makes one request to the group service.
func (m *groupMember) call(ctx context.Context, do func(context.Context, brokerv1.GroupServiceClient) error) error {
	return m.c.invoke(ctx, harmless, func(ctx context.Context, cc grpc.ClientConnInterface) error {
		return do(ctx, brokerv1.NewGroupServiceClient(cc))
	})
}

// join makes a session, with what is owned by an earlier one.
func (m *groupMember) join(ctx context.Context) error {
	req := &brokerv1.JoinRequest{
		Group: m.cfg.Group, Member: m.cfg.Member, Topics: []string{m.cfg.Topic},
		Assignment: brokerv1.GroupAssignment(m.cfg.Assignment), Start: m.cfg.From.message(), Owned: m.claims(),
	}
	for _, q := range m.cfg.Queues {
		req.StaticQueues = append(req.StaticQueues, &brokerv1.TopicQueue{Topic: m.cfg.Topic, Queue: uint32(q)})
	}
	var resp *brokerv1.JoinResponse
	err := m.call(ctx, func(ctx context.Context, s brokerv1.GroupServiceClient) (err error) {
		resp, err = s.Join(ctx, req)
		return err
	})
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.mu.session, m.mu.interval = resp.GetSession(), interval(resp.GetHeartbeatIntervalMs())
	m.mu.assignment, m.mu.followed = resp.GetAssignment(), 0
	m.mu.Unlock()
	notify(m.news)
	return nil
}

func interval(ms int64) time.Duration {
	return max(time.Duration(ms)*time.Millisecond, 10*time.Millisecond)
}

// claims are the queues that this member reads, and those that it was given and has not
// come to read: a next leader knows neither.
func (m *groupMember) claims() []*brokerv1.OwnedQueue {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.assignment.GetBroadcast() {
		return nil
	}
	epochs := make(map[uint32]uint64)
	for _, q := range m.mu.owned {
		epochs[q.id] = q.epoch
	}
	for _, q := range m.mu.assignment.GetQueues() {
		epochs[q.GetQueueId()] = max(epochs[q.GetQueueId()], q.GetEpoch())
	}
	var claims []*brokerv1.OwnedQueue
	for _, id := range slices.Sorted(maps.Keys(epochs)) {
		claims = append(claims, &brokerv1.OwnedQueue{QueueId: id, Epoch: epochs[id]})
	}
	return claims
}

// hold keeps a session until it is not known any more or ctx is done.
func (m *groupMember) hold(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.watch(gctx) })
	g.Go(func() error { return m.beat(gctx) })
	g.Go(func() error { return m.commitNowAndThen(gctx) })
	return g.Wait()
}

// watch follows the assignment at whoever leads. What it misses, a beat brings.
func (m *groupMember) watch(ctx context.Context) error {
	pace := pacer{}
	for ctx.Err() == nil {
		r := m.c.router.route()
		heard, err := m.watchOnce(ctx, r)
		if CodeOf(err) == CodeUnknownSession {
			return errRejoin
		}
		if heard {
			pace = pacer{}
		}
		m.c.router.hint(r, r.leader, asError(err))
		pace.pause(ctx, r, nil)
	}
	return ctx.Err()
}

func (m *groupMember) watchOnce(ctx context.Context, r *route) (heard bool, err error) {
	if r.leader == nil {
		return false, errLeaderless
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.leading, func() { cancel(errLeaderMoved) })()
	session, _ := m.place()
	stream, err := brokerv1.NewGroupServiceClient(r.leader.conn).Watch(ctx, &brokerv1.WatchRequest{Session: session})
	for err == nil {
		var resp *brokerv1.WatchResponse
		if resp, err = stream.Recv(); err == nil {
			heard = true
			m.deliver(session, resp.GetAssignment())
		}
	}
	return heard, fromRPC(ctx, err)
}

// place is the session and the version that is followed.
func (m *groupMember) place() (session string, followed int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.session, m.mu.followed
}

// deliver hands an assignment to the user's goroutine, unless it is an old one.
func (m *groupMember) deliver(session string, a *brokerv1.Assignment) {
	m.mu.Lock()
	newer := session == m.mu.session && a.GetVersion() > m.mu.assignment.GetVersion()
	if newer {
		m.mu.assignment = a
	}
	m.mu.Unlock()
	if newer {
		notify(m.news)
	}
}

// beat tells the leader that this member is alive, and which version it follows.
func (m *groupMember) beat(ctx context.Context) error {
	for {
		m.mu.Lock()
		timer := time.NewTimer(m.mu.interval)
		m.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-m.due:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		session, followed := m.place()
		var resp *brokerv1.HeartbeatResponse
		err := m.call(ctx, func(ctx context.Context, s brokerv1.GroupServiceClient) (err error) {
			resp, err = s.Heartbeat(ctx, &brokerv1.HeartbeatRequest{Session: session, Version: followed})
			return err
		})
		switch {
		case CodeOf(err) == CodeUnknownSession:
			return errRejoin
		case err != nil:
			continue // the next one may be heard
		}
		m.mu.Lock()
		m.mu.interval = interval(resp.GetHeartbeatIntervalMs())
		m.mu.Unlock()
		if a := resp.GetAssignment(); a != nil {
			m.deliver(session, a)
		}
	}
}

// commitNowAndThen commits what is finished.
func (m *groupMember) commitNowAndThen(ctx context.Context) error {
	tick := time.NewTicker(m.cfg.CommitEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			_ = m.commit(ctx) // what is not committed is tried again
		}
	}
}

// commit stores what is finished. Queues that others own by now are left out of the
// error: what they do with them is theirs.
func (m *groupMember) commit(ctx context.Context) error {
	numbers, req := m.finished()
	if len(numbers) == 0 {
		return nil
	}
	var resp *brokerv1.CommitProgressResponse
	err := m.call(ctx, func(ctx context.Context, s brokerv1.GroupServiceClient) (err error) {
		resp, err = s.CommitProgress(ctx, req)
		return err
	})
	if err != nil {
		return err
	}
	var refused error
	for i, result := range resp.GetResults() {
		e := fromDetail(result.GetError())
		m.committed(numbers[i], req.GetCommits()[i], e)
		if e != nil && e.Code != CodeStaleGeneration && e.Code != CodeUnknownQueue {
			refused = errors.Join(refused, e)
		}
	}
	return refused
}

// finished is what there is to commit.
func (m *groupMember) finished() (numbers []int, req *brokerv1.CommitProgressRequest) {
	req = &brokerv1.CommitProgressRequest{Group: m.cfg.Group}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.assignment.GetBroadcast() {
		return nil, req
	}
	for _, number := range slices.Sorted(maps.Keys(m.mu.owned)) {
		if q := m.mu.owned[number]; q.finished > q.committed {
			numbers = append(numbers, number)
			req.Commits = append(req.Commits, &brokerv1.QueueCommit{QueueId: q.id, Epoch: q.epoch, Offset: q.finished})
		}
	}
	return numbers, req
}

// committed notes what became of a commit.
func (m *groupMember) committed(number int, c *brokerv1.QueueCommit, e *Error) {
	m.mu.Lock()
	q, ok := m.mu.owned[number]
	if ok && q.id == c.GetQueueId() && q.epoch == c.GetEpoch() {
		q.committed = max(q.committed, c.GetOffset()) // a refused one is not sent again either
		if e == nil {
			q.stored = max(q.stored, c.GetOffset())
		}
		m.mu.owned[number] = q
	}
	m.mu.Unlock()
	if e != nil {
		notify(m.due) // the assignment is an old one
	}
}

// finish notes that everything below next in a queue is finished.
func (m *groupMember) finish(number int, next int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q, ok := m.mu.owned[number]; ok {
		q.finished = max(q.finished, next)
		m.mu.owned[number] = q
	}
}

// newest is the assignment to follow, and its session; nil if that is done already.
func (m *groupMember) newest() (a *brokerv1.Assignment, session string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a := m.mu.assignment; m.mu.failed == nil && a != nil && a.GetVersion() != m.mu.followed {
		return a, m.mu.session, nil
	}
	return nil, "", m.mu.failed
}

// follow notes that the user's goroutine reads what the assignment says, and nothing else.
// The versions of another session mean nothing to this one.
func (m *groupMember) follow(a *brokerv1.Assignment, session string, owned map[int]ownedQueue) {
	m.mu.Lock()
	m.mu.owned = owned
	if m.mu.session == session {
		m.mu.followed = a.GetVersion()
	}
	m.mu.Unlock()
	notify(m.due)
}

// leave says that this member goes. Where the leader that knew it is gone, the next one
// would keep its queues for it: it comes back once more, under a name that is nobody's, to
// give them up.
func (m *groupMember) leave(ctx context.Context) error {
	session, _ := m.place()
	if session == "" {
		return nil
	}
	err := m.giveUp(ctx, session)
	if CodeOf(err) != CodeUnknownSession {
		return err
	}
	if len(m.claims()) == 0 {
		return nil
	}
	m.cfg.Member = newRequestID()
	if err := m.join(ctx); err != nil {
		return err
	}
	session, _ = m.place()
	if err := m.giveUp(ctx, session); CodeOf(err) != CodeUnknownSession {
		return err
	}
	return nil
}

func (m *groupMember) giveUp(ctx context.Context, session string) error {
	return m.call(ctx, func(ctx context.Context, s brokerv1.GroupServiceClient) error {
		_, err := s.Leave(ctx, &brokerv1.LeaveRequest{Session: session})
		return err
	})
}
