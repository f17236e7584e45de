package dledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/buffer"
	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// Server is this broker's member of its group. doc.go says which goroutine owns
// what.
type Server struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics

	ballot  *ballotFile    // used by the state maintainer only
	members *membersFile   // as ballot
	ledger  *commitlog.Log // safe for concurrent use; written by the state maintainer
	core    core           // owned by the state maintainer
	inbox   chan letter
	pending *pendingAppends

	buffers *buffer.Pool            // of the connections to peers
	peers   atomic.Pointer[peerSet] // written by the state maintainer
	inbound atomic.Int64            // bytes of entries from one peer, at most
	running *errgroup.Group         // of Run; used by the state maintainer, which is one of its goroutines
	runCtx  context.Context         // of running

	status  watched[*Status]
	suspect watched[[]SuspectRange] // written by repairLedger only
	commit  watched[commitlog.Index]

	applied     atomic.Int64              // applied index
	serveFrom   atomic.Int64              // the entry that must be applied before proposals are taken
	nowServing  chan struct{}             // capacity 1: that entry has been applied
	requestID   atomic.Uint64             // of the last request sent
	lastDigest  atomic.Pointer[digest]    // a cache
	duplicateAt atomic.Pointer[time.Time] // when another broker with this id was last heard
	space       spaceWatch
	noSpace     atomic.Pointer[error]     // why the next segment cannot be had; nil: it can
	trouble     atomic.Pointer[string]    // why this member is not fit, for the others to show
	syncBegan   atomic.Pointer[time.Time] // of the sync that runs; nil: none
	syncTimes   syncTimes
	lastSync    atomic.Int64 // duration in ns
	ledTerm     atomic.Int64 // the term that this member leads; NoTerm: none
	baseEpoch   uint64       // truncations of the log before the member was made
	complaints  complaints
	group       atomic.Pointer[groupName] // written by the state maintainer
	fenced      atomic.Bool               // this member was given up
	unfit       atomic.Bool               // its owner says so
	hindered    atomic.Bool               // see Hindered
	outcast     atomic.Pointer[outcast]   // why this member seems not to be in the group; nil: it does not

	life      context.Context // done when the server stops
	stop      context.CancelFunc
	stopping  <-chan struct{} // closed with life
	started   atomic.Bool     // Run was called
	runDone   chan struct{}   // closed when it has returned
	closeOnce sync.Once
	closeErr  error
	abandoned atomic.Bool
}

