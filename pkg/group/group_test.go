package group

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// bench is a Group with a ledger and clients that believe what they are told.
type bench struct {
	t      require.TestingT
	now    time.Time
	g      *Group
	kind   Kind
	topics map[string][]Queue
	ledger map[QueueID]Standing
	epoch  Epoch
	count  int
	all    map[string]*believer // by member
	ghosts []*believer          // of names that others have taken
}

// believer is a client: what it holds, it reads.
type believer struct {
	member, session string
	version         int64
	holds           map[QueueID]Epoch
	stuck           bool // lets go of nothing
	silent          bool
}

func newBench(t require.TestingT, kind Kind, queues int) *bench {
	b := &bench{t: t, now: time.Unix(1_000, 0), kind: kind, topics: map[string][]Queue{"a": queuesOf("a", 1, queues)}, ledger: map[QueueID]Standing{}, all: map[string]*believer{}}
	b.lead()
	return b
}

// lead begins a new leadership: all that the old one had in memory is gone.
func (b *bench) lead() {
	version := int64(0)
	if b.g != nil {
		version = b.g.version
	}
	b.g = New(b.kind, DefaultTiming, b.now, maps.Clone(b.ledger))
	b.g.version = version / 2 // versions of different leaderships mean nothing to each other
	b.g.SetQueues(b.now, b.topics["a"])
}

func (b *bench) join(name string, static ...QueueID) *believer {
	c := b.all[name]
	if c == nil {
		c = &believer{member: name, holds: map[QueueID]Epoch{}}
		b.all[name] = c
	}
	b.enter(c, static...)
	b.look(c)
	b.settle()
	return c
}

// enter joins, and the answer is lost.
func (b *bench) enter(c *believer, static ...QueueID) {
	b.count++
	c.session = fmt.Sprint(c.member, "-", b.count)
	j := Joining{Member: c.member, Session: c.session, Topics: []string{"a"}, Static: static}
	for q, e := range c.holds {
		j.Owned = append(j.Owned, Owned{q, e})
	}
	b.g.Join(b.now, j)
	c.version = 0
}

// restart has a new process come with the name of one that is somewhere still.
func (b *bench) restart(name string) *believer {
	b.ghosts = append(b.ghosts, b.all[name])
	delete(b.all, name)
	return b.join(name)
}

// wake has a ghost take its name back.
func (b *bench) wake(at int) {
	ghost := b.ghosts[at]
	if b.ghosts[at] = b.all[ghost.member]; b.ghosts[at] == nil {
		b.ghosts = slices.Delete(b.ghosts, at, at+1)
	}
	b.all[ghost.member] = ghost
	b.beat(ghost)
}

// reset gives queues a new epoch, without a word to the Group.
func (b *bench) reset(queues ...QueueID) {
	b.epoch++
	for _, q := range queues {
		b.ledger[q] = Standing{Epoch: b.epoch, Owner: b.ledger[q].Owner}
	}
}

// round has everybody beat, while no time passes.
func (b *bench) round() {
	for _, m := range b.members() {
		b.beat(m)
		b.settle()
		b.exclusive()
	}
}

// look gives a client its newest assignment: it lets go of what is not in it.
func (b *bench) look(c *believer) {
	queues, version, ok := b.g.Assignment(c.session)
	if !ok || c.stuck {
		return
	}
	next := map[QueueID]Epoch{}
	for _, q := range queues {
		next[q.ID] = q.Epoch
	}
	c.holds, c.version = next, version
}

// beat is a light beat; an unknown session joins again.
func (b *bench) beat(c *believer) {
	if c.silent {
		return
	}
	if !b.g.Beat(b.now, c.session, c.version) {
		b.join(c.member)
		return
	}
	b.look(c)
}

// settle makes the grants that can be made.
func (b *bench) settle() {
	for _, grant := range b.g.Wanted(b.now) {
		b.epoch++
		b.ledger[grant.Queue] = Standing{Epoch: b.epoch, Owner: grant.Owner}
		b.g.Granted(grant, b.epoch)
	}
}

