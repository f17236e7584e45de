package broker

import (
	"container/heap"
	"time"

	"github.com/ledgermq/ledgermq/pkg/state"
)

// openTransaction is what this leader knows of one, and has done about it.
type openTransaction struct {
	state.Transaction
	times int       // questions that producers have answered
	by    *watcher  // who has a question about it now
	due   time.Time // when to look at it again: to ask, or to roll it back
	at    int       // in openTransactions.order
}

// openTransactions are all of which this leader knows, the one that is due first in
// front, so that a look costs what there is to do and not what there is.
type openTransactions struct {
	byID  map[state.Index]*openTransaction
	order transactionOrder
	ready map[uint32]map[*openTransaction]bool // by group: those to be asked about
}

// take enters a transaction, or notes where its half message has been carried.
func (t *openTransactions) take(tx state.Transaction, due time.Time) {
	if o := t.byID[tx.ID]; o != nil {
		o.Place = tx.Place
		return
	}
	if t.byID == nil {
		t.byID = make(map[state.Index]*openTransaction)
	}
	o := &openTransaction{Transaction: tx, due: due}
	t.byID[tx.ID] = o
	heap.Push(&t.order, o)
}

// first is the one that is due first, nil if none is.
func (t *openTransactions) first(now time.Time) *openTransaction {
	if len(t.order) == 0 || t.order[0].due.After(now) {
		return nil
	}
	return t.order[0]
}

// put sets when a transaction is looked at again, if it is still there.
func (t *openTransactions) put(o *openTransaction, due time.Time) {
	if t.byID[o.ID] == o {
		o.due = due
		heap.Fix(&t.order, o.at)
	}
}

// makeReady notes that somebody of its group is to be asked about a transaction.
func (t *openTransactions) makeReady(o *openTransaction) {
	if t.ready == nil {
		t.ready = make(map[uint32]map[*openTransaction]bool)
	}
	if t.ready[o.Group] == nil {
		t.ready[o.Group] = make(map[*openTransaction]bool)
	}
	t.ready[o.Group][o] = true
}

func (t *openTransactions) notReady(o *openTransaction) {
	delete(t.ready[o.Group], o)
	if len(t.ready[o.Group]) == 0 {
		delete(t.ready, o.Group)
	}
}

func (t *openTransactions) drop(o *openTransaction) {
	t.notReady(o)
	delete(t.byID, o.ID)
	heap.Remove(&t.order, o.at)
}

// transactionOrder is a heap by due time.
type transactionOrder []*openTransaction

// Len implements heap.Interface.
func (o transactionOrder) Len() int { return len(o) }

// Less implements heap.Interface.
func (o transactionOrder) Less(i, j int) bool { return o[i].due.Before(o[j].due) }

// Swap implements heap.Interface.
func (o transactionOrder) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].at, o[j].at = i, j
}

// Push implements heap.Interface.
func (o *transactionOrder) Push(x any) {
	t := x.(*openTransaction)
	t.at = len(*o)
	*o = append(*o, t)
}

// Pop implements heap.Interface.
func (o *transactionOrder) Pop() any {
	last := len(*o) - 1
	t := (*o)[last]
	(*o)[last] = nil
	*o = (*o)[:last]
	return t
}
