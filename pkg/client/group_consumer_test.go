package client

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

func newGroupConsumer(t *testing.T, c *cluster, cfg GroupConfig) *GroupConsumer {
	t.Helper()
	cfg.Group, cfg.Topic = "g", "t"
	g, err := c.client().GroupConsumer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// read takes n messages and returns their offsets.
func read(t *testing.T, g *GroupConsumer, n int) (offsets []int64) {
	t.Helper()
	for range n {
		m, err := g.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		offsets = append(offsets, m.Offset)
	}
	return offsets
}

func wantCommitted(t *testing.T, c *cluster, want int64) {
	t.Helper()
	if got := c.groups.committed("t", 0); got != want {
		t.Errorf("committed %d, want %d", got, want)
	}
}

// TestOnlyWhatIsFinishedIsCommitted: a message counts with the call after the one that
// brought it; what was only handed out does not.
func TestOnlyWhatIsFinishedIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.topic("t", 1)
		c.fill("t", 0, 0, 10, 5, batch.None)
		g := newGroupConsumer(t, c, GroupConfig{})
		read(t, g, 4)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		wantCommitted(t, c, 3)
		if err := g.Close(t.Context()); err != nil {
			t.Error(err)
		}
		wantCommitted(t, c, 3)

		g = newGroupConsumer(t, c, GroupConfig{Manual: true})
		if diff := cmp.Diff([]int64{3, 4, 5, 6}, read(t, g, 4)); diff != "" {
			t.Error(diff)
		}
		if err := g.Commit(t.Context()); err != nil {
			t.Error(err)
		}
		wantCommitted(t, c, 3)
		queue := 0
		g.Finish(&Message{Queue: &queue, Offset: 4})
		g.Finish(&Message{Queue: &queue, Offset: 9}) // it was never handed out
		if err := g.Close(t.Context()); err != nil {
			t.Error(err)
		}
		wantCommitted(t, c, 5)
	})
}

func TestPollFinishesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.topic("t", 1)
		c.fill("t", 0, 0, 10, 5, batch.None)
		g := newGroupConsumer(t, c, GroupConfig{})
		got, err := g.Poll(t.Context(), 5)
		if err != nil || len(got) != 5 {
			t.Fatal(err, len(got))
		}
		if err := g.Commit(t.Context()); err != nil {
			t.Error(err)
		}
		wantCommitted(t, c, 0)
		read(t, g, 1)
		if err := g.Commit(t.Context()); err != nil {
			t.Error(err)
		}
		wantCommitted(t, c, 5)
		_ = g.Close(t.Context())
	})
}

// TestRevokedQueuesAreCommittedFirst, and come back at the group's offset.
func TestRevokedQueuesAreCommittedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.topic("t", 1)
		c.fill("t", 0, 0, 10, 5, batch.None)
		var events []string
		g := newGroupConsumer(t, c, GroupConfig{
			CommitEvery: time.Hour,
			OnAssigned:  func([]int) { events = append(events, "assigned") },
			OnRevoked:   func([]int) { events = append(events, "revoked") },
		})
		read(t, g, 3)
		c.groups.change(func() { c.groups.mu.taken = true })
		synctest.Wait()
		if _, ok, err := g.TryNext(t.Context()); ok || err != nil {
			t.Errorf("a message of a queue that is lost: %v", err)
		}
		wantCommitted(t, c, 3)
		c.groups.change(func() { c.groups.mu.taken = false; c.groups.mu.epoch++ })
		synctest.Wait()
		if diff := cmp.Diff([]int64{3, 4}, read(t, g, 2)); diff != "" {
			t.Error(diff)
		}
		_ = g.Close(t.Context())
		if diff := cmp.Diff([]string{"assigned", "revoked", "assigned", "revoked"}, events); diff != "" {
			t.Error(diff)
		}
	})
}

