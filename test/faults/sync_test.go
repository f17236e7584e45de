package faults

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// failOnce makes the next call of a kind fail, as a device does that loses one
// request: the pages of a failed sync are marked clean, and later syncs succeed. Zeros that
// are written ahead of the log are left alone: nothing depends on them, and nobody ends for them.
func failOnce(disk *crashfs.FS, op crashfs.Op, err error) (failed *atomic.Bool) {
	failed = new(atomic.Bool)
	disk.SetFault(func(c crashfs.Call) crashfs.Fault {
		if c.Op != op || c.Void || failed.Swap(true) {
			return crashfs.Fault{}
		}
		return crashfs.Fault{Err: err, Clean: &crashfs.Loss{}}
	})
	return failed
}

// A write or a sync of the leader's disk fails once. The broker ends with that
// fault, the others take over, the producer sees latency and nothing else. Started
// again the broker writes its tail once more, so that even a power cut of all of
// them right after loses nothing that was acknowledged (ATC'20).
func TestFailedWriteEndsTheLeader(t *testing.T) {
	for _, c := range []struct {
		op  crashfs.Op
		err error
	}{{crashfs.OpSync, syscall.EIO}, {crashfs.OpWrite, syscall.EIO}, {crashfs.OpWrite, syscall.ENOSPC}} {
		t.Run(fmt.Sprintf("%s %v", c.op, c.err), func(t *testing.T) {
			g := start(t)
			tr := g.publish(100)
			tr.await(20)
			old := g.leader()
			before := len(tr.acks())
			failOnce(old.disk, c.op, c.err)
			err := old.ended()
			require.ErrorIs(t, err, commitlog.ErrFailed, "Run returns the fault")
			require.ErrorIs(t, err, c.err)
			tr.await(50)
			gap := longest(tr.acks()[before-1:])
			t.Logf("longest gap between acknowledgements: %v", gap.Round(time.Millisecond))
			old.disk.SetFault(nil)
			old.start()
			tr.await(50)
			tr.stop()
			g.awaitApplied()
			g.requireStored(tr)

			g.cutPower()
			g.requireStored(tr)
		})
	}
}

// cutPower cuts the power of all brokers at once, with the loss of everything that
// was not synced, and starts them again.
func (g *group) cutPower() {
	g.t.Helper()
	for _, n := range g.brokers {
		after := n.disk.CrashWith(crashfs.Loss{})
		n.disk.PowerOff()
		n.b.Kill()
		n.disk = after
	}
	for _, n := range g.brokers {
		n.start()
	}
	g.leader()
}

// A follower whose disk fails ends too, and nobody notices.
func TestFailedSyncEndsAFollower(t *testing.T) {
	g := start(t)
	tr := g.publish(100)
	tr.await(20)
	follower := g.others(g.leader())[0]
	failOnce(follower.disk, crashfs.OpSync, syscall.EIO)
	require.ErrorIs(t, follower.ended(), commitlog.ErrFailed)
	tr.await(50)
	follower.disk.SetFault(nil)
	follower.start()
	g.awaitApplied()
	tr.stop()
	g.awaitApplied()
	g.cutPower()
	g.requireStored(tr)
}

