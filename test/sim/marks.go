package sim

import (
	"maps"
	"slices"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// marks are some entries of a ledger, few of them.
type marks map[member.Index]bool

// stretch is the entries first to last.
type stretch struct{ first, last member.Index }

// after is the first marked entry behind i, if there is one.
func (m marks) after(i member.Index) (first member.Index, ok bool) {
	for k := range m {
		if k > i && (!ok || k < first) {
			first, ok = k, true
		}
	}
	return first, ok
}

// dropFrom forgets the entries from i on.
func (m marks) dropFrom(i member.Index) {
	maps.DeleteFunc(m, func(k member.Index, _ bool) bool { return k >= i })
}

// dropBefore forgets the entries before i.
func (m marks) dropBefore(i member.Index) {
	maps.DeleteFunc(m, func(k member.Index, _ bool) bool { return k < i })
}

// stretches are the marked entries, neighbours taken together, in order.
func (m marks) stretches() (all []stretch) {
	for _, i := range slices.Sorted(maps.Keys(m)) {
		if n := len(all); n > 0 && all[n-1].last+1 == i {
			all[n-1].last = i
		} else {
			all = append(all, stretch{i, i})
		}
	}
	return all
}
