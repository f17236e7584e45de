package groups

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/broker"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// shop is what is known of the messages of a work-queue group.
type shop struct {
	t     *testing.T
	mu    sync.Mutex
	sent  map[string]bool // acknowledgements, from before they are sent
	done  map[string]bool // those that were answered
	tried map[string]int  // the highest attempt that was given back and answered
	seen  int
	again int // deliveries of what was delivered before
	late  int // acknowledgements that came when somebody else had the message
	grown chan struct{}
}

func newShop(t *testing.T) *shop {
	return &shop{t: t, sent: map[string]bool{}, done: map[string]bool{}, tried: map[string]int{}, grown: make(chan struct{})}
}

// deliver notes a delivery: what was acknowledged, or tried as often, must not come.
func (s *shop) deliver(d *client.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := string(d.Value)
	if s.done[v] {
		s.t.Errorf("%s (%d@%d) came again after its acknowledgement was answered", v, *d.Queue, d.Offset)
	}
	if d.Attempt <= s.tried[v] {
		s.t.Errorf("%s came as attempt %d, and attempt %d was given back", v, d.Attempt, s.tried[v])
	}
	if s.seen++; d.Attempt > 1 {
		s.again++
	}
}

// ack acknowledges. An error other than that somebody else has the message fails the test.
func (s *shop) ack(ctx context.Context, d *client.Delivery) error {
	v := string(d.Value)
	s.mu.Lock()
	s.sent[v] = true
	s.mu.Unlock()
	err := d.Ack(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.done[v] = true
		close(s.grown)
		s.grown = make(chan struct{})
	case errors.Is(err, client.ErrReceiptExpired):
		s.late++
	default:
		return fmt.Errorf("acknowledge %s: %w", v, err)
	}
	return nil
}

func (s *shop) nack(ctx context.Context, d *client.Delivery, delay time.Duration) error {
	err := d.Nack(ctx, delay)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.tried[string(d.Value)] = max(s.tried[string(d.Value)], d.Attempt)
	case errors.Is(err, client.ErrReceiptExpired):
		s.late++
	default:
		return fmt.Errorf("give %s back: %w", d.Value, err)
	}
	return nil
}

// await waits until so many messages are done.
func (s *shop) await(n int) {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		done, grown := len(s.done), s.grown
		s.mu.Unlock()
		if done >= n {
			return
		}
		select {
		case <-grown:
		case <-timeout:
			s.t.Fatalf("%d of %d messages are done", done, n)
		}
	}
}

// workers receive until ctx is done; work says what becomes of each message.
func (s *shop) workers(ctx context.Context, w *client.WorkConsumer, n int, work func(context.Context, *client.Delivery) error) *errgroup.Group {
	var g errgroup.Group
	for i := range n {
		g.Go(func() error {
			for {
				deliveries, err := w.Receive(ctx, 1+i%5)
				if ctx.Err() != nil {
					return nil
				}
				if err != nil {
					return fmt.Errorf("receive: %w", err)
				}
				for _, d := range deliveries {
					s.deliver(d)
				}
				for _, d := range deliveries {
					if err := work(context.WithoutCancel(ctx), d); err != nil {
						return err
					}
				}
			}
		})
	}
	return &g
}

func workScene(t *testing.T, queues int, cfg client.WorkConfig) (members []*member, c *client.Client, p *client.Producer, w *client.WorkConsumer) {
	t.Helper()
	members, seeds := startBrokers(t, broker.GroupTiming{})
	c, err := client.Dial(t.Context(), client.Config{Seeds: seeds})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.Admin().CreateTopic(t.Context(), "t", queues)
	require.NoError(t, err)
	p, err = c.Producer(t.Context(), client.ProducerConfig{Topic: "t"})
	require.NoError(t, err)
	cfg.Group, cfg.Topic = "g", "t"
	w, err = c.WorkConsumer(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.Close() })
	return members, c, p, w
}

