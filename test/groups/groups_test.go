package groups

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/broker"
	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/history"
)

const (
	patience = 60 * time.Second
	queues   = 4
)

// scene is one run: what was sent, seen and committed.
type scene struct {
	t     *testing.T
	c     *client.Client
	tasks errgroup.Group
	began time.Time

	mu struct {
		sync.Mutex
		ops        []history.Operation
		sent       int
		floor      map[int]int64   // by queue: known to be committed
		seen       map[string]bool // values
		deliveries int
		repeated   int // deliveries of what was delivered before
		grown      chan struct{}
	}
}

func newScene(t *testing.T, c *client.Client) *scene {
	s := &scene{t: t, c: c, began: time.Now()}
	s.mu.floor, s.mu.seen, s.mu.grown = map[int]int64{}, map[string]bool{}, make(chan struct{})
	return s
}

func (s *scene) now() int64 { return time.Since(s.began).Nanoseconds() }

func (s *scene) note(op history.Operation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.ops = append(s.mu.ops, op)
}

// publish sends n messages and waits until they are stored.
func (s *scene) publish(p *client.Producer, n int) {
	s.t.Helper()
	for i := 0; i < n; i += 10 {
		type sending struct {
			op     history.Operation
			result *client.Result
		}
		var all []sending
		for range 10 {
			s.mu.Lock()
			s.mu.sent++
			value, queue := fmt.Sprint("v", s.mu.sent), s.mu.sent%queues
			s.mu.Unlock()
			op := history.Operation{
				Client: "producer", Op: history.Send, Topic: "t", Queue: queue, Value: value, Invoke: s.now(),
				Sequence: history.Unknown, Index: history.Unknown, Term: history.Unknown, Outcome: history.OK,
			}
			all = append(all, sending{op, p.Publish(s.t.Context(), client.Message{Queue: &queue, Value: []byte(value)})})
		}
		for _, sent := range all {
			receipt, err := sent.result.Get(s.t.Context())
			require.NoError(s.t, err)
			sent.op.Complete, sent.op.Offset = s.now(), receipt.Offset
			s.note(sent.op)
		}
	}
}

// consumer is one member of the group.
type consumer struct {
	s        *scene
	name     string
	g        *client.GroupConsumer
	stop     context.CancelFunc
	finished map[int]int64 // by queue, not committed by name yet
	fresh    map[int]bool  // queues that were assigned since the last message of them
	done     chan struct{}
}

func (s *scene) consume(name string) *consumer {
	s.t.Helper()
	c := &consumer{s: s, name: name, finished: map[int]int64{}, fresh: map[int]bool{}, done: make(chan struct{})}
	var err error
	c.g, err = s.c.GroupConsumer(s.t.Context(), client.GroupConfig{
		Group: "g", Topic: "t", Member: name, Manual: true, CommitEvery: time.Hour,
		OnAssigned: func(queues []int) {
			for _, q := range queues {
				c.fresh[q] = true
			}
		},
		OnRevoked: func(queues []int) { // what is finished is committed after this, unseen
			c.commits(history.Info, s.now(), c.finished)
		},
	})
	require.NoError(s.t, err)
	ctx, stop := context.WithCancel(s.t.Context())
	c.stop = stop
	s.tasks.Go(func() error {
		defer close(c.done)
		return c.run(ctx)
	})
	return c
}

