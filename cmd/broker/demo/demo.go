package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/client"
)

// drainTime bounds the end of a demo: flushing, consuming the rest, comparing.
const drainTime = 60 * time.Second

// demo is one run.
type demo struct {
	cfg     config
	log     *slog.Logger
	display *display
	books   *tally

	brokers    *brokers
	client     *client.Client
	publishers []*publisher
	readers    []*reader
	killer     *killer
	drained    bool // the queues were consumed to their ends
	agree      bool // the three ledgers are equal
}

// run runs the demo until its time is over or ctx ends, and returns the verdict.
func run(ctx context.Context, cfg config, out, logs io.Writer) (verdict, error) {
	dir, err := os.MkdirTemp(cfg.data, "ledgermq-demo-")
	if err != nil {
		return verdict{}, err
	}
	if cfg.data == "" {
		defer os.RemoveAll(dir)
	}
	d := &demo{
		cfg: cfg, log: slog.New(slog.NewTextHandler(logs, nil)),
		display: newDisplay(out), books: newTally(cfg.producers, cfg.queues),
	}
	// The brokers outlive a Ctrl-C: what is under way is finished first.
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	running, life := errgroup.WithContext(life)
	running.Go(func() error {
		defer end(errOver)
		return d.act(ctx, life, dir, running)
	})
	err = running.Wait()
	v := d.verdict()
	if err != nil {
		v.Fault, v.OK = err.Error(), false
	}
	return v, nil
}

var errOver = errors.New("the demo is over")

// act is the demo from start to end, while the brokers run.
func (d *demo) act(ctx, life context.Context, dir string, running *errgroup.Group) error {
	if err := d.setUp(ctx, life, dir, running); err != nil {
		return err
	}
	defer d.client.Close()
	collecting := &errgroup.Group{}
	for _, p := range d.publishers {
		collecting.Go(func() error { return p.collect(life) })
	}
	if err := d.traffic(ctx, life); err != nil {
		return err
	}
	d.display.say("stopping the producers, consuming the rest")
	life, cancel := context.WithTimeoutCause(life, drainTime, errors.New("the end of the demo takes too long"))
	defer cancel()
	for _, p := range d.publishers {
		if err := p.finish(life); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
	}
	if err := collecting.Wait(); err != nil {
		return err
	}
	for _, r := range d.readers {
		if err := r.drain(life); err != nil {
			return err
		}
	}
	d.drained = true
	return d.compare(life)
}

// setUp starts the brokers and makes topic, producers and consumers.
func (d *demo) setUp(ctx, life context.Context, dir string, running *errgroup.Group) error {
	var err error
	if d.brokers, err = newBrokers(dir, d.cfg.version, d.log, running); err != nil {
		return err
	}
	for _, n := range d.brokers.members {
		if err := d.brokers.start(life, n); err != nil {
			return errors.Join(err, d.brokers.closeListeners())
		}
	}
	d.display.say("three brokers run in %s; clients at %v", dir, d.brokers.seeds())
	if d.client, err = client.Dial(ctx, client.Config{Seeds: d.brokers.seeds()}); err != nil {
		return err
	}
	if _, err := d.client.Admin().CreateTopic(ctx, topic, d.cfg.queues); err != nil && !errors.Is(err, client.ErrTopicExists) {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	for i := range d.cfg.producers {
		p, err := newPublisher(ctx, d.client, i, d.cfg, d.books)
		if err != nil {
			return err
		}
		d.publishers = append(d.publishers, p)
	}
	for q := range d.cfg.queues {
		r, err := newReader(ctx, d.client, q, d.books)
		if err != nil {
			return err
		}
		d.readers = append(d.readers, r)
	}
	d.killer = &killer{cfg: d.cfg, brokers: d.brokers, admin: d.client.Admin(), books: d.books, say: d.display.say}
	d.display.books, d.display.killer, d.display.admin = d.books, d.killer, d.client.Admin()
	return nil
}

// traffic publishes, consumes and kills until the time is over or ctx ends.
func (d *demo) traffic(ctx, life context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(life, cancel)()
	if d.cfg.runFor > 0 {
		defer time.AfterFunc(d.cfg.runFor, cancel).Stop()
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range d.publishers {
		g.Go(func() error { p.publish(ctx); return nil })
	}
	for _, r := range d.readers {
		g.Go(func() error { return r.read(ctx) })
	}
	g.Go(func() error { return d.killer.run(ctx, life) })
	g.Go(func() error { return d.display.run(ctx) })
	return g.Wait()
}

// compare waits until the three ledgers are equal.
func (d *demo) compare(ctx context.Context) error {
	for !d.agree {
		nodes, err := d.client.Admin().Status(ctx)
		if err != nil {
			return fmt.Errorf("compare the ledgers: %w", err)
		}
		type ledger struct {
			index int64
			hash  uint32
			state uint32
		}
		ledgers, reached := map[ledger]bool{}, 0
		for _, n := range nodes {
			if s := n.Status.GetStatus(); n.Err == nil && s.GetAppliedIndex() == s.GetLogHashIndex() {
				ledgers[ledger{s.GetLogHashIndex(), s.GetLogHash(), s.GetStateHash()}] = true
				reached++
			}
		}
		d.agree = reached == len(d.brokers.members) && len(ledgers) == 1
		if !d.agree && wait(ctx, 50*time.Millisecond) != nil {
			return nil // the verdict says that they differ
		}
	}
	return nil
}

func (d *demo) verdict() verdict {
	v := verdict{Seconds: time.Since(d.display.started).Seconds(), MembersAgree: d.agree, Failovers: []failover{}}
	if d.killer != nil {
		v.Failovers = d.killer.failovers()
	}
	v.counts, _ = d.books.report(d.drained)
	v.Ack = percentilesOf(d.books.latency())
	v.OK = v.clean() && v.MembersAgree && v.Unacked == 0
	return v
}
