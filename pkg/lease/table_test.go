package lease

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// scene is a Table and what everyone knows of its messages, said as simply as possible.
type scene struct {
	t    require.TestingT
	now  time.Time
	cfg  Config
	tab  *Table
	all  []*known // by offset
	next int      // that is to be added
}

// known is what is true of a message.
type known struct {
	group    string
	attempts int
	visible  time.Time
	done     bool
	added    bool
	lease    *Lease
	pins     int
	expired  bool // its attempt is to be stored
	dead     bool // is being moved
}

func newScene(t require.TestingT, cfg Config, messages int) *scene {
	s := &scene{t: t, now: time.Unix(1_000, 0), cfg: cfg, tab: New(cfg, 7)}
	for i := range messages {
		k := &known{}
		if i%3 > 0 {
			k.group = fmt.Sprint("g", i%4)
		}
		s.all = append(s.all, k)
	}
	return s
}

// lead begins a new leadership: leases are gone, what is stored is not.
func (s *scene) lead() {
	s.tab, s.next = New(s.cfg, 7), 0
	for _, k := range s.all {
		k.lease, k.pins, k.expired, k.dead, k.added = nil, 0, false, false, false
	}
}

func (s *scene) add(n int) {
	for ; n > 0 && s.next < len(s.all); n-- {
		k := s.all[s.next]
		if !k.done {
			if !s.tab.Add(s.now, Message{Offset(s.next), k.group, k.attempts, k.visible}) {
				require.True(s.t, s.tab.Full())
				return
			}
			k.added = true
		}
		s.next++
	}
}

func (s *scene) take(n int, invisible time.Duration) {
	for _, l := range s.tab.Take(s.now, n, invisible) {
		k := s.all[l.Offset]
		require.True(s.t, k.added && !k.done, "offset %d", l.Offset)
		require.Nil(s.t, k.lease, "offset %d is leased twice", l.Offset)
		require.Zero(s.t, k.pins, "offset %d is on its way through the ledger", l.Offset)
		require.False(s.t, k.visible.After(s.now), "offset %d comes too early", l.Offset)
		require.Equal(s.t, k.attempts+1, l.Attempt)
		require.True(s.t, s.cfg.MaxAttempts == 0 || l.Attempt <= s.cfg.MaxAttempts, "offset %d", l.Offset)
		if s.cfg.FIFO && k.group != "" {
			for o, before := range s.all[:l.Offset] {
				require.True(s.t, before.done || before.group != k.group, "offset %d of %s comes before %d", l.Offset, k.group, o)
			}
		}
		k.lease = &l
		require.True(s.t, s.tab.Holds(l.Offset, l.Seq))
	}
}

// tick lets time pass.
func (s *scene) tick(d time.Duration) {
	s.now = s.now.Add(d)
	for _, l := range s.tab.Tick(s.now) {
		k := s.all[l.Offset]
		require.NotNil(s.t, k.lease)
		require.False(s.t, k.lease.Until.After(s.now))
		k.lease, k.expired, k.pins = nil, true, k.pins+1
	}
	for o, k := range s.all {
		if k.lease != nil && k.pins == 0 {
			require.True(s.t, k.lease.Until.After(s.now), "the lease of %d has not ended", o)
		}
	}
}

// pin has something of a message go through the ledger.
func (s *scene) pin(o Offset) {
	s.tab.Pin(o)
	s.all[o].pins++
}

// settle is the ledger's answer about a pinned message: done, tried, or nothing.
func (s *scene) settle(o Offset, answer int) {
	k := s.all[o]
	switch {
	case answer == 0 || k.dead && answer != 2:
		k.done, k.lease = true, nil
		s.tab.Done(s.now, o)
	case answer == 1 && !k.done:
		k.attempts = min(k.attempts+1, max(s.cfg.MaxAttempts, 1_000))
		if s.cfg.MaxAttempts > 0 {
			k.attempts = min(k.attempts, s.cfg.MaxAttempts)
		}
		k.visible = s.now.Add(s.cfg.Backoff(k.attempts))
		k.lease = nil
		s.tab.Delay(s.now, o, k.attempts, k.visible)
	}
	k.pins--
	k.dead, k.expired = false, false
	s.tab.Unpin(s.now, o)
}

func (s *scene) bury(n int) {
	for _, o := range s.tab.Dead(n) {
		k := s.all[o]
		require.True(s.t, s.cfg.MaxAttempts > 0 && k.attempts >= s.cfg.MaxAttempts, "offset %d is no dead letter", o)
		require.False(s.t, k.done)
		k.dead, k.pins = true, k.pins+1
	}
}

// some is an offset of which something is true, by chance; -1: none.
func (s *scene) some(rt *rapid.T, what string, is func(*known) bool) Offset {
	var all []Offset
	for o, k := range s.all {
		if is(k) {
			all = append(all, Offset(o))
		}
	}
	if len(all) == 0 {
		return -1
	}
	return rapid.SampledFrom(all).Draw(rt, what)
}