// run reads until ctx is done, committing every 25 messages.
func (c *consumer) run(ctx context.Context) error {
	for n := 1; ; n++ {
		invoke := c.s.now()
		m, err := c.g.Next(ctx)
		if errors.Is(err, context.Canceled) {
			return c.g.Close(c.s.t.Context())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		c.saw(&m, invoke)
		c.g.Finish(&m)
		c.finished[*m.Queue] = m.Offset + 1
		if n%25 == 0 {
			if err := c.commit(ctx); err != nil {
				return fmt.Errorf("%s: commit: %w", c.name, err)
			}
		}
	}
}

// saw notes a delivery: one below what is known to be committed must not happen.
func (c *consumer) saw(m *client.Message, invoke int64) {
	op := history.Operation{
		Client: c.name, Op: history.Pull, Topic: "t", Queue: *m.Queue, Invoke: invoke, Complete: c.s.now(), Outcome: history.OK,
		Sequence: history.Unknown, Index: history.Unknown, Term: history.Unknown, Offset: m.Offset, Seek: c.fresh[*m.Queue],
		Messages: []history.Message{{Offset: m.Offset, Value: string(m.Value)}},
	}
	delete(c.fresh, *m.Queue)
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.ops = append(s.mu.ops, op)
	if floor := s.mu.floor[*m.Queue]; m.Offset < floor {
		s.t.Errorf("%s got t/%d@%d again, and %d was committed", c.name, *m.Queue, m.Offset, floor)
	}
	s.mu.deliveries++
	if s.mu.seen[string(m.Value)] {
		s.mu.repeated++
	}
	s.mu.seen[string(m.Value)] = true
	close(s.mu.grown)
	s.mu.grown = make(chan struct{})
}

// commit stores what is finished; queues that were lost meanwhile are not known to be.
func (c *consumer) commit(ctx context.Context) error {
	finished, invoke := maps.Clone(c.finished), c.s.now()
	clear(c.finished)
	if err := c.g.Commit(ctx); err != nil {
		c.commits(history.Info, invoke, finished)
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	progress, err := c.s.c.Admin().DescribeGroup(c.s.t.Context(), "g")
	if err != nil {
		return err
	}
	c.s.told(c.name, invoke, progress)
	c.commits(history.Info, invoke, finished)
	return nil
}

// commits notes commits of which it is not known whether they were taken: a queue may have
// been lost. What the brokers say of the progress is held against them.
func (c *consumer) commits(outcome history.Outcome, invoke int64, finished map[int]int64) {
	for q, offset := range finished {
		c.s.note(history.Operation{
			Client: c.name, Op: history.Commit, Topic: "t", Queue: q, Group: "g", Invoke: invoke, Complete: c.s.now(), Outcome: outcome,
			Sequence: history.Unknown, Index: history.Unknown, Term: history.Unknown, Offset: offset,
		})
	}
}

// told notes how far the group is, as a leader says: nothing below comes again.
func (s *scene) told(who string, invoke int64, d *client.GroupDescription) {
	for _, q := range d.QueueList {
		s.note(history.Operation{
			Client: who, Op: history.Progress, Topic: "t", Queue: q.Queue, Group: "g", Invoke: invoke, Complete: s.now(), Outcome: history.OK,
			Sequence: history.Unknown, Index: history.Unknown, Term: history.Unknown, Offset: max(0, q.Offset),
		})
		s.mu.Lock()
		s.mu.floor[q.Queue] = max(s.mu.floor[q.Queue], q.Offset)
		s.mu.Unlock()
	}
}

// await waits until all that was sent, but for some, has been seen.
func (s *scene) await(but int) {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		seen, sent, grown := len(s.mu.seen), s.mu.sent, s.mu.grown
		s.mu.Unlock()
		if seen >= sent-but {
			return
		}
		select {
		case <-grown:
		case <-timeout:
			s.t.Fatalf("%d of %d messages were seen", seen, sent)
		}
	}
}

// TestLeadersAreKilledWhileAGroupConsumes: nothing is lost, nothing below the committed
// offset comes again, progress never goes back, and no consumer sees an error.
func TestLeadersAreKilledWhileAGroupConsumes(t *testing.T) {
	members, seeds := startBrokers(t, broker.GroupTiming{})
	c, err := client.Dial(t.Context(), client.Config{Seeds: seeds})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.Admin().CreateTopic(t.Context(), "t", queues)
	require.NoError(t, err)
	p, err := c.Producer(t.Context(), client.ProducerConfig{Topic: "t"})
	require.NoError(t, err)
	s := newScene(t, c)
	kills := 4
	if testing.Short() {
		kills = 1
	}
	first := s.consume("c0")
	all := []*consumer{s.consume("c1")}
	s.publish(p, 400)
	s.await(200)
	for i := range kills {
		all = append(all, s.consume(fmt.Sprint("c", i+2))) // a rebalance is on its way
		s.publish(p, 200)
		killed := killLeader(t, c, members)
		s.publish(p, 400)
		s.await(100)
		killed.start()
		if i == 0 {
			first.stop() // and another one, after the kill
			<-first.done
		}
		s.publish(p, 200)
	}
	s.await(0)
	for _, one := range all {
		one.stop()
	}
	require.NoError(t, s.tasks.Wait())
	s.judge()
	groups, err := c.Admin().DescribeGroup(t.Context(), "g")
	require.NoError(t, err)
	require.Zero(t, groups.Lag, "Close commits what is finished")
	require.Zero(t, groups.Members)
}

// judge has the history checked.
func (s *scene) judge() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	checker := history.NewChecker(history.Options{})
	for _, op := range s.mu.ops {
		require.NoError(s.t, checker.Add(op))
	}
	report := checker.Report()
	s.t.Logf("%d sent, %d deliveries, %d of them again; %d operations, anomalies %v", s.mu.sent, s.mu.deliveries, s.mu.repeated, checker.Ops(), report.Anomalies)
	require.Empty(s.t, report.Anomalies, "%+v", report.Examples)
	require.Equal(s.t, s.mu.sent, report.Acked)
	require.Len(s.t, s.mu.seen, s.mu.sent)
}