// Open opens the ballot and the commit log in cfg.Dir. It refuses to start on a
// ballot that is lost or not this log's, and on a log that is damaged beyond what
// peers can repair.
func Open(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	owner := ballotOwner{clusterID: cfg.ClusterID, group: cfg.Group, id: cfg.ID}
	ballot, err := openOrCreateBallot(cfg.Dir, cfg.Fresh, owner)
	if err != nil {
		return nil, err
	}
	if ballot.torn != nil {
		cfg.Logger.Warn("ballot file: one slot is damaged, as a crash during a write leaves it; the other one counts",
			"path", ballot.path, "err", ballot.torn, "term", int64(ballot.load().Term))
	}
	if err := refuseLostLog(cfg, ballot); err != nil {
		return nil, errors.Join(err, ballot.close())
	}
	members, err := openMembers(commitlog.OSFS(), cfg, ballot)
	if err == nil {
		err = ballot.upgrade() // only now that the file is there
	}
	if err == nil {
		err = ballot.mirror()
	}
	if err != nil {
		return nil, errors.Join(err, ballot.close())
	}
	ledger, err := openLedger(cfg, members.record.group())
	if err != nil {
		return nil, errors.Join(err, ballot.close())
	}
	s := newServer(cfg, ballot, members, ledger)
	if err := s.assemble(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// logConfig is what the commit log is told.
func logConfig(cfg Config) commitlog.Config {
	lc := cfg.Log
	lc.Dir = filepath.Join(cfg.Dir, logDirName)
	lc.ClusterID, lc.Group, lc.MemberID = cfg.ClusterID, cfg.Group, string(cfg.ID)
	lc.Logger, lc.Registerer = cfg.Logger, cfg.Registerer
	return lc
}

// openLedger opens the log. In a group of more than one what is damaged can be had
// from the others.
func openLedger(cfg Config, group member.Members) (*commitlog.Log, error) {
	lc := logConfig(cfg)
	lc.TolerateDamage = slices.ContainsFunc(group, func(s member.Seat) bool { return s.ID != cfg.ID })
	lc.ReadAll = cfg.ScrubRate <= 0 // what is not scrubbed later is read now
	ledger, err := commitlog.Open(lc)
	if err != nil {
		return nil, fmt.Errorf("open commit log: %w", err)
	}
	return ledger, nil
}

func newServer(cfg Config, ballot *ballotFile, members *membersFile, ledger *commitlog.Log) *Server {
	s := &Server{
		cfg: cfg, log: cfg.Logger, ballot: ballot, members: members, ledger: ledger,
		inbox:      make(chan letter, inboxSize),
		pending:    newPendingAppends(cfg.MaxPendingProposals, cfg.MaxPendingBytes),
		buffers:    buffer.NewPool(),
		nowServing: make(chan struct{}, 1),
		runDone:    make(chan struct{}),
		space:      newSpaceWatch(),
		baseEpoch:  ledger.Epoch(),
	}
	s.peers.Store(&peerSet{})
	s.life, s.stop = context.WithCancel(context.Background())
	s.stopping = s.life.Done()
	s.serveFrom.Store(maxIndex)
	s.ledTerm.Store(int64(member.NoTerm))
	s.applied.Store(int64(commitlog.NoIndex))
	s.commit.init(commitlog.NoIndex)
	s.suspect.init(suspectRanges(ledger.Faulty(), nil))
	s.status.init(&Status{ID: cfg.ID, Commit: commitlog.NoIndex, Applied: commitlog.NoIndex})
	return s
}

// assemble makes the peers and the member.
func (s *Server) assemble() error {
	s.metrics = newMetrics(s.cfg.Registerer)
	s.noteGroup()
	if err := s.refuseHalfRecovered(); err != nil {
		return err
	}
	s.rememberGivenUp()
	mc := s.cfg.Member
	mc.Joining, mc.Changes = s.cfg.Joining, s.members.record.changes
	mc.ID, mc.Members, mc.Incarnation = s.cfg.ID, s.cfg.members(), member.Incarnation(s.cfg.Incarnation)
	mc.Barred = mc.Barred || len(s.ledger.Faulty()) > 0 || s.fenced.Load()
	if mc.Rand == nil {
		mc.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	m, err := member.New(mc, time.Now(), s.ballot.load(), ledgerOutline(s.ledger))
	if err != nil {
		return fmt.Errorf("dledger: %w", err)
	}
	if err := s.followMembers(m.Status().Members); err != nil {
		return err
	}
	s.warnOfOtherPeers(m.Status().Members)
	s.core = core{
		member: m, writer: ledgerWriter{log: s.ledger}, replies: make(replySlots), noop: member.NoIndex,
		failover: failover{observe: s.metrics.failoverPhase},
	}
	first := s.describe(m.Status())
	s.logStanding(&Status{}, first)
	s.status.init(first)
	return nil
}

// ledgerOutline is what the member needs to know of the log.
func ledgerOutline(l *commitlog.Log) member.Ledger {
	runs := l.Runs()
	outline := make([]member.Run, len(runs))
	for i, r := range runs {
		outline[i] = member.Run{First: memberIndex(r.First), Term: member.Term(r.Term)}
	}
	end, _ := l.End()
	return member.NewLedger(memberIndex(l.Begin()), member.Term(l.PrevTerm()), outline, memberIndex(end))
}

// Run is the life of the member. It returns nil when ctx is done or the server is
// closed, and an error when the disk failed or an invariant broke: then the
// process must end, and somebody else will lead. It is called once.
func (s *Server) Run(ctx context.Context) error {
	if s.started.Swap(true) {
		return errors.New("dledger: Run was called before")
	}
	defer close(s.runDone)
	if s.life.Err() != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { // whichever ends first, Run or the server, ends the other
		select {
		case <-ctx.Done():
		case <-s.stopping:
		}
		s.stop()
		cancel()
		return nil
	})
	s.running, s.runCtx = g, ctx
	for _, p := range s.peerList() {
		g.Go(func() error { return s.runPeer(ctx, p) })
	}
	g.Go(func() error { return s.maintainState(ctx) })
	g.Go(func() error { return s.syncLedger(ctx) })
	g.Go(func() error { return s.prepareSegments(ctx) })
	g.Go(func() error { return s.repairLedger(ctx) })
	g.Go(func() error { return s.scrubLedger(ctx) })
	err := g.Wait()
	s.failPending()
	if s.abandoned.Load() {
		return nil // its files were taken from under it on purpose
	}
	return err
}

// failPending ends what is still pending when nobody can complete it any more.
func (s *Server) failPending() {
	s.pending.close(
		s.refusal(CodeShuttingDown, "this broker is stopping; try another one"),
		s.refusal(CodeLeadershipLost, "this broker stopped before the entries were applied; they may be committed or not"))
}

// Close ends Run, waits for it, and closes the files: everything appended is
// durable afterwards. A leader should transfer its leadership before.
func (s *Server) Close() error {
	return s.shut(func() error { return errors.Join(s.ledger.Close(), s.ballot.settle()) })
}

// Abandon ends the member as kill -9 would: connections are cut and nothing is
// flushed.
func (s *Server) Abandon() {
	s.abandoned.Store(true)
	s.ledger.Abandon()
	_ = s.shut(func() error { return nil })
}

func (s *Server) shut(closeLedger func() error) error {
	s.closeOnce.Do(func() {
		s.stop()
		if s.started.Load() {
			<-s.runDone
		}
		s.failPending()
		var errs []error
		for _, p := range s.peerList() {
			errs = append(errs, p.close())
		}
		s.closeErr = errors.Join(append(errs, closeLedger(), s.ballot.close())...)
	})
	return s.closeErr
}