// TestGrant tells what is surely committed: not what a queue's next owner had refused.
func TestGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.topic("t", 1)
		c.fill("t", 0, 0, 10, 5, batch.None)
		g := newGroupConsumer(t, c, GroupConfig{CommitEvery: time.Hour, Manual: true})
		want := func(want Grant) {
			t.Helper()
			if got, err := g.Grant(0); got != want || err != nil {
				t.Errorf("grant %+v, %v; want %+v", got, err, want)
			}
		}
		finish := func(n int) {
			t.Helper()
			for range n {
				m, err := g.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				g.Finish(&m)
			}
			if err := g.Commit(t.Context()); err != nil {
				t.Error(err)
			}
		}
		finish(3)
		want(Grant{Epoch: 1, Committed: 3})
		c.groups.mu.Lock()
		c.groups.mu.epoch = 2 // it is given away, and nobody has said so
		c.groups.mu.Unlock()
		finish(2)
		want(Grant{Epoch: 1, Committed: 3})
		c.groups.change(func() {})
		synctest.Wait()
		finish(1)
		want(Grant{Epoch: 2, Committed: 4})
		if _, err := g.Grant(1); CodeOf(err) != CodeUnknownQueue {
			t.Errorf("a queue that is not owned: %v", err)
		}
		_ = g.Close(t.Context())
	})
}

// TestLeaveOfAForgottenSession gives up its queues all the same: the leader that was left
// would keep them for an owner that is gone.
func TestLeaveOfAForgottenSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.topic("t", 1)
		c.fill("t", 0, 0, 10, 5, batch.None)
		g := newGroupConsumer(t, c, GroupConfig{})
		read(t, g, 3)
		g.stop() // it is about to leave
		<-g.member.stopped
		c.groups.forget()
		if err := g.Close(t.Context()); err != nil {
			t.Error(err)
		}
		g = newGroupConsumer(t, c, GroupConfig{})
		synctest.Wait() // it was given the queue, and has not begun to read it
		g.stop()
		<-g.member.stopped
		c.groups.forget()
		if err := g.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]int{1, 1}, c.groups.mu.gaveUp); diff != "" {
			t.Error(diff)
		}
		if len(c.groups.mu.sessions) > 0 {
			t.Errorf("sessions are left: %v", c.groups.mu.sessions)
		}
	})
}

// TestSessionIsMadeAnew when the leader does not know it; reading goes on meanwhile.
func TestSessionIsMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.topic("t", 1)
		c.fill("t", 0, 0, 10, 5, batch.None)
		g := newGroupConsumer(t, c, GroupConfig{})
		read(t, g, 3)
		c.groups.forget()
		if diff := cmp.Diff([]int64{3, 4, 5}, read(t, g, 3)); diff != "" {
			t.Error(diff)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		wantCommitted(t, c, 5)
		if err := g.Pause(0); err != nil {
			t.Error(err)
		}
		if _, ok, _ := g.TryNext(t.Context()); ok {
			t.Error("a message of a paused queue")
		}
		_ = g.Resume(0)
		_ = g.Seek(0, 8)
		if diff := cmp.Diff([]int64{8, 9}, read(t, g, 2)); diff != "" {
			t.Error(diff)
		}
		_ = g.Close(t.Context())
	})
}

func TestGroupConfigIsChecked(t *testing.T) {
	for _, cfg := range []GroupConfig{{}, {Group: "g"}, {Group: "g", Topic: "t", Queues: []int{1}}, {Group: "g", Topic: "t", CommitEvery: -1}} {
		if err := cfg.withDefaults().validate(); CodeOf(err) != CodeInvalidConfig {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// TestGroupStarts: what brokers are told of where a group begins.
func TestGroupStarts(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 30, 0, 1, time.UTC)
	if got := Timestamp(at).message().GetTimeUnixMs(); got != at.UnixMilli()+1 {
		t.Errorf("%d, want the first whole millisecond that is not before %d ns", got, at.UnixNano())
	}
	if got := Offset(7).message().GetOffset(); got != 7 {
		t.Error(got)
	}
	if !Latest().message().GetLatest() || !Earliest().message().GetEarliest() {
		t.Error("the ends of a queue")
	}
}

// TestAwaitKeepsWhatIsHere: whoever waits before all that is here was taken loses nothing.
func TestAwaitKeepsWhatIsHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.topic("t", 1)
		c.fill("t", 0, 0, 20, 5, batch.None)
		g := newGroupConsumer(t, c, GroupConfig{MaxBytes: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var got []int64
		for len(got) < 20 {
			if err := g.Await(ctx); err != nil {
				t.Fatal(err)
			}
			if m, ok, err := g.TryNext(ctx); err != nil {
				t.Fatal(err)
			} else if ok {
				got = append(got, m.Offset)
			}
		}
		for i, offset := range got {
			if offset != int64(i) {
				t.Fatalf("message %d has the offset %d", i, offset)
			}
		}
		if err := g.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
