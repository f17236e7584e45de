package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ledgermq/ledgermq/pkg/client"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// failover is one killed leader and its successor. The milliseconds count from
// the kill; detect and elect are the successor's own record, which begins with
// the last word it had from the old leader.
type failover struct {
	Killed    string    `json:"killed"`
	Successor string    `json:"successor"`
	Term      int64     `json:"term"`
	DetectMS  float64   `json:"detect_ms"`
	ElectMS   float64   `json:"elect_ms"`
	AckMS     float64   `json:"first_ack_ms"`
	At        time.Time `json:"at"`
}

func (f failover) String() string {
	return fmt.Sprintf("killed %s, %s leads term %d: detected %.0f ms, elected %.0f ms, first ack %.0f ms",
		f.Killed, f.Successor, f.Term, f.DetectMS, f.ElectMS, f.AckMS)
}

// killer kills a leader again and again.
type killer struct {
	cfg     config
	brokers *brokers
	admin   *client.Admin
	books   *tally
	say     func(format string, args ...any)

	mu struct {
		sync.Mutex
		failovers []failover
	}
}

func (k *killer) failovers() []failover {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]failover{}, k.mu.failovers...)
}

// run kills leaders until ctx, that of the traffic, ends; life is the context of
// the brokers that it restarts. When it returns all brokers run.
func (k *killer) run(ctx, life context.Context) error {
	next := time.NewTimer(k.cfg.firstKill())
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		if ctx.Err() != nil {
			return nil // both at once: without traffic nobody would see the failover
		}
		began := time.Now()
		if err := k.failOver(ctx, life); err != nil {
			return err
		}
		next.Reset(k.cfg.every - time.Since(began))
	}
}

// failOver kills the leader, waits for its successor to acknowledge something,
// and restarts it. If the traffic ends meanwhile, the failover is not counted.
func (k *killer) failOver(traffic, ctx context.Context) error {
	leader, err := k.leader(ctx, 0)
	if err != nil {
		return err
	}
	victim, term := k.brokers.byID(leader.GetId()), leader.GetTerm()
	f := failover{Killed: victim.id, At: time.Now()}
	k.books.killed(term, f.At)
	victim.kill()
	k.say("killed %s, the leader of term %d", victim.id, term)

	successor, err := k.leader(ctx, term)
	if err != nil {
		return err
	}
	ack, err := k.firstAck(traffic, ctx)
	switch {
	case errors.Is(err, errNoTraffic):
		k.say("the end came before %s acknowledged anything; restarting %s", successor.GetId(), victim.id)
		return k.brokers.start(ctx, victim)
	case err != nil:
		return err
	}
	f.Successor, f.Term, f.AckMS = successor.GetId(), successor.GetTerm(), milliseconds(ack)
	for _, phase := range successor.GetLastFailover() {
		took := milliseconds(time.Duration(phase.GetSeconds() * float64(time.Second)))
		switch phase.GetName() {
		case "detect":
			f.DetectMS = took
		case "elect":
			f.ElectMS = f.DetectMS + took
		}
	}
	k.note(f)
	if err := wait(ctx, time.Until(f.At.Add(k.cfg.downFor))); err != nil {
		return err
	}
	k.say("restarting %s", victim.id)
	return k.brokers.start(ctx, victim)
}

func (k *killer) note(f failover) {
	k.mu.Lock()
	k.mu.failovers = append(k.mu.failovers, f)
	n := len(k.mu.failovers)
	k.mu.Unlock()
	k.say("failover %d: %s", n, f)
}

// patience is how long a cluster that has a majority may be without a leader
// before the demo calls it broken.
const patience = 30 * time.Second

var errStuck = errors.New("no leader serves although a majority of the brokers is up")

// leader waits for a serving leader of a term after the given one.
func (k *killer) leader(ctx context.Context, after int64) (*brokerv1.MemberStatus, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errStuck)
	defer cancel()
	for {
		nodes, err := k.admin.Status(ctx)
		if err != nil {
			return nil, errors.Join(context.Cause(ctx), err)
		}
		for _, n := range nodes {
			s := n.Status.GetStatus()
			if s.GetServing() && s.GetTerm() > after && !k.brokers.byID(s.GetId()).down() {
				return s, nil
			}
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

var errNoTraffic = errors.New("the traffic has ended")

// firstAck waits for the first acknowledgement by the new leader.
func (k *killer) firstAck(traffic, ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("the new leader acknowledges nothing"))
	defer cancel()
	for {
		if took, ok := k.books.firstAck(); ok {
			return took, nil
		}
		if traffic.Err() != nil {
			return 0, errNoTraffic
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// wait lets time pass, or returns why ctx ended.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
