package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/test/cluster"
)

// load is a producer that goes on all the time; every message it sends must be
// acknowledged in the end.
type load struct {
	t     *testing.T
	cl    *client.Client
	g     errgroup.Group
	stop  context.CancelFunc
	count int
	once  sync.Once
}

// startLoad publishes numbered messages to a new topic, one every two milliseconds.
func startLoad(t *testing.T, c *cluster.Cluster, topic string) *load {
	t.Helper()
	c.Admin("topic", "create", topic)
	cl, err := client.Dial(t.Context(), client.Config{Seeds: strings.Split(c.Servers(), ",")})
	if err != nil {
		t.Fatal(err)
	}
	producer, err := cl.Producer(t.Context(), client.ProducerConfig{Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	l := &load{t: t, cl: cl, stop: stop}
	l.g.Go(func() error {
		var results []*client.Result
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			results = append(results, producer.Publish(t.Context(), client.Message{Value: fmt.Appendf(nil, "%d", len(results))}))
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		l.count = len(results)
		var errs []error
		for i, r := range results {
			if _, err := r.Get(t.Context()); err != nil {
				errs = append(errs, fmt.Errorf("message %d: %w", i, err))
			}
		}
		return errors.Join(errs...)
	})
	t.Cleanup(func() { _ = l.end() })
	return l
}

// end stops the producer and says what went wrong.
func (l *load) end() (err error) {
	l.once.Do(func() {
		l.stop()
		err = l.g.Wait()
	})
	return err
}

// finish stops the producer, and reads everything back: each message once, in order.
func (l *load) finish(topic string) {
	l.t.Helper()
	if err := l.end(); err != nil {
		l.t.Fatalf("not acknowledged: %v", err)
	}
	consumer, err := l.cl.Consumer(l.t.Context(), client.ConsumerConfig{Topic: topic})
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), cluster.Timeout)
	defer cancel()
	for i := range l.count {
		m, err := consumer.Next(ctx)
		if err != nil {
			l.t.Fatalf("message %d of %d: %v", i, l.count, err)
		}
		if string(m.Value) != fmt.Sprint(i) {
			l.t.Fatalf("message %d is %q", i, m.Value)
		}
	}
	if m, more, err := consumer.TryNext(); more || err != nil {
		l.t.Errorf("after the last message: %q, %v", m.Value, err)
	}
	if err := errors.Join(consumer.Close(), l.cl.Close()); err != nil {
		l.t.Error(err)
	}
	l.t.Logf("%d messages acknowledged, each read once and in order", l.count)
}

// TestGrowAndReplace grows a single broker to three, replaces one that died, and lets
// the leader go, all under load: no client sees an error, nothing is lost.
func TestGrowAndReplace(t *testing.T) {
	c := cluster.Start(t, cluster.Config{Members: 1})
	load := startLoad(t, c, "load")
	for _, id := range []string{"n2", "n3"} {
		n := c.Join(id)
		n.Start()
		insist(t, c, "add", id, n.Peer, "--promote")
	}
	dead := c.Node("n2")
	dead.Kill9()
	n4 := c.Join("n4")
	n4.Start()
	progress := insist(t, c, "replace", "n2", "n4", n4.Peer)
	for _, want := range []string{"n4 at " + n4.Peer + " is added as a learner", "n4 is a voter", "n2 is removed"} {
		if !strings.Contains(progress, want) {
			t.Errorf("no %q in\n%s", want, progress)
		}
	}
	c.Forget(dead)

	// The leader goes, and its broker is left running.
	gone := c.Leader()
	insist(t, c, "remove", gone.ID)
	c.Forget(gone)
	c.LeaderOtherThan(gone)
	c.Eventually("the removed broker to know it", func(ctx context.Context) bool {
		s, err := gone.Status(ctx)
		return err == nil && s.GetSeat() == "NONE" && strings.Contains(s.GetOutcast(), "it was removed from the group")
	})
	if code := program(t, "broker", "check", "ready", "--http-addr", gone.HTTP); code != 1 {
		t.Errorf("the removed broker calls itself ready: exit code %d", code)
	}
	// It is LEAVING until the leader, which is a new one, knows that it knows.
	c.Eventually("the list of members to be without who is gone", func(context.Context) bool {
		list := c.Admin("member", "list", "-o", "json")
		return !strings.Contains(list, `"id": "`+gone.ID+`"`) && !strings.Contains(list, `"id": "n2"`)
	})
	// A member that was away meanwhile, restarted with the configuration of its first
	// day, is in the group as it is now.
	c.Node("n4").Kill9()
	c.Node("n4").Start()
	c.Eventually("n4 to be back", func(ctx context.Context) bool {
		s, err := c.Node("n4").Status(ctx)
		return err == nil && s.GetSeat() == "VOTER" && s.GetLeader() != ""
	})
	load.finish("load")
}

