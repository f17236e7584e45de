package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// generator makes valid histories: producers send with several messages under way,
// each takes effect at one instant between its beginning and its end, or not at all
// where its outcome allows that; consumers read, die and begin anew; members' copies
// are the queues.
type generator struct {
	rng    *rand.Rand
	now    int64
	queues [][]string
	ops    []Operation
}

// flight is a send under way.
type flight struct {
	op     Operation
	stored bool
}

func generate(seed uint64) []Operation {
	g := &generator{rng: rand.New(rand.NewPCG(seed, 1)), queues: make([][]string, 1+seed%3)}
	producers := make([][]*flight, 1+g.rng.IntN(4))
	sequences := make([][]int64, len(producers))
	for p := range sequences {
		sequences[p] = make([]int64, len(g.queues))
	}
	positions := make([][]int64, 1+g.rng.IntN(3))
	for c := range positions {
		positions[c] = make([]int64, len(g.queues))
	}
	for range 50 + g.rng.IntN(300) {
		g.now += g.rng.Int64N(4)
		p := g.rng.IntN(len(producers))
		switch g.rng.IntN(4) {
		case 0:
			q := g.rng.IntN(len(g.queues))
			producers[p] = append(producers[p], g.begin(p, q, sequences[p][q]))
			sequences[p][q]++
		case 1:
			g.store(producers[p])
		case 2:
			producers[p] = g.end(producers[p])
		case 3:
			g.pull(positions)
		}
	}
	g.finish(producers, positions)
	g.rng.Shuffle(len(g.ops), func(i, j int) { g.ops[i], g.ops[j] = g.ops[j], g.ops[i] }) // the order of lines means nothing
	return g.ops
}

func (g *generator) begin(p, q int, sequence int64) *flight {
	return &flight{op: Operation{
		Client: fmt.Sprintf("p%d", p), Op: Send, Topic: "t", Queue: q, Value: fmt.Sprintf("p%d-%d-%d", p, q, sequence),
		Invoke: g.now, Producer: uint64(p + 1), Sequence: sequence, Offset: Unknown, Index: Unknown, Term: Unknown,
	}}
}

// store lets the oldest send under way take effect, or passes it over for good.
func (g *generator) store(under []*flight) {
	for _, f := range under {
		if f.stored || f.op.Outcome != "" {
			continue
		}
		if g.rng.IntN(10) == 0 {
			f.op.Outcome = []Outcome{Info, Fail}[g.rng.IntN(2)]
			return
		}
		g.queues[f.op.Queue] = append(g.queues[f.op.Queue], f.op.Value)
		f.op.Offset, f.stored = int64(len(g.queues[f.op.Queue])-1), true
		return
	}
}

// end answers a send whose fate is decided.
func (g *generator) end(under []*flight) []*flight {
	i := slices.IndexFunc(under, func(f *flight) bool { return f.stored || f.op.Outcome != "" })
	if i < 0 {
		return under
	}
	o := under[i].op
	o.Complete = g.now
	if o.Outcome == "" {
		if o.Outcome = OK; g.rng.IntN(8) == 0 {
			o.Outcome, o.Offset = Info, Unknown
		}
	}
	g.ops = append(g.ops, o)
	return slices.Delete(under, i, i+1)
}

func (g *generator) pull(positions [][]int64) {
	c, q := g.rng.IntN(len(positions)), g.rng.IntN(len(g.queues))
	o := Operation{
		Client: fmt.Sprintf("c%d", c), Op: Pull, Topic: "t", Queue: q, Invoke: g.now, Outcome: OK,
		Offset: positions[c][q], Sequence: Unknown, Index: Unknown, Term: Unknown,
	}
	if o.Offset > 0 && g.rng.IntN(6) == 0 {
		o.Offset, o.Seek = g.rng.Int64N(o.Offset+1), true
	}
	for at := o.Offset; at < int64(len(g.queues[q])) && len(o.Messages) < 20; at++ {
		o.Messages = append(o.Messages, Message{Offset: at, Value: g.queues[q][at]})
	}
	g.now++
	o.Complete = g.now
	positions[c][q] = o.Offset + int64(len(o.Messages))
	g.ops = append(g.ops, o)
}