func lagOf(t *testing.T, c *client.Client, group string) int64 {
	t.Helper()
	d, err := c.Admin().DescribeGroup(t.Context(), group)
	require.NoError(t, err)
	return d.Lag
}

// TestLeadersAreKilledWhileWorkersAcknowledge: what was acknowledged never comes again,
// nothing is lost, attempts that were counted stay counted, and no worker sees an error but
// that a message had gone to somebody else.
func TestLeadersAreKilledWhileWorkersAcknowledge(t *testing.T) {
	members, c, p, w := workScene(t, 4, client.WorkConfig{
		Invisible: 20 * time.Second, Policy: client.WorkPolicy{MaxAttempts: -1, BackoffMin: time.Millisecond, BackoffMax: 20 * time.Millisecond},
	})
	kills := 3
	if testing.Short() {
		kills = 1
	}
	s := newShop(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	g := s.workers(ctx, w, 8, func(ctx context.Context, d *client.Delivery) error {
		if n, _ := strconv.Atoi(string(d.Value)); n%40 == 7 && d.Attempt < 4 {
			return s.nack(ctx, d, -1)
		}
		return s.ack(ctx, d)
	})
	sent := 0
	publish := func(n int) {
		for range n {
			p.Publish(t.Context(), client.Message{Value: fmt.Append(nil, sent)})
			sent++
		}
	}
	publish(600)
	for range kills {
		s.await(sent - 300)
		killed := killLeader(t, c, members)
		publish(600)
		s.await(sent - 500)
		killed.start()
	}
	require.NoError(t, p.Flush(t.Context()))
	s.await(sent)
	stop()
	require.NoError(t, g.Wait())
	require.Zero(t, lagOf(t, c, "g"))
	t.Logf("%d sent, %d deliveries, %d of them again, %d acknowledgements too late", sent, s.seen, s.again, s.late)
	// Three times each, if no leader died with what nobody has seen yet.
	require.GreaterOrEqual(t, s.again, sent/40, "attempts were made in vain")
}

// TestOrderOfMessageGroups: with FIFO a message is delivered when all before it in its
// message group are done, also through attempts in vain and while leaders are killed.
func TestOrderOfMessageGroups(t *testing.T) {
	members, c, p, w := workScene(t, 3, client.WorkConfig{
		Invisible: 20 * time.Second, Policy: client.WorkPolicy{MaxAttempts: -1, BackoffMin: time.Millisecond, BackoffMax: 5 * time.Millisecond, FIFO: true},
	})
	const lines, each = 12, 50
	s := newShop(t)
	for n := range each {
		for line := range lines {
			name := fmt.Sprint("line", line)
			p.Publish(t.Context(), client.Message{MessageGroup: name, Value: fmt.Appendf(nil, "%s/%d", name, n)})
		}
	}
	require.NoError(t, p.Flush(t.Context()))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	g := s.workers(ctx, w, 6, func(ctx context.Context, d *client.Delivery) error {
		name, number, _ := strings.Cut(string(d.Value), "/")
		n, _ := strconv.Atoi(number)
		s.mu.Lock()
		for before := range n {
			if v := fmt.Sprint(name, "/", before); !s.sent[v] {
				t.Errorf("%s came, and nobody had acknowledged %s", d.Value, v)
			}
		}
		s.mu.Unlock()
		if n%9 == 4 && d.Attempt < 3 {
			return s.nack(ctx, d, time.Duration(n%3)*time.Millisecond)
		}
		return s.ack(ctx, d)
	})
	for i := range 2 {
		s.await((i + 1) * lines * each / 4)
		killed := killLeader(t, c, members)
		s.await((i+1)*lines*each/4 + lines)
		killed.start()
	}
	s.await(lines * each)
	stop()
	require.NoError(t, g.Wait())
	require.Zero(t, lagOf(t, c, "g"))
	t.Logf("%d deliveries, %d of them again, %d acknowledgements too late", s.seen, s.again, s.late)
}

// TestDeadLettersOnce: while leaders are killed, each message that is tried too often is a
// dead letter exactly once, and put back exactly once, however often that is asked for.
func TestDeadLettersOnce(t *testing.T) {
	members, c, p, w := workScene(t, 2, client.WorkConfig{
		// Two attempts can end with a leader: that of the kill, and one that a busy machine deposed.
		Invisible: 20 * time.Second, Policy: client.WorkPolicy{MaxAttempts: 3, BackoffMin: time.Millisecond, BackoffMax: time.Millisecond},
	})
	const messages = 400
	for i := range messages {
		p.Publish(t.Context(), client.Message{Value: fmt.Append(nil, i)})
	}
	require.NoError(t, p.Flush(t.Context()))
	s := newShop(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	redriving := false // set while no worker runs
	work := func(ctx context.Context, d *client.Delivery) error {
		if n, _ := strconv.Atoi(string(d.Value)); n%4 == 0 && !redriving {
			return s.nack(ctx, d, -1)
		}
		return s.ack(ctx, d)
	}
	g := s.workers(ctx, w, 6, work)
	s.await(messages / 4)
	killed := killLeader(t, c, members)
	s.await(messages * 3 / 4)
	require.Eventually(t, func() bool { return lagOf(t, c, "g") == 0 }, patience, 20*time.Millisecond)
	stop()
	require.NoError(t, g.Wait())
	killed.start()
	require.Equal(t, deadValues(messages), pulled(t, c, "%DLQ%g", messages/4))
	require.Equal(t, int64(messages/4), lagOf(t, c, "%DLQ%g"))

	redriving = true
	clear(s.tried)
	redriveTwice(t, members, c, messages/4)
	require.Zero(t, lagOf(t, c, "%DLQ%g"))
	require.Equal(t, int64(messages/4), lagOf(t, c, "g"), "each is put back once")
	again, finish := context.WithCancel(t.Context())
	defer finish()
	g = s.workers(again, w, 3, work)
	s.await(messages)
	finish()
	require.NoError(t, g.Wait())
	require.Zero(t, lagOf(t, c, "g"))
}

// redriveTwice has two redrive all dead letters at once, and a leader is killed meanwhile.
func redriveTwice(t *testing.T, members []*member, c *client.Client, want int) {
	t.Helper()
	var offsets []int64
	for page := (client.DeadLetterPage{}); ; {
		var err error
		page, err = c.Admin().DeadLetters(t.Context(), "g", page.Next, 30, false)
		require.NoError(t, err)
		for _, l := range page.Letters {
			offsets = append(offsets, l.Offset)
		}
		if page.Next >= page.End {
			break
		}
	}
	require.Len(t, offsets, want)
	var both errgroup.Group
	started := make(chan struct{}, 2)
	for range 2 {
		both.Go(func() error {
			for i := 0; i < len(offsets); i += 10 {
				results, err := c.Admin().RedriveDeadLetters(t.Context(), "g", offsets[i:min(i+10, len(offsets))], false)
				if err != nil {
					return err
				}
				for _, r := range results {
					if r.Err != nil {
						return r.Err
					}
				}
				if i == 10 {
					started <- struct{}{}
				}
			}
			return nil
		})
	}
	<-started
	killLeader(t, c, members)
	require.NoError(t, both.Wait())
}

func deadValues(messages int) map[string]int {
	want := map[string]int{}
	for i := 0; i < messages; i += 4 {
		want[strconv.Itoa(i)] = 1
	}
	return want
}

// pulled counts the values of a topic.
func pulled(t *testing.T, c *client.Client, topic string, messages int) map[string]int {
	t.Helper()
	cs, err := c.Consumer(t.Context(), client.ConsumerConfig{Topic: topic})
	require.NoError(t, err)
	defer cs.Close()
	ranges, err := cs.Ranges(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(messages), ranges[0].End)
	got := map[string]int{}
	for range messages {
		m, err := cs.Next(t.Context())
		require.NoError(t, err)
		got[string(m.Value)]++
	}
	return got
}
