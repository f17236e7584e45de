package workload

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/history"
)

// Decisions is what an application's database knows: how each transaction ends. All
// producers of a transaction group share it.
type Decisions struct {
	mu struct {
		sync.Mutex
		of    map[string]client.Decision // by value; Unknown while its producer is at it
		begun map[string]begun           // those that are surely stored, and not surely ended
	}
}

// begun is a transaction that must end as was decided.
type begun struct {
	handle, value string
	queue         int
}

// NewDecisions knows of no transaction.
func NewDecisions() *Decisions {
	d := &Decisions{}
	d.mu.of, d.mu.begun = map[string]client.Decision{}, map[string]begun{}
	return d
}

func (d *Decisions) set(value string, as client.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.of[value] = as
}

func (d *Decisions) of(value string) client.Decision {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.of[value]
}

func (d *Decisions) begin(b begun) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.begun[b.value] = b
}

func (d *Decisions) ended(value string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.mu.begun, value)
}

// Transactor publishes half messages; it commits most of their transactions, rolls some
// back, and of some says nothing until it is asked.
type Transactor struct {
	Source
	*Decisions
	// Group is the transaction group.
	Group string
}

// Work publishes until stop is done.
func (x *Transactor) Work(stop context.Context) error {
	return x.work(stop, x.Who, func(c *client.Client) error { return x.live(stop, c) })
}

func (x *Transactor) live(stop context.Context, c *client.Client) error {
	who := x.born(false)
	out, err := x.transactional(stop, c, who)
	if err != nil {
		return err
	}
	life, cancel := x.Scene.life(stop, x.Rng)
	defer cancel()
	publish := func() sent {
		o := x.send(who)
		o.Transaction = o.Value
		x.set(o.Value, client.Unknown)
		return sent{o, out.Publish(life, client.Message{Value: []byte(o.Value), Queue: &o.Queue})}
	}
	n := 0
	return x.pipeline(life, publish, func() { x.close(stop, c, out.Close) }, func(one sent) error {
		o, receipt := x.settle(one)
		n++
		return x.decide(out, o, receipt.Handle, n)
	})
}

func (x *Transactor) transactional(ctx context.Context, c *client.Client, who string) (*client.Transactional, error) {
	return c.Transactional(ctx, client.TransactionalConfig{
		Producer: client.ProducerConfig{Topic: x.Topic}, Group: x.Group,
		Check: func(_ context.Context, m client.Message) client.Decision { return x.check(who, m) },
	})
}

// decide ends a transaction, or leaves it: how that is to end is decided all the same.
func (x *Transactor) decide(out *client.Transactional, o history.Operation, handle string, n int) error {
	if err := x.write(o); err != nil {
		return err
	}
	decision := client.Commit
	if n%4 == 3 || o.Outcome != history.OK { // it never saw that its message was stored: so nothing else was done
		decision = client.Rollback
	}
	x.set(o.Value, decision)
	if o.Outcome != history.OK {
		return nil
	}
	b := begun{handle: handle, value: o.Value, queue: o.Queue}
	x.begin(b)
	if n%8 >= 6 { // of both decisions
		return nil
	}
	return x.end(context.Background(), out, o.Client, b)
}

// end ends a transaction as was decided.
func (x *Transactor) end(ctx context.Context, out *client.Transactional, who string, b begun) error {
	decision := x.of(b.value)
	o := x.operation(history.End, who, x.Topic, b.queue)
	o.Transaction, o.Commits = b.value, decision == client.Commit
	offset, err := out.End(ctx, b.handle, decision)
	o.Complete, o.Outcome = x.Recorder.Now(), outcome(err)
	if err == nil {
		if o.Commits {
			o.Offset = offset
		}
		x.ended(b.value)
		x.count(x.Topic + map[bool]string{true: " committed", false: " rolled back"}[o.Commits])
	} else {
		x.failed(who, "end "+b.value, err)
	}
	return x.write(o)
}

// check answers for a transaction of any producer of the group.
func (x *Transactor) check(who string, m client.Message) client.Decision {
	value := string(m.Value)
	decision := x.of(value)
	x.count(x.Topic + " check")
	if decision == client.Unknown {
		return decision
	}
	o := x.operation(history.End, who, x.Topic, *m.Queue)
	o.Transaction, o.Commits, o.Complete, o.Outcome = value, decision == client.Commit, x.Recorder.Now(), history.Info // the answer goes out after this
	if err := x.write(o); err != nil {
		x.Recorder.Problem("%v", err)
	}
	return decision
}

// Finish ends what has not surely ended, once more if need be: then it is known.
func (x *Transactor) Finish(ctx context.Context) error {
	c, err := x.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	who := x.Who + ".last"
	out, err := x.transactional(ctx, c, who)
	if err != nil {
		return err
	}
	x.mu.Lock()
	open := slices.SortedFunc(maps.Values(x.mu.begun), func(a, b begun) int { return cmp.Compare(a.value, b.value) })
	x.mu.Unlock()
	for _, b := range open {
		if err := x.end(ctx, out, who, b); err != nil {
			return err
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.mu.begun) > 0 {
		return fmt.Errorf("%d transactions could not be ended", len(x.mu.begun))
	}
	return nil
}
