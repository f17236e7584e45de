package group

// Owner is the number of a member's name, by which the ledger says to whom a queue was
// granted. Two names with one number do no harm: it says only for whom a queue need not be
// kept, never that somebody may go on under an epoch.
type Owner uint64

const (
	// Nobody owns the queue.
	Nobody Owner = 0
	// Unnamed is an owner of which the ledger does not say who it is.
	Unnamed Owner = 1
)

// OwnerOf is the number of a member's name: its FNV-1a of 64 bits, as it stands in the
// ledger; two more where that is Nobody's or Unnamed's.
func OwnerOf(member string) Owner {
	const basis, prime = 14695981039346656037, 1099511628211
	h := uint64(basis)
	for i := range len(member) {
		h = (h ^ uint64(member[i])) * prime
	}
	if Owner(h) <= Unnamed {
		h += 2
	}
	return Owner(h)
}
