package state

import (
	"github.com/cockroachdb/pebble/v2"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

// giveUpWaiting drops what waits in entries that no disk has any more. Whether that is so
// is not looked at here: the leader knows, and the members must do the same.
func (w *working) giveUpWaiting(out *pebble.Batch, index Index, c *recordv1.GiveUpWaiting) Outcome {
	ids, places := c.GetIds(), c.GetPlaces()
	if n := len(ids); n == 0 || n > MaxDeliver || len(places) != n {
		return refuse(CodeLimitExceeded, "%d batches in %d entries to give up, 1 to %d are possible", n, len(places), MaxDeliver)
	}
	o := Outcome{BaseOffset: NoOffset, AboutWaiting: true}
	for i := range ids {
		id, place := Index(ids[i]), Index(places[i])
		if b := w.delays.byID[id]; b != nil && b.place == place {
			w.dropDelayed(out, b)
			w.takeKeys(out, b.id)
			o.GivenUp++
		}
	}
	// Of the half messages one at a time: an end is remembered by the entry that made it.
	for i := range ids {
		if h := w.open.byID[Index(ids[i])]; h != nil && h.place == Index(places[i]) {
			w.dropHalf(out, h)
			w.takeKeys(out, h.id)
			w.rememberEnd(out, index, ended{id: h.id, base: NoOffset})
			o.GivenUp++
			break
		}
	}
	o.Count = uint32(o.GivenUp)
	return o
}

// forgetLate drops the buckets of entries before one, but never that of this entry.
func (w *working) forgetLate(out *pebble.Batch, index Index, c *recordv1.ForgetLate) Outcome {
	bucket := min(Index(c.GetBefore()), index) >> lateShift
	if bucket > 0 {
		delRange(out, appendLateKey(nil, 0), appendLateKey(nil, bucket))
	}
	return Outcome{BaseOffset: NoOffset, AboutWaiting: true}
}
