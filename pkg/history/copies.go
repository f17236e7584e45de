package history

import (
	"maps"
	"slices"
	"strings"
)

// judgeCopies compares the members' copies with one another and looks for holes. With
// retention each member purges by itself, and copies may begin differently.
func (q *queue) judgeCopies(options Options, r *Report) {
	if len(q.copies) == 0 {
		return
	}
	slices.SortFunc(q.copies, func(a, b *memberCopy) int { return strings.Compare(a.member, b.member) })
	reference := q.copies[0]
	for _, m := range q.copies {
		q.judgeHoles(m, r)
		if m.first != reference.first && !options.Retention || m.end != reference.end {
			r.add(q.anomaly(DrainDiffers, Unknown, "", "%s holds offsets %d to %d, %s %d to %d",
				reference.member, reference.first, reference.end, m.member, m.first, m.end))
		}
	}
	for _, offset := range q.disputed() {
		var told []string
		for _, m := range q.copies {
			if value, ok := m.at[offset]; ok {
				told = append(told, m.member+" has "+value)
			}
		}
		r.add(q.anomaly(DrainDiffers, offset, "", "%s", strings.Join(told, ", ")))
	}
}

// judgeHoles counts each run of missing offsets once.
func (q *queue) judgeHoles(m *memberCopy, r *Report) {
	next := m.first
	gap := func(to int64) {
		if next < to {
			r.add(q.anomaly(DrainGap, next, "", "%s has nothing at offsets %d to %d, and says it holds %d to %d", m.member, next, to-1, m.first, m.end))
		}
	}
	for _, offset := range slices.Sorted(maps.Keys(m.at)) {
		gap(offset)
		next = offset + 1
	}
	gap(m.end)
}

// disputed lists the offsets at which two copies hold different values.
func (q *queue) disputed() []int64 {
	first := map[int64]string{}
	differs := map[int64]bool{}
	for _, m := range q.copies {
		for offset, value := range m.at {
			if have, ok := first[offset]; !ok {
				first[offset] = value
			} else if have != value {
				differs[offset] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(differs))
}

// copiesSince lists the copies that were read after a time.
func (q *queue) copiesSince(t int64) []*memberCopy {
	var late []*memberCopy
	for _, m := range q.copies {
		if m.invoke > t {
			late = append(late, m)
		}
	}
	return late
}