// exclusive checks that no two clients hold a queue under an epoch that the ledger takes,
// and that a queue is held twice only if one of the holders was silent or stuck.
func (b *bench) exclusive() {
	valid, plain := map[QueueID]string{}, map[QueueID]string{}
	for _, c := range b.ghosts {
		for q, e := range c.holds {
			if b.ledger[q].Epoch == e {
				require.Empty(b.t, valid[q], "queue %d has two owners that may commit", q)
				valid[q] = "the ghost of " + c.member
			}
		}
	}
	for name, c := range b.all {
		for q, e := range c.holds {
			if b.ledger[q].Epoch == e {
				require.Empty(b.t, valid[q], "queue %d has two owners that may commit", q)
				valid[q] = name
			}
			if !c.silent && !c.stuck {
				require.Empty(b.t, plain[q], "queue %d is with %s and %s", q, plain[q], name)
				plain[q] = name
			}
		}
	}
}

// pass lets time go by with everybody beating.
func (b *bench) pass(d time.Duration) {
	for end := b.now.Add(d); b.now.Before(end); {
		b.now = b.now.Add(time.Second)
		for _, m := range b.members() {
			b.beat(m)
			b.settle()
		}
		b.g.Tick(b.now)
		b.settle()
		b.exclusive()
	}
}

func (b *bench) members() []*believer {
	var all []*believer
	for i := range 10 {
		if c := b.all[fmt.Sprint("c", i)]; c != nil {
			all = append(all, c)
		}
	}
	return all
}

// owned checks that every queue has an owner whose commits the ledger takes.
func (b *bench) owned() {
	owners := map[QueueID]string{}
	for name, c := range b.all {
		for q, e := range c.holds {
			if b.ledger[q].Epoch == e {
				owners[q] = name
			}
		}
	}
	for _, q := range b.topics["a"] {
		require.Contains(b.t, owners, q.ID, "%v", b.ledger[q.ID])
	}
}

func (b *bench) counts() map[string]int {
	counts := map[string]int{}
	for name, c := range b.all {
		counts[name] = len(c.holds)
	}
	return counts
}

func TestQueuesMoveOneAfterTheOther(t *testing.T) {
	b := newBench(t, KindSticky, 8)
	first := b.join("c1")
	b.pass(time.Second)
	require.Len(t, first.holds, 8)
	kept := first.holds
	b.join("c2")
	require.Empty(t, b.all["c2"].holds, "the old owner has not let go")
	b.pass(2 * time.Second)
	require.Equal(t, map[string]int{"c1": 4, "c2": 4}, b.counts())
	for q, e := range first.holds {
		require.Equal(t, kept[q], e, "a queue that stays keeps its epoch")
	}
	require.True(t, b.g.Leave(b.now, "c2-2"))
	delete(b.all, "c2")
	b.settle()
	b.pass(time.Second)
	require.Len(t, first.holds, 8)
}

func TestSilentMembers(t *testing.T) {
	b := newBench(t, KindSticky, 4)
	b.join("c1")
	silent := b.join("c2")
	b.pass(3 * time.Second)
	require.Equal(t, map[string]int{"c1": 2, "c2": 2}, b.counts())
	silent.silent = true
	b.pass(14 * time.Second)
	require.Equal(t, 2, b.counts()["c1"], "not yet")
	b.pass(2 * time.Second)
	require.Equal(t, 4, b.counts()["c1"], "after 15 s its queues are others'")
	require.Equal(t, 2, b.g.Len())
	b.pass(15 * time.Second)
	require.Equal(t, 1, b.g.Len(), "after 30 s it is gone")
	silent.silent = false
	b.pass(3 * time.Second)
	require.Equal(t, map[string]int{"c1": 2, "c2": 2}, b.counts())
}

func TestStuckMembersLoseWhatTheyDoNotRelease(t *testing.T) {
	b := newBench(t, KindSticky, 4)
	stuck := b.join("c1")
	b.pass(time.Second)
	stuck.stuck = true
	b.join("c2")
	b.pass(29 * time.Second)
	require.Empty(t, b.all["c2"].holds)
	b.pass(2 * time.Second)
	require.Len(t, b.all["c2"].holds, 2)
	require.Len(t, stuck.holds, 4, "it does not know, but its commits are refused")
}

