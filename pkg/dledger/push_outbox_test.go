package dledger

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

func appendOf(term member.Term, first, last, commit member.Index, runs ...member.Run) member.PushRequest {
	if runs == nil {
		runs = []member.Run{{First: first, Term: term}}
	}
	return member.PushRequest{
		From: "n1", To: "n2", Type: member.Append, Term: term, Leader: "n1", PrevIndex: first - 1, PrevTerm: term,
		Commit: commit, First: first, Last: last, Runs: runs,
	}
}

func commitOf(term member.Term, prev, commit member.Index) member.PushRequest {
	return member.PushRequest{
		From: "n1", To: "n2", Type: member.Commit, Term: term, Leader: "n1",
		PrevIndex: prev, PrevTerm: term, Commit: commit, Last: member.NoIndex,
	}
}

// queued takes everything out of the outbox as if each went whole.
func queued(o *pushOutbox) []member.PushRequest {
	o.sendNotice()
	var all []member.PushRequest
	for {
		r, serial, ok := o.head()
		if !ok {
			return all
		}
		all = append(all, r)
		o.advance(serial, r, r.Last)
	}
}

func TestOutboxMerges(t *testing.T) {
	o := newPushOutbox()
	o.add(appendOf(3, 10, 12, 4, member.Run{First: 10, Term: 2}, member.Run{First: 12, Term: 3}))
	o.add(appendOf(3, 13, 20, 11))
	o.add(appendOf(3, 21, 21, 12))
	o.add(commitOf(3, 21, 15))
	want := appendOf(3, 10, 21, 15, member.Run{First: 10, Term: 2}, member.Run{First: 12, Term: 3})
	want.PrevTerm = 3
	require.Empty(t, cmp.Diff([]member.PushRequest{want}, queued(o)))
}

// A COMMIT waits for company; what comes carries its index. Alone it goes with the tick.
func TestOutboxNotice(t *testing.T) {
	o := newPushOutbox()
	waits := func() {
		t.Helper()
		_, _, ok := o.head()
		require.False(t, ok, "nothing to send yet")
		require.Empty(t, o.wake, "nobody is woken for it")
	}
	o.add(commitOf(3, 9, 8))
	o.add(commitOf(3, 9, 9))
	waits()
	o.sendNotice()
	require.Len(t, o.wake, 1)
	require.Empty(t, cmp.Diff([]member.PushRequest{commitOf(3, 9, 9)}, queued(o)))
	<-o.wake

	o.add(commitOf(3, 9, 9))
	o.add(appendOf(3, 10, 12, 9))
	require.Len(t, o.wake, 1)
	require.Empty(t, cmp.Diff([]member.PushRequest{appendOf(3, 10, 12, 9)}, queued(o)))
	<-o.wake

	o.add(commitOf(3, 12, 12))
	o.clear()
	o.sendNotice()
	waits()
}

func TestOutboxBeginsAnew(t *testing.T) {
	compare := member.PushRequest{Type: member.Compare, Term: 3, PrevIndex: 7, Last: member.NoIndex}
	o := newPushOutbox()
	o.add(appendOf(3, 10, 12, 4))
	o.add(compare)
	require.Equal(t, []member.PushRequest{compare}, queued(o), "a COMPARE makes what was queued pointless")
	o.add(appendOf(3, 10, 12, 4))
	o.add(appendOf(4, 13, 13, 4))
	require.Equal(t, []member.PushRequest{appendOf(4, 13, 13, 4)}, queued(o), "so does another term")
	o.add(appendOf(4, 10, 12, 4))
	o.clear()
	require.Empty(t, queued(o))
}

func TestOutboxIsBounded(t *testing.T) {
	o := newPushOutbox()
	for i := member.Index(0); i < 10*maxPushQueue; i++ {
		o.add(appendOf(3, 2*i, 2*i, 0)) // never contiguous
		require.LessOrEqual(t, len(o.mu.queue), maxPushQueue)
	}
}

// A range goes out in frames while it grows at its end.
func TestOutboxFrames(t *testing.T) {
	o := newPushOutbox()
	o.add(appendOf(3, 10, 19, 4, member.Run{First: 10, Term: 1}, member.Run{First: 15, Term: 3}))
	r, serial, _ := o.head()
	o.add(appendOf(3, 20, 29, 9))
	o.advance(serial, r, 16)
	r, serial, _ = o.head()
	want := appendOf(3, 17, 29, 9)
	require.Empty(t, cmp.Diff(want, r))
	o.add(commitOf(3, 29, 20))
	o.advance(serial, r, 29)
	_, _, ok := o.head()
	require.False(t, ok)
	require.Empty(t, cmp.Diff([]member.PushRequest{commitOf(3, 29, 20)}, queued(o)), "the commit index that came meanwhile is not lost")
}

func TestOutboxDroppedWhileSending(t *testing.T) {
	o := newPushOutbox()
	o.add(appendOf(3, 10, 19, 4))
	r, serial, _ := o.head()
	compare := member.PushRequest{Type: member.Compare, Term: 4, PrevIndex: 7, Last: member.NoIndex}
	o.add(compare)
	o.advance(serial, r, 12)
	require.Equal(t, []member.PushRequest{compare}, queued(o))
}
