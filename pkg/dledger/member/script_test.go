package member

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestScripts runs the rule scripts: one file in testdata for each rule of the
// protocol. A script drives a whole group by hand, message by message; what the
// members do is printed as a transcript. The commands are described in
// testdata/README.md. After a deliberate change of the protocol run the test with
// -rewrite and read the difference.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			g := &group{}
			datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
				return g.run(t, d)
			})
		})
	}
}

// epoch is when every script begins.
var epoch = time.Unix(1_000_000_000, 0)

// group is the members of a script, their disks and the network between them.
type group struct {
	ids    []ID
	nodes  map[ID]*node
	net    []Message // in the order of sending
	saved  map[string]Message
	now    time.Time
	out    strings.Builder
	groups bodies
}

// node is one member with the disk of its shell.
type node struct {
	cfg     Config
	member  *Member // nil while it is down
	ballot  Ballot
	ledger  Ledger // as written; durable up to the index below
	durable Index
	epoch   uint64 // truncations carried out
	commit  Index
	lives   int        // data directories so far
	writing *Persisted // a write that has begun
}

// constant is a source of chance that always says the same, so that a script
// knows how long everything takes.
type constant float64

func (c constant) Uint64() uint64 { return uint64(float64(c)*math.Pow(2, 63))<<1 | 1 }

func (g *group) run(t *testing.T, d *datadriven.TestData) (out string) {
	t.Helper()
	g.out.Reset()
	defer func() {
		if r := recover(); r != nil {
			out = g.out.String() + fmt.Sprintf("PANIC %v\n", r)
		}
	}()
	command, ok := commands[d.Cmd]
	if !ok {
		d.Fatalf(t, "no such command")
	}
	command(g, t, d)
	if g.out.Len() == 0 {
		return "ok\n"
	}
	return g.out.String()
}

func (g *group) printf(format string, args ...any) { fmt.Fprintf(&g.out, format+"\n", args...) }

// words are the arguments without "=", args those with it.
func words(d *datadriven.TestData) (words []string, args map[string]string) {
	args = map[string]string{}
	for _, a := range d.CmdArgs {
		switch len(a.Vals) {
		case 0:
			words = append(words, a.Key)
		default:
			args[a.Key] = strings.Join(a.Vals, ",")
		}
	}
	return words, args
}