// TestNewLeaderWaitsForOwners: members come back with what they own and lose nothing to
// whoever comes first; the queues of those that do not come back are given up in time.
func TestNewLeaderWaitsForOwners(t *testing.T) {
	b := newBench(t, KindSticky, 6)
	b.join("c1")
	b.join("c2")
	gone := b.join("c3")
	b.pass(3 * time.Second)
	before := map[string]map[QueueID]Epoch{"c1": b.all["c1"].holds, "c2": b.all["c2"].holds}
	gone.silent = true
	b.lead()
	b.pass(14 * time.Second)
	for name, holds := range before {
		require.Equal(t, holds, b.all[name].holds, "%s lost something", name)
	}
	b.pass(3 * time.Second)
	require.Equal(t, 3, b.counts()["c1"])

	// Nobody has to wait for owners who said that they go.
	for _, name := range []string{"c1", "c2"} {
		require.True(t, b.g.Leave(b.now, b.all[name].session))
		delete(b.all, name)
	}
	b.settle()
	b.lead()
	b.join("c4")
	b.pass(time.Second)
	require.Len(t, b.all["c4"].holds, 6)
}

func TestStaticAndBroadcast(t *testing.T) {
	b := newBench(t, KindStatic, 4)
	b.join("c1", 1, 2)
	b.join("c2", 2, 3)
	b.pass(2 * time.Second)
	require.Equal(t, map[string]int{"c1": 2, "c2": 1}, b.counts())
	b = newBench(t, KindBroadcast, 4)
	b.join("c1")
	b.join("c2")
	for _, c := range b.members() {
		b.look(c)
		require.Len(t, c.holds, 4)
	}
	require.Empty(t, b.g.Wanted(b.now))
}

func TestResetReachesTheOwner(t *testing.T) {
	b := newBench(t, KindSticky, 2)
	c := b.join("c1")
	b.pass(time.Second)
	version := b.g.Version()
	b.ledger[1] = Standing{Epoch: 99, Owner: OwnerOf("c1")}
	b.g.Refresh(b.ledger)
	require.Greater(t, b.g.Version(), version)
	b.pass(time.Second)
	require.Equal(t, Epoch(99), c.holds[1])
}

// TestAnythingMayHappen: members come, go, fall silent, hang; topics grow; leaders change.
// Who is heard again beats first of all: until then it is as silent as before.
// No queue ever has two owners. A new leader to whom all come back gives each queue to one
// before any time has passed; in the end every queue has one and the loads are even.
func TestAnythingMayHappen(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBench(rt, KindSticky, rapid.IntRange(1, 12).Draw(rt, "queues"))
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			name := fmt.Sprint("c", rapid.IntRange(0, 5).Draw(rt, "who"))
			c := b.all[name]
			switch n := rapid.IntRange(0, 15).Draw(rt, "what"); {
			case n < 3 || c == nil:
				b.join(name)
			case n == 3:
				b.g.Leave(b.now, c.session)
				delete(b.all, name)
			case n == 4:
				c.silent = !c.silent
				b.beat(c)
			case n == 5:
				c.stuck = !c.stuck
				b.beat(c)
			case n == 6:
				b.lead()
			case n == 7:
				b.topics["a"] = queuesOf("a", 1, len(b.topics["a"])+1)
				b.g.SetQueues(b.now, b.topics["a"])
			case n == 8:
				b.pass(time.Duration(rapid.IntRange(1, 20).Draw(rt, "seconds")) * time.Second)
			case n == 9:
				b.reset(QueueID(rapid.IntRange(1, len(b.topics["a"])).Draw(rt, "queue")))
				if rapid.Bool().Draw(rt, "in time") {
					b.g.Refresh(b.ledger)
				} else {
					b.lead()
				}
			case n == 10:
				b.restart(name)
			case n == 11 && len(b.ghosts) > 0:
				b.wake(rapid.IntRange(0, len(b.ghosts)-1).Draw(rt, "ghost"))
			case n == 12:
				b.enter(c)
			default:
				b.beat(c)
			}
			b.settle()
			b.exclusive()
		}
		for _, c := range b.all {
			c.silent, c.stuck = false, false
		}
		for i := range 6 {
			b.join(fmt.Sprint("c", i))
		}
		b.lead()
		for range 10 {
			b.round()
		}
		b.owned()
		b.join("c9")
		b.pass(70 * time.Second)
		b.owned()
		total := 0
		for name, n := range b.counts() {
			require.Contains(rt, []int{len(b.topics["a"]) / len(b.all), (len(b.topics["a"]) + len(b.all) - 1) / len(b.all)}, n, name)
			total += n
		}
		require.Len(rt, b.topics["a"], total)
	})
}