func (s *scene) step(rt *rapid.T) {
	switch rapid.IntRange(0, 11).Draw(rt, "step") {
	case 0, 1:
		s.add(rapid.IntRange(1, 8).Draw(rt, "add"))
	case 2, 3:
		s.take(rapid.IntRange(1, 6).Draw(rt, "take"), time.Duration(rapid.IntRange(1, 30).Draw(rt, "invisible"))*time.Second)
	case 4:
		s.tick(time.Duration(rapid.IntRange(0, 20_000).Draw(rt, "tick")) * time.Millisecond)
	case 5, 6:
		if o := s.some(rt, "leased", func(k *known) bool { return k.lease != nil }); o >= 0 {
			s.pin(o)
		}
	case 7, 8:
		if o := s.some(rt, "pinned", func(k *known) bool { return k.pins > 0 }); o >= 0 {
			s.settle(o, rapid.IntRange(0, 2).Draw(rt, "answer"))
		}
	case 9:
		s.bury(rapid.IntRange(1, 3).Draw(rt, "bury"))
	case 10:
		if o := s.some(rt, "extended", func(k *known) bool { return k.lease != nil }); o >= 0 {
			until := s.now.Add(40 * time.Second)
			require.True(rt, s.tab.Extend(s.now, o, s.all[o].lease.Seq, until))
			require.False(rt, s.tab.Extend(s.now, o, s.all[o].lease.Seq+1_000, until))
			s.all[o].lease.Until = until
		}
	case 11:
		if o := s.some(rt, "free", func(k *known) bool { return k.lease == nil && !k.done && k.pins == 0 }); o >= 0 {
			s.pin(o) // an acknowledgement of a lease that a former leader gave
		}
	}
	if rapid.IntRange(0, 40).Draw(rt, "failover") == 0 {
		s.lead()
	}
}

// TestAgainstModel: whatever happens, no message is leased twice, too early, out of order,
// or too often; and when everyone does his work, all of them come to an end.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := Config{
			MaxAttempts: rapid.IntRange(0, 3).Draw(rt, "max attempts"), BackoffMin: time.Second, BackoffMax: 5 * time.Second,
			FIFO: rapid.Bool().Draw(rt, "fifo"), Limit: rapid.IntRange(5, 40).Draw(rt, "limit"),
		}
		s := newScene(rt, cfg, 40)
		for range rapid.IntRange(1, 120).Draw(rt, "steps") {
			s.step(rt)
			require.LessOrEqual(rt, s.tab.Len(), cfg.Limit)
			leased := 0
			for _, k := range s.all {
				if k.lease != nil {
					leased++
				}
			}
			require.Equal(rt, leased, s.tab.Leased())
		}
		s.finish()
	})
}

// finish does everyone's work until nothing is left.
func (s *scene) finish() {
	for range 1_000 {
		s.add(len(s.all))
		s.take(len(s.all), time.Second)
		s.bury(len(s.all))
		left := 0
		for o, k := range s.all {
			if k.lease != nil && k.pins == 0 {
				s.pin(Offset(o))
			}
			for k.pins > 0 {
				s.settle(Offset(o), 0)
			}
			if !k.done {
				left++
			}
		}
		if left == 0 {
			require.Zero(s.t, s.tab.Len())
			require.Empty(s.t, s.tab.lines)
			require.Empty(s.t, s.tab.pins)
			return
		}
		s.tick(max(0, s.tab.Next().Sub(s.now)))
	}
	require.Fail(s.t, "some messages never come to an end")
}

func TestBackoff(t *testing.T) {
	cfg := Config{BackoffMin: time.Second, BackoffMax: 10 * time.Second}
	for attempts, want := range []time.Duration{1, 1, 2, 4, 8, 10, 10} {
		require.Equal(t, want*time.Second, cfg.Backoff(attempts))
	}
	require.Equal(t, 10*time.Second, cfg.Backoff(10_000))
	require.Zero(t, Config{}.Backoff(5))
}

// TestLineMovesOn: in a message group one message after the other, others at once.
func TestLineMovesOn(t *testing.T) {
	now := time.Unix(1_000, 0)
	tab := New(Config{FIFO: true, MaxAttempts: 2, BackoffMin: time.Second, BackoffMax: time.Second, Limit: 10}, 0)
	for o, group := range []string{"a", "a", "b", "", "a"} {
		require.True(t, tab.Add(now, Message{Offset: Offset(o), Group: group}))
	}
	offsets := func(n int) (all []Offset) {
		for _, l := range tab.Take(now, n, time.Minute) {
			all = append(all, l.Offset)
		}
		return all
	}
	require.Equal(t, []Offset{0, 2, 3}, offsets(10))
	tab.Pin(0)
	tab.Delay(now, 0, 1, now.Add(time.Second))
	tab.Unpin(now, 0)
	require.Empty(t, offsets(10), "those behind it wait for its next attempt")
	now = now.Add(time.Second)
	require.Empty(t, tab.Tick(now))
	require.Equal(t, []Offset{0}, offsets(10))
	now = now.Add(time.Minute)
	require.Len(t, tab.Tick(now), 3, "the leases have ended")
	tab.Delay(now, 0, 2, now)
	tab.Unpin(now, 0)
	require.Equal(t, []Offset{0}, tab.Dead(5))
	tab.Done(now, 0)
	tab.Unpin(now, 0)
	require.Equal(t, []Offset{1}, offsets(10))
}