// The leader's sync never comes back. It hands over within the election timeout
// and says that it is unwell; when the sync returns it is fit again and catches up.
func TestHungSync(t *testing.T) {
	g := start(t)
	tr := g.publish(100)
	tr.await(20)
	old := g.leader()
	before := len(tr.acks())
	hung, goOn := make(chan struct{}), make(chan struct{})
	var once, release sync.Once
	unhang := func() { release.Do(func() { close(goOn) }) }
	t.Cleanup(unhang)
	old.disk.SetFault(func(c crashfs.Call) crashfs.Fault {
		if c.Op == crashfs.OpSync {
			once.Do(func() { close(hung) })
			<-goOn
		}
		return crashfs.Fault{}
	})
	<-hung
	began := time.Now()
	g.awaitLeaderOtherThan(old)
	serving := time.Since(began)
	tr.await(50)
	t.Logf("from the hang to a new leader that serves: %v (election timeout %v), longest gap between acknowledgements: %v",
		serving.Round(time.Millisecond), electionTimeout, longest(tr.acks()[before-1:]).Round(time.Millisecond))
	require.True(t, old.running(), "a hang is no fault to end for")
	require.Eventually(t, func() bool { return old.status().GetStatus().GetTrouble() == "its disk does not finish a sync" }, patience, 5*time.Millisecond)
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(g.others(old), func(n *brokerOnDisk) bool { // the one that leads by now
			return slices.Contains(n.peers(), "its disk does not finish a sync")
		})
	}, patience, 5*time.Millisecond, "the leader knows who is unwell")

	unhang()
	require.Eventually(t, func() bool { return old.status().GetStatus().GetTrouble() == "" }, patience, 5*time.Millisecond, "fit again")
	require.Eventually(t, func() bool { // and trusted with the leadership
		_, _, err := g.client.Admin().Transfer(t.Context(), old.cfg.Node.ID)
		return err == nil
	}, patience, 50*time.Millisecond)
	tr.await(20)
	tr.stop()
	g.awaitApplied()
	g.requireStored(tr)
}

func (n *brokerOnDisk) peers() (troubles []string) {
	for _, p := range n.status().GetPeers() {
		troubles = append(troubles, p.GetTrouble())
	}
	return troubles
}

func (g *group) awaitLeaderOtherThan(old *brokerOnDisk) {
	g.t.Helper()
	require.Eventually(g.t, func() bool {
		return slices.ContainsFunc(g.others(old), func(n *brokerOnDisk) bool { return n.status().GetStatus().GetServing() })
	}, patience, 2*time.Millisecond)
}

// One follower's disk takes long for every sync. The leader's acknowledgements come
// from the other one's and do not wait for it.
func TestSlowFollowerDoesNotSlowAcknowledgements(t *testing.T) {
	const slow, messages = 400 * time.Millisecond, 100
	g := start(t)
	tr := g.publish(100)
	tr.await(20)
	quick := latencies(tr.await(messages))
	follower := g.others(g.leader())[0]
	var syncs atomic.Int64
	follower.disk.SetFault(func(c crashfs.Call) crashfs.Fault {
		if c.Op == crashfs.OpSync {
			syncs.Add(1)
			timer := time.NewTimer(slow)
			<-timer.C
		}
		return crashfs.Fault{}
	})
	// Who waits for the slow one never is that quick. A machine that is busy with other things
	// may be slow for a while, or elect a new leader: then it is looked at again.
	for deadline := time.Now().Add(patience); ; {
		measured, before := tr.await(messages), syncs.Load()
		for syncs.Load() < before+3 { // the follower takes part, at its pace
			measured = append(measured, tr.await(messages)...)
		}
		slowed := latencies(measured)
		t.Logf("acknowledged after, median and worst of %d: %v, %v; with a follower whose syncs take %v: %v, %v (of %d)",
			messages, median(quick), slices.Max(quick), slow, median(slowed), slices.Max(slowed), len(slowed))
		if median(slowed) < slow/4 {
			break
		}
		require.True(t, time.Now().Before(deadline), "acknowledgements wait for the slow follower")
		if follower == g.leader() {
			_, _, err := g.client.Admin().Transfer(t.Context(), g.others(follower)[0].cfg.Node.ID)
			t.Logf("the slow one led: %v", err)
		}
	}
	follower.disk.SetFault(nil)
	tr.stop()
	g.awaitApplied()
	g.requireStored(tr)
}

func latencies(acks []ack) (all []time.Duration) {
	for _, a := range acks {
		all = append(all, a.got.Sub(a.sent))
	}
	return all
}

func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2].Round(time.Microsecond)
}
