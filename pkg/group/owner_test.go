package group

import (
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestOwnersAreOnDisk: the numbers of names must stay what they are.
func TestOwnersAreOnDisk(t *testing.T) {
	require.Equal(t, Owner(0xaf63dc4c8601ec8c), OwnerOf("a"))
	require.Equal(t, Owner(0x85944171f73967e8), OwnerOf("foobar"))
}

// newer checks that a client owns so many queues, under other epochs than before.
func (b *bench) newer(c *believer, n int, before map[QueueID]Epoch) {
	require.Len(b.t, c.holds, n)
	for q, e := range c.holds {
		require.Equal(b.t, Standing{e, OwnerOf(c.member)}, b.ledger[q], "queue %d", q)
		require.NotEqual(b.t, before[q], e, "queue %d: whoever was told of the epoch is not fenced", q)
	}
}

// TestGrantThatNobodyWasTold: a leader died between a grant and telling the owner of it. The
// next one knows for whom to keep the queues, and gives them out as soon as that one comes.
func TestGrantThatNobodyWasTold(t *testing.T) {
	b := newBench(t, KindSticky, 4)
	c := b.join("c1")
	require.Empty(t, c.holds)
	granted := maps.Clone(b.ledger)
	require.Len(t, granted, 4)
	b.lead()
	other := b.join("c2")
	b.beat(other)
	b.settle()
	b.beat(other)
	require.Empty(t, other.holds, "somebody else may have been told")
	require.Equal(t, granted, b.ledger)
	b.round()
	b.round()
	b.round()
	require.Equal(t, map[string]int{"c1": 2, "c2": 2}, b.counts())
	b.owned()
	for q, e := range c.holds {
		require.Greater(t, e, granted[q].Epoch)
	}
}

// TestResetThatNobodyWasTold: the owner still reads what was reset, so nobody else is given
// it before it has let go of it, though its epoch is over.
func TestResetThatNobodyWasTold(t *testing.T) {
	b := newBench(t, KindSticky, 2)
	c := b.join("c1")
	b.round()
	before := c.holds
	b.reset(1, 2)
	b.lead()
	other := b.join("c2")
	b.enter(c) // and the answer does not come
	b.settle()
	b.look(other)
	require.Empty(t, other.holds)
	require.Equal(t, before, c.holds)
	queues, _, ok := b.g.Assignment(c.session)
	require.True(t, ok)
	for _, q := range queues {
		require.Equal(t, b.ledger[q.ID].Epoch, q.Epoch)
		require.Greater(t, q.Epoch, before[q.ID])
	}
	b.round()
	b.round()
	b.newer(c, 1, before)
	b.newer(other, 1, before)
}

// TestRestartedMembers have the name of who was told of an epoch, but know nothing of it.
// Who was there before may still run: it is fenced.
func TestRestartedMembers(t *testing.T) {
	for _, led := range []bool{false, true} {
		for _, kind := range []Kind{KindSticky, KindStatic} {
			b := newBench(t, kind, 4)
			c := b.join("c1", 1, 2, 3, 4)
			b.round()
			require.Len(t, c.holds, 4)
			if led {
				b.lead()
			}
			b.ghosts = append(b.ghosts, c)
			delete(b.all, "c1")
			again := b.join("c1", 1, 2, 3, 4)
			require.Empty(t, again.holds)
			b.round()
			b.newer(again, 4, c.holds)

			// It may be the one before that comes back now: it is the other one then.
			before := again.holds
			b.wake(0)
			require.Empty(t, c.holds)
			b.exclusive()
			b.enter(c, 1, 2, 3, 4)
			b.settle()
			b.look(c)
			b.newer(c, 4, before)
			b.exclusive()
		}
	}
}

// TestStaticOwnersAreKept: a queue that two name is its owner's, whether the owner was told
// of it or not.
func TestStaticOwnersAreKept(t *testing.T) {
	b := newBench(t, KindStatic, 1)
	second := b.join("c2", 1)
	b.join("c1", 1)
	require.Equal(t, OwnerOf("c2"), b.ledger[1].Owner)
	b.lead()
	b.enter(second, 1)
	b.join("c1", 1)
	b.round()
	b.round()
	require.Equal(t, map[string]int{"c1": 0, "c2": 1}, b.counts())
	b.newer(second, 1, nil)
}

// TestSameMemberComesBack: who knows the epoch goes on under it, nothing is granted.
func TestSameMemberComesBack(t *testing.T) {
	b := newBench(t, KindSticky, 4)
	c := b.join("c1")
	b.round()
	before, ledger := c.holds, maps.Clone(b.ledger)
	b.join("c1")
	require.Equal(t, before, c.holds, "to the same leader")
	b.lead()
	b.round()
	require.Equal(t, before, c.holds)
	require.Equal(t, ledger, b.ledger)

	// By another name, too, as one does who leaves: it gives up what it knows.
	b.lead()
	c.member = "c1, leaving"
	b.enter(c)
	held, owner := b.g.Holding(c.session)
	require.Len(t, held, 4)
	require.Equal(t, OwnerOf(c.member), owner)
	require.True(t, b.g.Leave(b.now, c.session))
	b.settle()
	for _, standing := range b.ledger {
		require.Equal(t, Nobody, standing.Owner)
	}
}

// TestGrantOfWhichNobodyKnows: a grant was taken, and the answer was lost. Nothing waits for
// an owner who is here.
func TestGrantOfWhichNobodyKnows(t *testing.T) {
	b := newBench(t, KindSticky, 2)
	c := &believer{member: "c1", holds: map[QueueID]Epoch{}}
	b.enter(c)
	for _, grant := range b.g.Wanted(b.now) {
		b.epoch++
		b.ledger[grant.Queue] = Standing{Epoch: b.epoch, Owner: grant.Owner}
	}
	b.g.Refresh(b.ledger)
	b.settle()
	b.look(c)
	b.newer(c, 2, nil)
}

// TestOwnerComesBackWhileItIsGranted: a grant was on its way through the ledger when the
// old owner came back and claimed the queue. It goes on with it under no epoch but one that
// was granted to itself, and the other one does not have it before it lets go.
func TestOwnerComesBackWhileItIsGranted(t *testing.T) {
	began := time.Unix(1_000, 0)
	now := began.Add(DefaultTiming.Unhealthy + time.Second) // the grace is over
	q := queuesOf("a", 1, 1)
	for _, leaves := range []bool{false, true} {
		g := New(KindSticky, DefaultTiming, began, map[QueueID]Standing{1: {Epoch: 5, Owner: OwnerOf("m")}})
		g.SetQueues(began, q)
		g.Join(now, Joining{Member: "n", Session: "n1", Topics: []string{"a"}})
		wanted := g.Wanted(now)
		require.Equal(t, []Grant{{1, "n1", OwnerOf("n")}}, wanted)
		g.Join(now, Joining{Member: "m", Session: "m1", Topics: []string{"a"}, Owned: []Owned{{1, 5}}})
		if leaves {
			g.Leave(now, "n1")
		}
		g.Granted(wanted[0], 6)
		told := map[string][]Held{}
		for i := range Epoch(3) {
			for _, session := range []string{"n1", "m1"} {
				held, version, ok := g.Assignment(session)
				require.Equal(t, !leaves || session == "m1", ok)
				told[session] = held
				g.Beat(now, session, version)
			}
			require.LessOrEqual(t, len(told["n1"])+len(told["m1"]), 1)
			for _, grant := range g.Wanted(now) {
				g.Granted(grant, 7+i)
			}
		}
		require.Equal(t, []Held{{q[0], 7}}, append(told["n1"], told["m1"]...))
	}
}

// TestNobodyIsToldBeforeTheOwnerLetsGo: as above with two queues, of which the balance
// leaves the old owner one. The other one is granted already, and has to wait all the same.
func TestNobodyIsToldBeforeTheOwnerLetsGo(t *testing.T) {
	began := time.Unix(1_000, 0)
	now := began.Add(DefaultTiming.Unhealthy + time.Second)
	for _, heard := range []bool{false, true} { // of the grants
		ledger := map[QueueID]Standing{1: {5, OwnerOf("m")}, 2: {5, OwnerOf("m")}}
		g := New(KindSticky, DefaultTiming, began, maps.Clone(ledger))
		g.SetQueues(began, queuesOf("a", 1, 2))
		g.Join(now, Joining{Member: "n", Session: "n1", Topics: []string{"a"}})
		wanted := g.Wanted(now)
		require.Len(t, wanted, 2)
		g.Join(now, Joining{Member: "m", Session: "m1", Topics: []string{"a"}, Owned: []Owned{{1, 5}, {2, 5}}})
		for _, grant := range wanted {
			ledger[grant.Queue] = Standing{6, grant.Owner}
			if heard {
				g.Granted(grant, 6)
			}
		}
		g.Refresh(ledger)
		g.Join(now, Joining{Member: "idle", Session: "i1", Topics: []string{"b"}}) // a rebalance
		told := func(session string) []Held {
			held, _, _ := g.Assignment(session)
			return held
		}
		require.Empty(t, told("n1"), "m reads both")
		require.Empty(t, told("m1"), "its epoch is over, and the new one is n's")
		wanted = g.Wanted(now)
		require.Len(t, wanted, 1, "the one that m keeps")
		require.Equal(t, "m1", wanted[0].Session)
		g.Granted(wanted[0], 7)
		require.Len(t, told("m1"), 1)
		g.Beat(now, "m1", g.Version())
		wanted = g.Wanted(now)
		require.Len(t, wanted, 1)
		require.Equal(t, "n1", wanted[0].Session)
	}
}

// TestQueuesNobodyWasToldOfMoveAtOnce: whoever was not told of a queue does not read it, so
// nobody waits until it has let go of it.
func TestQueuesNobodyWasToldOfMoveAtOnce(t *testing.T) {
	b := newBench(t, KindSticky, 2)
	c := b.join("c1")
	b.lead()
	b.enter(c)
	other := b.join("c2")
	b.look(other)
	b.newer(other, 1, nil)
}

// TestOneHolderByNameOrByEpoch: whoever leaves claims its queues by a name of nobody; one
// that comes by the old name has nothing of them before.
func TestOneHolderByNameOrByEpoch(t *testing.T) {
	b := newBench(t, KindSticky, 2)
	leaving := b.join("c1")
	b.round()
	b.lead()
	leaving.member = "c1, leaving"
	b.enter(leaving)
	again := &believer{member: "c1", holds: map[QueueID]Epoch{}}
	b.all["c1"] = again
	b.enter(again)
	held, _ := b.g.Holding(leaving.session)
	require.Len(t, held, 2)
	held, _ = b.g.Holding(again.session)
	require.Empty(t, held)
	b.g.Leave(b.now, leaving.session)
	b.settle()
	b.look(again)
	b.newer(again, 2, leaving.holds)
}