func number(t *testing.T, d *datadriven.TestData, s string, missing int64) int64 {
	t.Helper()
	if s == "" {
		return missing
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	return n
}

// position reads "index/term".
func position(t *testing.T, d *datadriven.TestData, s string) (Index, Term) {
	t.Helper()
	if s == "" {
		return NoIndex, NoTerm
	}
	index, term, _ := strings.Cut(s, "/")
	return Index(number(t, d, index, -1)), Term(number(t, d, term, -1))
}

// runs reads "1x3,2x2": three entries of term 1, then two of term 2.
func runs(t *testing.T, d *datadriven.TestData, first Index, s string) ([]Run, Index) {
	t.Helper()
	var out []Run
	next := first
	for part := range strings.SplitSeq(s, ",") {
		if part == "" {
			continue
		}
		term, count, _ := strings.Cut(part, "x")
		out = append(out, Run{First: next, Term: Term(number(t, d, term, 0))})
		next += Index(number(t, d, count, 1))
	}
	return out, next - 1
}

func duration(t *testing.T, d *datadriven.TestData, s string) time.Duration {
	t.Helper()
	if s == "" {
		return 0
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	return v
}

func (g *group) node(t *testing.T, d *datadriven.TestData, id string) *node {
	t.Helper()
	n, ok := g.nodes[ID(id)]
	if !ok {
		d.Fatalf(t, "no member %q", id)
	}
	return n
}

func (n *node) start(t *testing.T, d *datadriven.TestData, now time.Time) {
	t.Helper()
	m, err := New(n.cfg, now, n.ballot, n.ledger)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	n.member, n.epoch, n.writing, n.durable, n.commit = m, 0, nil, n.ledger.End(), n.ledger.Begin()-1
	m.Take() // the start itself is the same everywhere
}

// step makes ev happen to a member and carries out what it asks.
func (g *group) step(id ID, ev Event) {
	n := g.nodes[id]
	if n == nil || n.member == nil {
		return
	}
	n.member.Step(g.now, g.groups.fill(ev))
	g.carryOut(id, n)
}

// carryOut is the shell: it does what the member asks in the order of Update's
// fields, and writes it down.
func (g *group) carryOut(id ID, n *node) {
	u := n.member.Take()
	if u.Ballot != nil {
		proven := ""
		if u.Ballot.Proven && !n.ballot.Proven {
			proven = " PROVEN"
		}
		n.ballot = *u.Ballot
		g.printf("%s saves ballot term=%d votedFor=%s%s", id, u.Ballot.Term, name(u.Ballot.VotedFor), proven)
	}
	g.groups.keep(u.Changed)
	if u.Truncate != nil {
		n.ledger.truncateFrom(*u.Truncate)
		n.durable = min(n.durable, n.ledger.End())
		n.epoch++
		g.printf("%s truncates from %d", id, *u.Truncate)
	}
	if u.Changes != nil {
		n.cfg.Changes = u.Changes
		g.printf("%s saves groups%s", id, changesText(u.Changes))
	}
	for _, s := range u.Append {
		if s.First != n.ledger.End()+1 {
			panic(fmt.Sprintf("append %+v at end %d", s, n.ledger.End()))
		}
		n.ledger.append(s.Term, s.Last-s.First+1)
		noop := ""
		if s.Noop {
			noop = " NOOP"
		}
		if s.Change {
			noop = " CONFIG_CHANGE"
		}
		g.printf("%s writes %s%s", id, span(s.First, s.Last, s.Term), noop)
	}
	for _, a := range u.Answers {
		g.printf("%s answers proposal: %v %s", id, a.Code, span(a.First, a.Last, a.Term))
	}
	for _, a := range u.Changed {
		g.printf("%s answers change: %v", id, a.Code)
	}
	if u.Peers != nil {
		g.printf("%s talks to%s", id, seatsText(u.Peers))
	}
	for _, msg := range u.Send {
		g.net = append(g.net, msg)
		g.printf("  %s", describe(msg))
	}
	if status := n.member.Status(); u.Commit != status.Commit {
		panic("commit of update and status differ")
	}
	if n.commit != u.Commit {
		n.commit = u.Commit
		g.printf("%s commits up to %d", id, u.Commit)
	}
	if u.Role != nil {
		g.printf("%s is %v term=%d leader=%s (%s)", id, u.Role.Role, u.Role.Term, name(u.Role.Leader), u.Role.Reason)
	}
	for _, a := range u.Transfers {
		g.printf("%s ends transfer to %s: %v", id, name(a.To), a.Code)
	}
}

func name(id ID) string {
	if id == "" {
		return "-"
	}
	return string(id)
}

func span(first, last Index, term Term) string {
	if first == last {
		return fmt.Sprintf("%d/%d", first, term)
	}
	return fmt.Sprintf("%d..%d/%d", first, last, term)
}

// describe writes a message as one line of a transcript. Positions are written
// index/term.
func describe(msg Message) string {
	route := msg.Route()
	head := fmt.Sprintf("%s->%s ", name(route.From), name(route.To))
	switch r := msg.(type) {
	case VoteRequest:
		if r.Unproven {
			return head + "FRESH?"
		}
		kind := "VOTE"
		if r.PreVote {
			kind = "PREVOTE"
		}
		if r.Transfer {
			kind += "(transfer)"
		}
		return head + fmt.Sprintf("%s term=%d end=%d/%d", kind, r.Term, r.LedgerEndIndex, r.LedgerEndTerm)
	case VoteResponse:
		if r.RequestTerm == 0 {
			return head + fmt.Sprintf("fresh=%v", r.Fresh)
		}
		kind := "vote"
		if r.PreVote {
			kind = "prevote"
		}
		return head + fmt.Sprintf("%s %v term=%d", kind, r.Result, r.Term)
	case HeartBeatRequest:
		s := fmt.Sprintf("HEARTBEAT term=%d commit=%d", r.Term, r.Commit)
		if r.Proves != "" {
			s += fmt.Sprintf(" PROVES %s by %d", r.Proves, r.ProofIndex)
		}
		return head + s
	case HeartBeatResponse:
		return head + fmt.Sprintf("heartbeat %v term=%d durable=%d/%d", r.Code, r.Term, r.DurableIndex, r.DurableTerm) + mark(r.Unproven)
	case PushRequest:
		s := fmt.Sprintf("%v term=%d prev=%d/%d", r.Type, r.Term, r.PrevIndex, r.PrevTerm)
		if r.Type == Truncate {
			s += fmt.Sprintf(" first=%d/%d", r.First, r.FirstTerm)
		}
		if r.Type == Append {
			s += " entries="
			for i, run := range r.Runs {
				last := r.Last
				if i+1 < len(r.Runs) {
					last = r.Runs[i+1].First - 1
				}
				s += span(run.First, last, run.Term) + ","
			}
			s = strings.TrimSuffix(s, ",")
		}
		return head + s + fmt.Sprintf(" commit=%d", r.Commit)
	case PushResponse:
		s := fmt.Sprintf("%s %v term=%d durable=%d/%d end=%d", strings.ToLower(r.Type.String()), r.Code, r.Term, r.DurableIndex, r.DurableTerm, r.EndIndex)
		if r.Code == InconsistentState {
			s += fmt.Sprintf(" prev=%d x=%d/%d", r.PrevIndex, r.XIndex, r.XTerm)
		}
		return head + s + mark(r.Unproven)
	case TransferRequest:
		return head + fmt.Sprintf("TRANSFER term=%d end=%d", r.Term, r.LedgerEndIndex)
	case TransferResponse:
		return head + fmt.Sprintf("transfer %v term=%d", r.Code, r.Term)
	}
	return head + fmt.Sprintf("%+v", msg)
}

func mark(unproven bool) string {
	if unproven {
		return " UNPROVEN"
	}
	return ""
}

func (g *group) sortedIDs() []ID { return slices.Sorted(slices.Values(g.ids)) }

func newRand(chance float64) *rand.Rand { return rand.New(constant(chance)) }
