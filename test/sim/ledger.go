package sim

import "github.com/ledgermq/ledgermq/pkg/dledger/member"

// entry stands for an entry of the ledger. The chain sums up the entry and all
// before it: two ledgers with one chain at an index are equal up to there.
type entry struct {
	term    member.Term
	payload uint64 // number of the proposal; 0 for a NOOP
	chain   uint64
	stamp   int64 // when its leader's wall clock said that it was appended, in ns
}

func mix(h, v uint64) uint64 {
	h ^= v + 0x9e3779b97f4a7c15 + h<<6 + h>>2
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	return h ^ h>>27
}

// entries is a ledger or a part of one. Part of the contract: an entries slice is
// never written below its length, so slices of it may be kept; truncated copies.
type entries []entry

func (l entries) end() member.Index { return member.Index(len(l)) - 1 }

func (l entries) termAt(i member.Index) member.Term {
	if i < 0 || i > l.end() {
		return member.NoTerm
	}
	return l[i].term
}

// add appends an entry. Stamps never fall, whatever the clock says.
func (l entries) add(term member.Term, payload uint64, stamp int64) entries {
	return append(l, l.at(l.end()).next(term, payload, stamp))
}

// at is entry i, or, before the first one, what that follows.
func (l entries) at(i member.Index) entry {
	if i < 0 {
		return entry{}
	}
	return l[i]
}

// next is the entry that follows e.
func (e entry) next(term member.Term, payload uint64, stamp int64) entry {
	return entry{term, payload, mix(mix(e.chain, uint64(term)), payload), max(stamp, e.stamp)}
}

// part is the range of entries [first, last] as a slice that nobody will write.
func (l entries) part(first, last member.Index) entries {
	return l[first : last+1 : last+1]
}

// truncated drops the entries from i on.
func (l entries) truncated(i member.Index) entries {
	return append(make(entries, 0, int(i)+64), l[:i]...)
}

// runs are the terms of l, whose first entry has the index first.
func (l entries) runs(first member.Index) []member.Run {
	var runs []member.Run
	for i := range l {
		if i == 0 || l[i].term != l[i-1].term {
			runs = append(runs, member.Run{First: first + member.Index(i), Term: l[i].term})
		}
	}
	return runs
}

// outline is what a member is told of a ledger that begins at an entry.
func (l entries) outline(begin member.Index) member.Ledger {
	return member.NewLedger(begin, l.termAt(begin-1), l[begin:].runs(begin), l.end())
}
