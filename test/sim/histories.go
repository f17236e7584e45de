package sim

import (
	"fmt"
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	"github.com/ledgermq/ledgermq/pkg/history"
)

// In a share of the runs the clients write a history, as those of the chaos tests do, and
// pkg/history judges it by the same rules. All messages are of one queue: the offset of
// one is how many there are before it among what is committed.

const (
	historyTopic = "t"
	pullEvery    = 40 * time.Millisecond
	pullMost     = 50               // messages
	seenWithin   = 30 * time.Second // of healing, or of the acknowledgement
)

// chronicle gathers what clients see.
type chronicle struct {
	sent      []*proposal
	pulls     []history.Operation
	healed    time.Duration
	consumers []consumer
	places    []member.Index // of the committed messages, by offset
	looked    int            // so much of what is committed is in places
}

// consumer reads the queue from its beginning, at any member.
type consumer struct {
	name   string
	offset int64
}

func newChronicle() *chronicle {
	return &chronicle{consumers: []consumer{{"reader 1", 0}, {"reader 2", 0}, {"reader 3", 0}}}
}

// chronicled notes a proposal from now on: it may be asked of a node at any moment.
func (s *Sim) chronicled(p *proposal) {
	if s.chronicle != nil {
		p.sentAt = s.now
		s.chronicle.sent = append(s.chronicle.sent, p)
	}
}

// look numbers the messages that have been committed since.
func (c *chronicle) look(g *god) {
	for ; c.looked < len(g.committed); c.looked++ {
		payload := g.committed[c.looked].payload
		if _, group := g.sim.groups.bodies[payload]; payload != 0 && !group {
			c.places = append(c.places, member.Index(c.looked))
		}
	}
}

// offsetOf is the number of the message at entry i, which is committed.
func (c *chronicle) offsetOf(g *god, i member.Index) int64 {
	c.look(g)
	low, high := 0, len(c.places)
	for low < high {
		if mid := (low + high) / 2; c.places[mid] < i {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return int64(low)
}

// pull lets a consumer take what comes next, from some node.
func (s *Sim) pull() {
	if s.chronicle == nil || s.done {
		return
	}
	s.after(s.spread(pullEvery), s.pull)
	c := &s.chronicle.consumers[s.rng.IntN(len(s.chronicle.consumers))]
	n := s.nodes[s.rng.IntN(len(s.nodes))]
	if !n.up || n.paused {
		return
	}
	s.chronicle.look(s.god)
	op := history.Operation{
		Client: c.name, Op: history.Pull, Topic: historyTopic, Invoke: int64(s.now), Complete: int64(s.now),
		Outcome: history.OK, Sequence: history.Unknown, Offset: c.offset, Index: history.Unknown, Term: history.Unknown,
	}
	op.Messages, op.Seek = n.messages(&c.offset, pullMost)
	if op.Seek {
		op.Offset = op.Messages[0].Offset
	}
	if len(op.Messages) > 0 {
		s.count[Pulled] += int64(len(op.Messages))
		s.chronicle.pulls = append(s.chronicle.pulls, op)
	}
}

// messages are the committed ones at n from an offset on, which moves behind them. Where
// retention has removed what is asked for, the reader is told and goes on at the first
// one that is there: seek.
func (n *node) messages(offset *int64, most int) (all []history.Message, seek bool) {
	c, from := n.sim.chronicle, *offset
	for len(all) < most && *offset < int64(len(c.places)) {
		i := c.places[*offset]
		if i > n.commit || n.chores.faulty[i] {
			break
		}
		if i < n.disk.begin {
			if len(all) > 0 {
				break
			}
			*offset, seek = c.offsetOf(n.sim.god, n.disk.begin), true
			continue
		}
		payload, ok := n.payloadAt(i)
		if !ok {
			break
		}
		all = append(all, history.Message{Offset: *offset, Value: valueOf(payload)})
		*offset++
	}
	if len(all) == 0 {
		*offset = from // it will be told again
	}
	return all, seek && len(all) > 0
}

// payloadAt is what entry i holds at n: a thick node reads it from its log.
func (n *node) payloadAt(i member.Index) (uint64, bool) {
	if n.thick == nil {
		return n.log[i].payload, true
	}
	raw, _, held, err := n.thick.read(i, i)
	if err != nil || held {
		return 0, false
	}
	es, err := n.thick.decode(raw, n.log.at(i-1), i)
	if err != nil {
		return 0, false
	}
	return es[0].payload, true
}

func valueOf(payload uint64) string { return fmt.Sprintf("m%d", payload) }

// judgeHistory writes down what the clients saw and what every node has in the end, and
// has it judged.
func (s *Sim) judgeHistory() {
	c := s.chronicle
	if c == nil {
		return
	}
	s.count[Histories]++
	c.look(s.god)
	judge := history.NewChecker(history.Options{Retention: true})
	add := func(o history.Operation) {
		o.Topic = historyTopic
		if err := judge.Add(o); err != nil {
			s.fail("%v", err)
		}
	}
	for _, p := range c.sent {
		s.addSends(p, add)
	}
	for _, o := range c.pulls {
		add(o)
	}
	add(history.Operation{Op: history.Heal, Invoke: int64(c.healed), Complete: int64(c.healed), Outcome: history.OK, Within: int64(seenWithin)})
	s.addDrains(add)
	s.count[HistoryOps] += int64(judge.Ops())
	if r := judge.Report(); !r.Clean() {
		s.fail("history: %v", r.Examples[0])
	} else if r.Copies < len(s.members()) {
		s.fail("history: %d copies were compared, not %d", r.Copies, len(s.members()))
	}
}

// addSends tells what became of a proposal, a message at a time.
func (s *Sim) addSends(p *proposal, add func(history.Operation)) {
	for k := range p.count {
		o := history.Operation{
			Client: fmt.Sprintf("producer %d", p.payload), Op: history.Send, Invoke: int64(p.sentAt), Complete: int64(s.now),
			Outcome: history.Info, Value: valueOf(p.payload + uint64(k)), Sequence: int64(k),
			Offset: history.Unknown, Index: history.Unknown, Term: history.Unknown,
		}
		switch {
		case p.refused:
			o.Outcome = history.Fail
		case p.acked:
			i := p.first + member.Index(k)
			o.Outcome, o.Complete = history.OK, int64(p.ackedAt)
			o.Offset, o.Index, o.Term = s.chronicle.offsetOf(s.god, i), int64(i), int64(p.term)
		}
		add(o)
	}
}

// addDrains tells what each node has, from where all of them have it.
func (s *Sim) addDrains(add func(history.Operation)) {
	begin, end := member.Index(0), int64(len(s.chronicle.places))
	for _, n := range s.members() {
		begin = max(begin, n.disk.begin)
		for i := range n.chores.faulty {
			begin = max(begin, i+1) // what all others have purged
		}
	}
	first := s.chronicle.offsetOf(s.god, begin)
	for _, n := range s.members() {
		o := history.Operation{
			Client: string(n.id), Op: history.Drain, Invoke: int64(s.now), Complete: int64(s.now), Outcome: history.OK,
			Sequence: history.Unknown, Offset: history.Unknown, Index: history.Unknown, Term: history.Unknown,
			Member: string(n.id), First: first, End: end,
		}
		offset := first
		o.Messages, _ = n.messages(&offset, int(end))
		add(o)
	}
}