// insist gives `broker admin member` a command again while there is no leader to carry it
// out, or none that knows whether it has: on a machine that stalls, leaders step down. The
// commands may be given twice, except that nobody is removed twice.
func insist(t *testing.T, c *cluster.Cluster, args ...string) (printed string) {
	t.Helper()
	line := append([]string{"admin", "--server", c.Servers(), "member"}, args...)
	c.Eventually("broker admin member "+strings.Join(args, " "), func(ctx context.Context) bool {
		out, err := cluster.Program(ctx, "broker", line...).CombinedOutput()
		gone := args[0] == "remove" && printed != "" && strings.Contains(string(out), "UNKNOWN_MEMBER")
		printed += string(out)
		var exit *exec.ExitError
		switch {
		case err == nil || gone:
			return true
		case errors.As(err, &exit) && exit.ExitCode() == 6 || strings.Contains(string(out), "CHANGE_NOT_READY") || strings.Contains(string(out), "QUORUM_AT_RISK"):
			t.Logf("once more: %s", out)
			return false
		}
		t.Fatalf("%v: %v\n%s", args, err, out)
		return false
	})
	return printed
}

// program runs a program and returns its exit code.
func program(t *testing.T, name string, args ...string) int {
	t.Helper()
	cmd := cluster.Program(t.Context(), name, args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return cmd.ProcessState.ExitCode()
}

// recoverAlone goes on with the directory of n1.
func recoverAlone(t *testing.T, n1 *cluster.Node) {
	t.Helper()
	out, err := n1.Recover()
	if err != nil || !strings.Contains(out, "give up n2, n3 for ever") {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := n1.Recover("--yes-i-know-that-a-majority-is-gone", "n2", "--reason", "test"); err == nil || !strings.Contains(out, "confirmed were [n2]") {
		t.Fatalf("recovered without the right names: %v\n%s", err, out)
	}
	out, err = n1.Recover("--yes-i-know-that-a-majority-is-gone", "n2,n3", "--reason", "two disks burnt")
	if err != nil || !strings.Contains(out, "Recovered at") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestRecoverWithoutAMajority deletes two of three data directories and goes on with
// the third; the brokers that had the others are refused with what they had.
func TestRecoverWithoutAMajority(t *testing.T) {
	c := cluster.Start(t, cluster.Config{})
	load := startLoad(t, c, "load")
	c.Eventually("some messages", func(ctx context.Context) bool {
		s, err := c.Leader().Status(ctx)
		return err == nil && s.GetCommitIndex() > 50
	})
	if err := load.end(); err != nil {
		t.Fatal(err)
	}
	n1, n2, n3 := c.Node("n1"), c.Node("n2"), c.Node("n3")
	c.Eventually("the survivor to have everything", func(ctx context.Context) bool {
		s, err := n1.Status(ctx)
		l, lerr := c.Leader().Status(ctx)
		return err == nil && lerr == nil && s.GetDurableIndex() == l.GetLedgerEndIndex() && s.GetCommitIndex() == l.GetCommitIndex()
	})
	if out, err := n1.Recover(); err == nil || !strings.Contains(out, "in use by another broker") || !strings.Contains(out, "DATA_DIR_REFUSED") {
		t.Fatalf("recovered under a running broker: %v\n%s", err, out)
	}
	for _, n := range c.Nodes() {
		n.Kill9()
	}
	// n3's directory turns up again later; n2's is gone.
	if err := os.RemoveAll(n2.Data); err != nil {
		t.Fatal(err)
	}
	recoverAlone(t, n1)
	n1.Start()
	c.Eventually("the survivor to lead", func(ctx context.Context) bool {
		s, err := n1.Status(ctx)
		return err == nil && s.GetServing()
	})
	load.finish("load") // reads back what was acknowledged before

	n3.Start()
	c.Eventually("n3 to be refused", func(ctx context.Context) bool {
		s, err := n3.Status(ctx)
		return err == nil && strings.Contains(s.GetOutcast(), "docs/runbooks/majority-lost.md") && s.GetLeader() == ""
	})
	n3.Kill9()
	c.Forget(n3)
	c.Forget(n2)
	n4 := c.Join("n4")
	n4.Start()
	insist(t, c, "add", "n4", n4.Peer, "--promote")
	list := c.Admin("member", "list")
	for _, want := range []string{"recovered without a majority", "n1,n2,n3 became n1", "two disks burnt"} {
		if !strings.Contains(list, want) {
			t.Errorf("no %q in\n%s", want, list)
		}
	}
	c.Eventually("a new member to know of the recovery", func(ctx context.Context) bool {
		s, err := n4.Status(ctx)
		return err == nil && len(s.GetGroup().GetRecoveries()) == 1
	})
	again := startLoad(t, c, "again")
	c.Eventually("some more messages", func(ctx context.Context) bool {
		s, err := n4.Status(ctx)
		return err == nil && s.GetCommitIndex() > 200
	})
	again.finish("again")
}
