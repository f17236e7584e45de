package member

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// commands are what a script can say. testdata/README.md explains them.
var commands = map[string]func(*group, *testing.T, *datadriven.TestData){
	"group": cmdGroup, "member": cmdMember, "tick": cmdTick, "deliver": cmdDeliver, "drop": cmdDrop,
	"save": cmdSave, "inject": cmdInject, "settle": cmdSettle, "elect": cmdElect,
	"write": cmdWrite, "persist": cmdPersist, "persisted": cmdPersisted, "propose": cmdPropose, "crash": cmdCrash, "wipe": cmdWipe, "restart": cmdRestart, "purge": cmdPurge,
	"transfer": cmdTransfer, "connect": cmdConnect, "disconnect": cmdDisconnect, "unfit": cmdHealth, "fit": cmdHealth, "bar": cmdStanding, "clear": cmdStanding,
	"forge": cmdForge, "state": cmdState, "ledger": cmdLedger, "peers": cmdPeers, "net": cmdNet,
	"join": cmdJoin, "change": cmdChange, "members": cmdMembers,
	"judge": cmdJudge, "outcome": cmdOutcome,
}

func cmdGroup(g *group, t *testing.T, d *datadriven.TestData) {
	ids, args := words(d)
	*g = group{nodes: map[ID]*node{}, saved: map[string]Message{}, groups: bodies{}, now: epoch}
	fresh := slices.Contains(ids, "fresh")
	bootstrap := slices.Contains(ids, "bootstrap")
	for _, id := range ids {
		if id != "fresh" && id != "bootstrap" {
			g.ids = append(g.ids, ID(id))
		}
	}
	for _, id := range g.ids {
		n := &node{
			cfg: Config{
				ID: id, Members: Voters(g.ids...), PreferredLeader: ID(args["preferred"]), PreferredCoolDown: duration(t, d, args["cooldown"]),
				MaxTransferGap: Index(number(t, d, args["gap"], 0)), Rand: newRand(0.5),
				Incarnation: directory(id, 1), Bootstrap: bootstrap,
			},
			lives: 1, ballot: Ballot{Proven: !fresh},
			ledger: NewLedger(0, NoTerm, nil, NoIndex),
		}
		g.nodes[id] = n
		n.start(t, d, g.now)
	}
}

// directory names a member's data directory: n1#1 is its first.
func directory(id ID, life int) Incarnation { return Incarnation(fmt.Sprintf("%s#%d", id, life)) }

func cmdMember(g *group, t *testing.T, d *datadriven.TestData) {
	ids, args := words(d)
	n := g.node(t, d, ids[0])
	begin := Index(number(t, d, args["begin"], 0))
	r, end := runs(t, d, begin, args["runs"])
	n.ballot = Ballot{Term: Term(number(t, d, args["term"], 0)), VotedFor: ID(args["voted"]), Proven: !slices.Contains(ids, "unproven")}
	n.ledger = NewLedger(begin, Term(number(t, d, args["prev"], -1)), r, end)
	n.start(t, d, g.now)
}

// cmdTick lets the clock of all move on and ticks those named, or all.
func cmdTick(g *group, t *testing.T, d *datadriven.TestData) {
	who, _ := words(d)
	g.now = g.now.Add(duration(t, d, who[0]))
	ids := g.sortedIDs()
	if len(who) > 1 {
		ids = nil
		for _, id := range who[1:] {
			ids = append(ids, ID(id))
		}
	}
	for _, id := range ids {
		g.step(id, Tick{})
	}
}

// onLink says whether msg travels on one of the links, written n1->n2, n1->* or
// *->n2. No links are all.
func onLink(msg Message, links []string) bool {
	if len(links) == 0 {
		return true
	}
	r := msg.Route()
	return slices.ContainsFunc(links, func(link string) bool {
		from, to, _ := strings.Cut(link, "->")
		return (from == "*" || from == string(r.From)) && (to == "*" || to == string(r.To))
	})
}

// pick takes up to n messages of the links out of the network.
func (g *group) pick(links []string, n int) []Message {
	var picked, rest []Message
	for _, msg := range g.net {
		if len(picked) < n && onLink(msg, links) {
			picked = append(picked, msg)
		} else {
			rest = append(rest, msg)
		}
	}
	g.net = rest
	return picked
}

func cmdDeliver(g *group, t *testing.T, d *datadriven.TestData) {
	links, args := words(d)
	for _, msg := range g.pick(links, int(number(t, d, args["n"], 1<<30))) {
		g.step(msg.Route().To, Receive{msg})
	}
}

func cmdDrop(g *group, t *testing.T, d *datadriven.TestData) {
	links, args := words(d)
	for _, msg := range g.pick(links, int(number(t, d, args["n"], 1<<30))) {
		g.printf("lost: %s", describe(msg))
	}
}

