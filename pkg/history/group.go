package history

import (
	"cmp"
	"maps"
	"slices"
)

// group is what a consumer group did with one queue.
type group struct {
	groupKey
	q   *queue
	ops []Operation
}

// judge looks at everything but the progress, which is judgeProgress's.
func (g *group) judge(options Options, r *Report) {
	slices.SortStableFunc(g.ops, func(a, b Operation) int { return cmp.Compare(a.Complete, b.Complete) })
	g.judgeOwners(r)
	given := g.count(r)
	if received := g.received(); len(received) > 0 {
		w := &work{group: g, received: received}
		w.judge(options, r)
		return
	}
	if len(given) == 0 {
		return
	}
	from, to, known := g.done(slices.Min(slices.Collect(maps.Keys(given))))
	for offset := from; known && offset < to; offset++ {
		if !given[offset] && !g.q.retained(options, offset) {
			r.add(g.q.anomaly(GroupMissed, offset, g.group, "the group is at %d, and none of its members was given this", to))
		}
	}
}

// judgeOwners looks for grants under which two clients committed. A grant has one owner.
func (g *group) judgeOwners(r *Report) {
	owners := map[uint64]string{}
	for _, o := range g.ops {
		if o.Op != Commit || o.Grant == 0 || o.Outcome == Fail {
			continue
		}
		if owner, ok := owners[o.Grant]; !ok {
			owners[o.Grant] = o.Client
		} else if owner != o.Client {
			r.add(g.q.anomaly(TwoOwners, o.Offset, g.group, "%s committed under grant %d of %s", o.Client, o.Grant, owner))
		}
	}
}

// count notes which offsets members were given, and how often again.
func (g *group) count(r *Report) (given map[int64]bool) {
	given = map[int64]bool{}
	type owner struct {
		client string
		since  int64
	}
	var owners []owner
	for _, o := range g.ops {
		if o.Op != Pull {
			continue
		}
		if one := (owner{o.Client, o.Since}); !slices.Contains(owners, one) {
			owners = append(owners, one)
		}
		for _, m := range o.Messages {
			if given[m.Offset] {
				r.Again++
			}
			given[m.Offset] = true
		}
	}
	r.HandOvers += max(0, len(owners)-1)
	return given
}

// done is the range of offsets that the group surely is done with: from where it began,
// or the lowest that it was given, to where it is known to have come. It is not known
// after a deliberate reset.
func (g *group) done(lowest int64) (from, to int64, known bool) {
	from, to = lowest, Unknown
	for _, o := range g.ops {
		switch {
		case o.Op == Commit && o.Reset && o.Outcome != Fail:
			return 0, 0, false
		case o.Outcome == OK && o.Op == Progress:
			from, to = min(from, o.Offset), max(to, o.Offset)
		case o.Outcome == OK && o.Op == Commit:
			to = max(to, o.Offset)
		}
	}
	return from, to, to != Unknown
}

func (g *group) received() (received []Operation) {
	for _, o := range g.ops {
		if o.Op == Receive && o.Outcome == OK {
			received = append(received, o)
		}
	}
	return received
}