// finish ends what is under way, lets a consumer read the rest and copies the queues.
func (g *generator) finish(producers [][]*flight, positions [][]int64) {
	for _, under := range producers {
		for _, f := range under {
			if !f.stored {
				f.op.Outcome = Info
			}
		}
		for len(under) > 0 {
			under = g.end(under)
		}
	}
	g.ops = append(g.ops, Operation{
		Op: Heal, Outcome: OK, Invoke: g.now, Complete: g.now, Within: 100,
		Offset: Unknown, Sequence: Unknown, Index: Unknown, Term: Unknown,
	})
	for q, held := range g.queues {
		last := Operation{
			Client: "last", Op: Pull, Topic: "t", Queue: q, Outcome: OK, Invoke: g.now, Complete: g.now + 1,
			Offset: 0, Sequence: Unknown, Index: Unknown, Term: Unknown,
		}
		for at, value := range held {
			last.Messages = append(last.Messages, Message{Offset: int64(at), Value: value})
		}
		g.ops = append(g.ops, last)
	}
	g.now += 200
	for q, held := range g.queues {
		for m := range 3 {
			for from := 0; from == 0 || from < len(held); from += 10 {
				o := Operation{
					Client: "drain", Op: Drain, Topic: "t", Queue: q, Member: fmt.Sprintf("m%d", m), Outcome: OK, Invoke: g.now, Complete: g.now + 1,
					End: int64(len(held)), Offset: Unknown, Sequence: Unknown, Index: Unknown, Term: Unknown,
				}
				for at := from; at < min(from+10, len(held)); at++ {
					o.Messages = append(o.Messages, Message{Offset: int64(at), Value: held[at]})
				}
				g.ops = append(g.ops, o)
			}
		}
	}
}

// TestValidHistoriesPass runs the generator. A valid history that fails would make
// every finding doubtful.
func TestValidHistoriesPass(t *testing.T) {
	var total Report
	seeds := uint64(2000)
	if testing.Short() {
		seeds = 400
	}
	for seed := range seeds {
		r := judge(t, Options{}, generate(seed))
		if !r.Clean() || r.Unjudged > 0 {
			t.Fatalf("seed %d: %v, %d unjudged: %v", seed, found(r), r.Unjudged, r.Examples)
		}
		total.Acked += r.Acked
		total.Info += r.Info
		total.Failed += r.Failed
		total.InfoFound += r.InfoFound
	}
	t.Logf("%+v", total)
	if total.Acked == 0 || total.Info == 0 || total.Failed == 0 || total.InfoFound == 0 || total.InfoFound == total.Info {
		t.Errorf("the generator does not make everything: %+v", total)
	}
}

// TestBrokenAtRandom breaks valid histories in one place; each must be noticed.
func TestBrokenAtRandom(t *testing.T) {
	breaks := map[string]func(*rand.Rand, []Operation) bool{
		"drop an acknowledged message from every copy": func(rng *rand.Rand, ops []Operation) bool {
			s, ok := pick(rng, ops, func(o *Operation) bool { return o.Op == Send && o.Outcome == OK })
			if !ok {
				return false
			}
			for i := range ops {
				if ops[i].Op == Drain {
					ops[i].Messages = slices.DeleteFunc(slices.Clone(ops[i].Messages), func(m Message) bool { return m.Value == ops[s].Value })
				}
			}
			return true
		},
		"turn an acknowledgement into a definite failure": func(rng *rand.Rand, ops []Operation) bool {
			s, ok := pick(rng, ops, func(o *Operation) bool { return o.Op == Send && o.Outcome == OK })
			if ok {
				ops[s].Outcome = Fail
			}
			return ok
		},
		"change a value in one copy": func(rng *rand.Rand, ops []Operation) bool {
			d, ok := pick(rng, ops, func(o *Operation) bool { return o.Op == Drain && len(o.Messages) > 0 })
			if ok {
				ops[d].Messages[rng.IntN(len(ops[d].Messages))].Value = "never sent"
			}
			return ok
		},
		"acknowledge at another offset": func(rng *rand.Rand, ops []Operation) bool {
			s, ok := pick(rng, ops, func(o *Operation) bool { return o.Op == Send && o.Outcome == OK })
			if ok {
				ops[s].Offset++
			}
			return ok
		},
		"deliver a message twice": func(rng *rand.Rand, ops []Operation) bool {
			d, ok := pick(rng, ops, func(o *Operation) bool { return o.Op == Pull && len(o.Messages) > 0 })
			if ok {
				ops[d].Messages = append(ops[d].Messages, ops[d].Messages[len(ops[d].Messages)-1])
			}
			return ok
		},
	}
	for name, breakIt := range breaks {
		t.Run(name, func(t *testing.T) {
			broken := 0
			for seed := range uint64(250) {
				ops := generate(seed)
				if !breakIt(rand.New(rand.NewPCG(seed, 2)), ops) {
					continue
				}
				broken++
				if r := judge(t, Options{}, ops); r.Clean() {
					t.Fatalf("seed %d: not noticed", seed)
				}
			}
			if broken < 200 {
				t.Errorf("only %d histories could be broken", broken)
			}
		})
	}
}

func pick(rng *rand.Rand, ops []Operation, fits func(*Operation) bool) (int, bool) {
	var all []int
	for i := range ops {
		if fits(&ops[i]) {
			all = append(all, i)
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	return all[rng.IntN(len(all))], true
}