// cmdSave keeps a copy of the first message of a link under a name, for inject to
// deliver later: a message that was late or doubled.
func cmdSave(g *group, t *testing.T, d *datadriven.TestData) {
	links, args := words(d)
	for _, msg := range g.net {
		if onLink(msg, links) && (args["type"] == "" || strings.Contains(describe(msg), args["type"])) {
			g.saved[args["as"]] = msg
			g.printf("saved: %s", describe(msg))
			return
		}
	}
	d.Fatalf(t, "no such message")
}

func cmdInject(g *group, t *testing.T, d *datadriven.TestData) {
	names, _ := words(d)
	msg, ok := g.saved[names[0]]
	if !ok {
		d.Fatalf(t, "no message saved as %q", names[0])
	}
	g.printf("  %s", describe(msg))
	g.step(msg.Route().To, Receive{msg})
}

// cmdSettle delivers and persists until nothing is left to do. Members named with
// without= take no part; messages to and from them are lost.
func cmdSettle(g *group, t *testing.T, d *datadriven.TestData) {
	quiet, args := words(d)
	without := strings.Split(args["without"], ",")
	settled := g.settle(without)
	if !slices.Contains(quiet, "verbose") {
		g.out.Reset()
	}
	if !settled {
		g.printf("does not settle")
	}
}

func (g *group) settle(without []string) bool {
	for range 200 {
		if !g.settleOnce(without) {
			return true
		}
	}
	return false
}

func (g *group) settleOnce(without []string) bool {
	busy := false
	for _, msg := range g.pick(nil, 1<<30) {
		r := msg.Route()
		if slices.Contains(without, string(r.From)) || slices.Contains(without, string(r.To)) {
			continue
		}
		busy = true
		g.step(r.To, Receive{msg})
	}
	for _, id := range g.sortedIDs() {
		if !slices.Contains(without, string(id)) && g.persist(id) {
			busy = true
		}
	}
	return busy
}

// cmdElect makes a member leader, quietly, and settles.
func cmdElect(g *group, t *testing.T, d *datadriven.TestData) {
	ids, args := words(d)
	without := strings.Split(args["without"], ",")
	id := ID(ids[0])
	for range 8 {
		if m := g.nodes[id].member; m.Role() == Leader && m.Term() >= Term(number(t, d, args["term"], 0)) {
			g.out.Reset()
			g.printf("%s leads term %d", id, m.Term())
			return
		}
		g.now = g.now.Add(2 * time.Second)
		g.step(id, Tick{})
		g.settle(without)
	}
	d.Fatalf(t, "%s does not become leader:\n%s", id, g.out.String())
}

// cmdWrite begins a write of all that is not on disk; persist completes it.
func cmdWrite(g *group, t *testing.T, d *datadriven.TestData) {
	ids, _ := words(d)
	n := g.node(t, d, ids[0])
	n.begin()
	g.printf("writing up to %d/%d, epoch %d", n.writing.Index, n.writing.Term, n.writing.Epoch)
}

func (n *node) begin() {
	n.writing = &Persisted{Index: n.ledger.End(), Term: n.ledger.EndTerm(), Epoch: n.epoch}
}

// persist completes the write that has begun, or all that is not on disk.
func (g *group) persist(id ID) bool {
	n := g.nodes[id]
	if n.member == nil || (n.writing == nil && n.durable == n.ledger.End()) {
		return false
	}
	if n.writing == nil {
		n.begin()
	}
	done := *n.writing
	n.writing = nil
	if done.Epoch == n.epoch {
		n.durable = max(n.durable, done.Index)
	}
	g.step(id, done)
	return true
}

func cmdPersist(g *group, t *testing.T, d *datadriven.TestData) {
	ids, _ := words(d)
	for _, id := range ids {
		g.node(t, d, id)
		g.persist(ID(id))
	}
}

// cmdPersisted tells a member of a write that never was.
func cmdPersisted(g *group, t *testing.T, d *datadriven.TestData) {
	who, args := words(d)
	index, term := position(t, d, who[1])
	g.step(ID(who[0]), Persisted{Index: index, Term: term, Epoch: uint64(number(t, d, args["epoch"], 0))})
}

func cmdPropose(g *group, t *testing.T, d *datadriven.TestData) {
	args, _ := words(d)
	g.node(t, d, args[0])
	g.step(ID(args[0]), Propose{Count: int(number(t, d, args[1], 1))})
}

// cmdCrash stops a member. What it had not on disk is gone.
func cmdCrash(g *group, t *testing.T, d *datadriven.TestData) {
	ids, _ := words(d)
	for _, id := range ids {
		n := g.node(t, d, id)
		n.member = nil
		if n.durable < n.ledger.End() {
			g.printf("%s loses the entries after %d", id, n.durable)
			n.ledger.truncateFrom(n.durable + 1)
		}
	}
}

