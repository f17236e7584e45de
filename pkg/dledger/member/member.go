package member

import (
	"fmt"
	"slices"
	"time"
)

// maxTermJump bounds how far a single message may raise the term. A legitimate
// member can never be that far ahead; a broken or hostile one could otherwise
// use up the terms there are.
const maxTermJump Term = 1 << 32

// Member is one member of a group. It is not safe for concurrent use: the shell's
// state maintainer owns it.
type Member struct {
	cfg    Config
	peers  []*peer // the others, in the order of their ids
	now    time.Time
	update Update
	told   RoleChange // the newest one ever put into an update
	before snapshot   // what checkInvariants compares with

	changes   []Change // the group: see membership.go
	isVoter   bool     // this member is one
	voters    int
	settledAt time.Time // when the newest change was seen committed

	ballot       Ballot
	knownMaxTerm Term // the highest term heard of, adopted or not
	role         Role
	leader       ID // of the ballot's term; empty: not known
	fit          bool
	barred       bool // from voting and standing: see Standing
	elder        ID   // a member that is not fresh, heard of by this one, which is: see founding.go
	askAt        time.Time

	ledger   Ledger
	durable  Index  // up to here the ledger is on this member's disk
	epoch    uint64 // truncations asked for so far
	commit   Index
	verified Index // up to here the ledger is known to match that of this term's leader
	acked    Index // the highest durable index told to this term's leader

	heard      hearing
	leaderGone bool      // the connection to the last leader broke and nobody leads yet
	deadline   time.Time // FOLLOWER: the election timeout; CANDIDATE: the end of a round or of the wait for the next

	election election // CANDIDATE only
	noop     Index    // LEADER: the entry that opened this term, else NoIndex
	beatAt   time.Time
	transfer *transfer // a leadership transfer under way
	handedAt time.Time // when leadership was won or last offered to the preferred leader

	lastOutcome VoteOutcome
}

// hearing is the last word of a leader: it makes a member refuse to help anyone
// else to the leadership for one election timeout.
type hearing struct {
	leader ID
	at     time.Time
}

// New makes a member that starts as FOLLOWER and waits for a leader (DLedger starts
// as CANDIDATE at the old term: rocketmq#7620). ballot and ledger are what recovery
// found on disk. It fails if cfg is wrong or the two cannot belong together.
func New(cfg Config, now time.Time, ballot Ballot, ledger Ledger) (*Member, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := ledger.validate(); err != nil {
		return nil, err
	}
	if ballot.Term < 0 || ballot.Term < ledger.EndTerm() {
		return nil, fmt.Errorf("ballot: term %d is below the ledger's last term %d: the ballot is not this ledger's; restore it or wipe the member",
			ballot.Term, ledger.EndTerm())
	}
	ledger.runs = slices.Clone(ledger.runs)
	m := &Member{
		cfg: cfg, now: now, ballot: ballot, knownMaxTerm: ballot.Term, ledger: ledger, durable: ledger.End(),
		commit: ledger.Begin() - 1, verified: ledger.Begin() - 1, acked: NoIndex, noop: NoIndex, fit: true,
		barred: cfg.Barred, askAt: now,
	}
	m.restoreChanges()
	m.becomeFollower("", ReasonStart)
	if m.isVoter && m.voters == 1 {
		m.deadline = now // nobody else could lead
	}
	m.before = m.snapshot()
	return m, nil
}

// Step tells the member that ev has happened. What is to be done about it is
// gathered for Take. now never runs backwards.
func (m *Member) Step(now time.Time, ev Event) {
	if now.After(m.now) {
		m.now = now
	}
	switch ev := ev.(type) {
	case Tick:
		m.maintainState()
	case Receive:
		m.receive(ev.Message)
	case Propose:
		m.handlePropose(ev)
	case Persisted:
		m.handlePersisted(ev)
	case Transfer:
		m.handleTransfer(ev)
	case ChangeMembers:
		m.handleChangeMembers(ev)
	case Connected:
		m.handleConnected(ev)
	case Disconnected:
		m.handleDisconnected(ev)
	case Health:
		m.handleHealth(ev)
	case Standing:
		m.handleStanding(ev)
	}
	m.checkInvariants()
}

func (m *Member) receive(msg Message) {
	switch msg := msg.(type) {
	case VoteRequest:
		m.handleVote(msg)
	case VoteResponse:
		m.handleVoteResponse(msg)
	case HeartBeatRequest:
		m.handleHeartBeat(msg)
	case HeartBeatResponse:
		m.handleHeartBeatResponse(msg)
	case PushRequest:
		m.handlePush(msg)
	case PushResponse:
		m.handlePushResponse(msg)
	case TransferRequest:
		m.handleTransferRequest(msg)
	case TransferResponse:
		m.handleTransferResponse(msg)
	}
}

// Take hands over the work that the events since the last Take have made. The
// caller owns the result.
func (m *Member) Take() Update {
	m.push()
	u := m.update
	u.Commit = m.commit
	m.update = Update{}
	return u
}

// NextDeadline is the time of the first Tick that can change anything.
func (m *Member) NextDeadline() time.Time {
	next := m.deadline
	if m.role == Leader {
		next = earlier(m.beatAt, m.quorumDeadline())
		if m.retiring() && m.transfer == nil {
			next = m.now
		}
	}
	if m.transfer != nil {
		next = earlier(next, m.transfer.deadline)
	}
	if m.mayFound() {
		next = earlier(next, m.askAt)
	}
	return next
}

// Role is what the member is now, Term its ballot's term, Leader that term's
// leader if known. They are cheap: a shell may look at them after every Step.
func (m *Member) Role() Role { return m.role }

// Term is the newest term that the member has entered.
func (m *Member) Term() Term { return m.ballot.Term }

// MayVote says whether this member may vote: it is proven and not barred.
func (m *Member) MayVote() bool { return m.mayVote() }

// Leader is the leader of Term, empty if it is not known.
func (m *Member) Leader() ID { return m.leader }

func (m *Member) send(msg Message) { m.update.Send = append(m.update.Send, msg) }

// quorum is how many voters are a majority.
func (m *Member) quorum() int { return majority(m.voters) }

// own is what this member itself adds to a count of voters.
func (m *Member) own() int {
	if m.isVoter {
		return 1
	}
	return 0
}

// peerOf is the peer with that id, nil if there is none.
func (m *Member) peerOf(id ID) *peer {
	for _, p := range m.peers {
		if p.id == id {
			return p
		}
	}
	return nil
}

// electionTimeout is how long a member trusts a silent leader, and a leader a
// silent quorum.
func (m *Member) electionTimeout() time.Duration {
	return m.cfg.HeartBeatInterval * time.Duration(m.cfg.MaxHeartBeatLeak)
}

// patience is one election timeout to two of them, by chance, so that followers
// do not all run out of it at once.
func (m *Member) patience() time.Duration {
	return m.electionTimeout() + m.chance(m.electionTimeout())
}

// voteInterval is the wait between two vote rounds.
func (m *Member) voteInterval() time.Duration {
	return m.cfg.MinVoteInterval + m.chance(m.cfg.MaxVoteInterval-m.cfg.MinVoteInterval)
}

// chance is a duration from 0 to below limit.
func (m *Member) chance(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return time.Duration(m.cfg.Rand.Int64N(int64(limit)))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