// cmdWipe replaces the data directory of a member that is down.
func cmdWipe(g *group, t *testing.T, d *datadriven.TestData) {
	ids, _ := words(d)
	for _, id := range ids {
		n := g.node(t, d, id)
		if n.member != nil {
			d.Fatalf(t, "%s runs", id)
		}
		n.lives++
		n.cfg.Incarnation = directory(ID(id), n.lives)
		n.cfg.Changes = nil
		n.ballot, n.ledger, n.durable = Ballot{}, NewLedger(0, NoTerm, nil, NoIndex), NoIndex
	}
}

func cmdRestart(g *group, t *testing.T, d *datadriven.TestData) {
	ids, _ := words(d)
	for _, id := range ids {
		g.node(t, d, id).start(t, d, g.now)
	}
}

func cmdTransfer(g *group, t *testing.T, d *datadriven.TestData) {
	ids, _ := words(d)
	to := ID("")
	if len(ids) > 1 {
		to = ID(ids[1])
	}
	g.step(ID(ids[0]), Transfer{To: to})
}

func cmdConnect(g *group, t *testing.T, d *datadriven.TestData) {
	ids, args := words(d)
	for _, id := range ids {
		g.step(ID(id), Connected{Peer: ID(args["to"])})
	}
}

func cmdDisconnect(g *group, t *testing.T, d *datadriven.TestData) {
	ids, args := words(d)
	for _, id := range ids {
		g.step(ID(id), Disconnected{Peer: ID(args["from"])})
	}
}

// cmdStanding takes a member's vote away, or gives it back.
func cmdStanding(g *group, t *testing.T, d *datadriven.TestData) {
	ids, _ := words(d)
	for _, id := range ids {
		g.step(ID(id), Standing{MayVote: d.Cmd == "clear"})
	}
}

func cmdHealth(g *group, t *testing.T, d *datadriven.TestData) {
	ids, _ := words(d)
	for _, id := range ids {
		g.step(ID(id), Health{Fit: d.Cmd == "fit"})
	}
}

// cmdForge hands a member a message that no member sent.
func cmdForge(g *group, t *testing.T, d *datadriven.TestData) {
	kind, a := words(d)
	unproven := slices.Contains(kind, "unproven")
	from, to := ID(a["from"]), ID(a["to"])
	term := Term(number(t, d, a["term"], 0))
	leader := from
	if a["leader"] != "" {
		leader = ID(a["leader"])
	}
	commit := Index(number(t, d, a["commit"], -1))
	incarnation := directory(from, int(number(t, d, a["life"], 1)))
	end, endTerm := position(t, d, a["end"])
	prev, prevTerm := position(t, d, a["prev"])
	durable, durableTerm := position(t, d, a["durable"])
	push := PushRequest{From: from, To: to, Term: term, Leader: leader, PrevIndex: prev, PrevTerm: prevTerm, Commit: commit, Last: NoIndex}
	var msg Message
	switch kind[0] {
	case "vote":
		msg = VoteRequest{From: from, To: to, Term: term, LedgerEndIndex: end, LedgerEndTerm: endTerm, Transfer: a["transfer"] != ""}
	case "prevote":
		msg = VoteRequest{From: from, To: to, Term: term, LedgerEndIndex: end, LedgerEndTerm: endTerm, PreVote: true}
	case "prevote-answer":
		msg = VoteResponse{From: from, To: to, Term: term, Result: Accept, PreVote: true, RequestTerm: Term(number(t, d, a["for"], int64(term)))}
	case "heartbeat":
		msg = HeartBeatRequest{
			From: from, To: to, Term: term, Leader: leader, Commit: commit,
			Proves: Incarnation(a["proves"]), ProofIndex: Index(number(t, d, a["by"], -1)),
		}
	case "heartbeat-answer":
		msg = HeartBeatResponse{
			From: from, To: to, Term: term, Code: code(a["code"]), RequestTerm: Term(number(t, d, a["for"], int64(term))),
			DurableIndex: durable, DurableTerm: durableTerm, Fit: true, Incarnation: incarnation, Unproven: unproven,
		}
	case "push-answer":
		msg = PushResponse{
			From: from, To: to, Term: term, Type: Append, Code: code(a["code"]), RequestTerm: Term(number(t, d, a["for"], int64(term))),
			PrevIndex: prev, DurableIndex: durable, DurableTerm: durableTerm, EndIndex: end, XTerm: NoTerm, XIndex: NoIndex,
			Incarnation: incarnation, Unproven: unproven,
		}
	case "compare":
		push.Type = Compare
		msg = push
	case "truncate":
		push.Type = Truncate
		push.First, push.FirstTerm = position(t, d, a["first"])
		msg = push
	case "append":
		push.Type, push.First = Append, prev+1
		push.Runs, push.Last = runs(t, d, prev+1, a["runs"])
		msg = push
	case "commit":
		push.Type = Commit
		msg = push
	case "transfer":
		msg = TransferRequest{From: from, To: to, Term: term, LedgerEndIndex: end}
	case "transfer-answer":
		msg = TransferResponse{From: from, To: to, Term: term, Code: code(a["code"]), RequestTerm: Term(number(t, d, a["for"], int64(term)))}
	default:
		d.Fatalf(t, "no such message")
	}
	g.step(to, Receive{msg})
}

func code(name string) Code {
	for c, n := range codeNames {
		if n == name {
			return c
		}
	}
	return 0
}

func cmdState(g *group, t *testing.T, d *datadriven.TestData) {
	who, _ := words(d)
	for _, id := range g.sortedIDs() {
		n := g.nodes[id]
		if len(who) > 0 && !slices.Contains(who, string(id)) {
			continue
		}
		if n.member == nil {
			g.printf("%s down", id)
			continue
		}
		s := n.member.Status()
		extra := ""
		if s.KnownMaxTerm != s.Term {
			extra += fmt.Sprintf(" knownMaxTerm=%d", s.KnownMaxTerm)
		}
		if s.LastOutcome != 0 {
			extra += fmt.Sprintf(" outcome=%v", s.LastOutcome)
		}
		if s.Transferee != "" {
			extra += fmt.Sprintf(" transferee=%s", s.Transferee)
		}
		if !s.Fit {
			extra += " UNFIT"
		}
		switch {
		case !s.Proven:
			extra += " UNPROVEN"
		case !s.MayVote:
			extra += " BARRED"
		}
		if len(s.Missing) > 0 {
			extra += fmt.Sprintf(" missing=%v", s.Missing)
		}
		if s.Elder != "" {
			extra += fmt.Sprintf(" elder=%s", s.Elder)
		}
		g.printf("%s %v term=%d votedFor=%s leader=%s end=%d/%d durable=%d commit=%d%s", s.ID, s.Role, s.Term, name(s.VotedFor),
			name(s.Leader), s.End, s.EndTerm, s.Durable, s.Commit, extra)
	}
}

func cmdLedger(g *group, t *testing.T, d *datadriven.TestData) {
	who, _ := words(d)
	for _, id := range g.sortedIDs() {
		if len(who) > 0 && !slices.Contains(who, string(id)) {
			continue
		}
		l := g.nodes[id].ledger
		parts := []string{}
		for i, run := range l.runs {
			last := l.end
			if i+1 < len(l.runs) {
				last = l.runs[i+1].First - 1
			}
			parts = append(parts, span(run.First, last, run.Term))
		}
		g.printf("%s [%s]", id, strings.Join(parts, " "))
	}
}

func cmdNet(g *group, _ *testing.T, _ *datadriven.TestData) {
	for _, msg := range g.net {
		g.printf("  %s", describe(msg))
	}
}

// cmdJudge asks judgeVote about a voter and a request that are only described.
func cmdJudge(g *group, t *testing.T, d *datadriven.TestData) {
	flags, a := words(d)
	has := func(flag string) bool { return slices.Contains(flags, flag) }
	v := voter{
		self: "n1", peer: a["from"] == "n2" || a["from"] == "n3", term: Term(number(t, d, a["voter"], 0)), votedFor: ID(a["voted"]),
		leader: ID(a["leader"]), trusts: has("trusts"), taking: has("taking"),
	}
	v.endIndex, v.endTerm = position(t, d, a["own"])
	r := VoteRequest{From: ID(a["from"]), To: "n1", Term: Term(number(t, d, a["term"], 0)), PreVote: has("prevote"), Transfer: has("transfer")}
	r.LedgerEndIndex, r.LedgerEndTerm = position(t, d, a["end"])
	g.printf("%v", judgeVote(v, r))
}

func cmdOutcome(g *group, t *testing.T, d *datadriven.TestData) {
	flags, a := words(d)
	n := func(key string, missing int64) int { return int(number(t, d, a[key], missing)) }
	v := tally{
		size: n("size", 3), accepted: n("accepted", 1), notReady: n("notready", 0), bigger: n("bigger", 0),
		hasLeader: slices.Contains(flags, "hasleader"), term: Term(n("term", 2)), maxTerm: Term(n("max", 0)),
	}
	v.valid = n("valid", int64(v.accepted+v.notReady+v.bigger))
	g.printf("%v decided=%v", v.outcome(), v.decided())
}
