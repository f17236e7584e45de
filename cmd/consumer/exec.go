package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

const (
	// lanePending is how many messages of a queue wait for their command; then the queue
	// is not read until all of them are done.
	lanePending = 32
	// maxBackoff bounds the pause before a command is tried again.
	maxBackoff = time.Minute
	// handOver is for how long a queue that goes to another member is kept while its
	// command runs: brokers take it away after 30 s.
	handOver = 20 * time.Second
)

// execution gives each message to a command. Within a queue one command runs at a time, in
// order; several queues may be at work. A message is finished when its command has ended
// well, and with it all before it: those have, too.
type execution struct {
	*consuming
	member  *grouped
	command commandLine
	free    int           // commands that may be started
	lanes   map[int]*lane // by queue
	taken   int64
	failed  error // why it ends before its time
	running errgroup.Group
	kill    context.CancelFunc // of the commands that run
	killed  context.Context

	mu struct {
		sync.Mutex
		posted []posted
		wake   context.CancelFunc // of the wait for messages; nil: nobody waits
	}
	news chan struct{} // capacity 1: something was posted
}

// lane is the messages of a queue that are in hand; the first is at work.
type lane struct {
	queue    int
	messages []client.Message
	attempts int  // of the first
	running  bool // its command runs
	resting  bool // it waits for the next try
	paused   bool // the queue is not read
}

// posted is what became of the first message of a lane: its command has ended, or it may
// be tried again.
type posted struct {
	lane  *lane
	ended bool
	err   error
}

func newExecution(r *consuming) *execution {
	e := &execution{
		consuming: r, free: max(1, r.flags.exec.workers), lanes: map[int]*lane{}, news: make(chan struct{}, 1),
		command: newCommandLine(r.flags.exec, r.streams),
	}
	e.killed, e.kill = context.WithCancel(context.Background())
	return e
}

// run takes messages until the run ends, and then waits for the commands that run.
func (e *execution) run(ctx context.Context) error {
	defer e.kill()
	err := e.loop(ctx)
	e.end()
	return errors.Join(e.failed, err)
}

func (e *execution) loop(ctx context.Context) error {
	for {
		e.settle(true)
		switch {
		case e.failed != nil:
			return nil
		case e.enough() && len(e.lanes) == 0:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		m, ok, err := e.reader.TryNext()
		if err != nil {
			return err
		}
		if ok {
			e.take(&m)
			continue
		}
		if err := e.await(ctx); err != nil {
			return err
		}
	}
}

// enough says that as many messages as were asked for are in hand or done.
func (e *execution) enough() bool {
	return e.flags.count > 0 && e.taken >= int64(e.flags.count)
}

// take puts a message into its lane. One too many is left to whoever comes next.
func (e *execution) take(m *client.Message) {
	if e.enough() {
		return
	}
	e.taken++
	l := e.lanes[*m.Queue]
	if l == nil {
		l = &lane{queue: *m.Queue}
		e.lanes[l.queue] = l
	}
	l.messages = append(l.messages, *m)
	if len(l.messages) >= lanePending && !l.paused {
		l.paused = e.member.Pause(l.queue) == nil
	}
}

// settle takes note of what was posted, and starts what can be started.
func (e *execution) settle(start bool) {
	for _, p := range e.takePosted() {
		e.judge(p)
	}
	for _, l := range e.lanes {
		if start && e.free > 0 && !l.running && !l.resting && e.failed == nil {
			e.start(l)
		}
	}
}

func (e *execution) takePosted() []posted {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.mu.posted
	e.mu.posted = nil
	return all
}

// judge decides what a command's end means for its message.
func (e *execution) judge(p posted) {
	if p.ended {
		e.free++
	}
	l := p.lane
	l.running, l.resting = false, false
	f := &e.flags.exec
	switch {
	case e.lanes[l.queue] != l: // the queue was lost meanwhile, and the message comes again
	case !p.ended: // it may be tried again
	case p.err == nil:
		e.done(l)
	case f.attempts == 0 || l.attempts < f.attempts:
		e.report(l, p.err, "it is tried again")
		e.backOff(l)
	case f.onFailure == "skip":
		e.report(l, p.err, "it is skipped")
		e.done(l)
	default:
		m := &l.messages[0]
		e.failed = cli.Exit(cli.ExitFailed, fmt.Errorf("%s/%d@%d: attempt %d: %w", m.Topic, l.queue, m.Offset, l.attempts, p.err))
	}
}

// report says on stderr why a command comes again, or does not.
func (e *execution) report(l *lane, err error, then string) {
	m := &l.messages[0]
	_, _ = fmt.Fprintf(e.streams.Err, "%s/%d@%d: attempt %d: %v: %s\n", m.Topic, l.queue, m.Offset, l.attempts, err, then)
}

// done finishes the first message of a lane.
func (e *execution) done(l *lane) {
	e.count++
	e.member.Finish(&l.messages[0])
	l.messages, l.attempts = l.messages[1:], 0
	if len(l.messages) > 0 {
		return
	}
	delete(e.lanes, l.queue)
	if l.paused {
		_ = e.member.Resume(l.queue) // it is lost, then
	}
}

// start runs the command for the first message of a lane.
func (e *execution) start(l *lane) {
	l.running = true
	l.attempts++
	e.free--
	m, attempt := l.messages[0], l.attempts
	e.running.Go(func() error {
		e.post(posted{lane: l, ended: true, err: e.command.run(e.killed, &m, attempt)})
		return nil
	})
}

// backOff has a lane tried again after a while that grows.
func (e *execution) backOff(l *lane) {
	l.resting = true
	wait := e.flags.exec.backoff << min(l.attempts-1, 16)
	if wait <= 0 || wait > maxBackoff {
		wait = maxBackoff
	}
	time.AfterFunc(wait, func() { e.post(posted{lane: l}) })
}

func (e *execution) post(p posted) {
	wake := e.add(p)
	if wake != nil {
		wake()
	}
	select {
	case e.news <- struct{}{}:
	default:
	}
}

func (e *execution) add(p posted) (wake context.CancelFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.posted = append(e.mu.posted, p)
	return e.mu.wake
}

// await waits for a message, another assignment, or something posted.
func (e *execution) await(ctx context.Context) error {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	if !e.mayWait(cancel) {
		return nil
	}
	defer e.mayWait(nil)
	if err := e.reader.Await(waiting); err != nil && (ctx.Err() != nil || waiting.Err() == nil) {
		return err
	}
	return nil
}

// mayWait says that nothing is posted, and how to end the wait when something is.
func (e *execution) mayWait(wake context.CancelFunc) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.wake = wake
	return len(e.mu.posted) == 0
}

// revoked lets go of queues: what runs may end, what waits is for their next owner.
func (e *execution) revoked(queues []int) {
	limit := time.NewTimer(handOver)
	defer limit.Stop()
	for {
		e.settle(false)
		busy := false
		for _, q := range queues {
			if l := e.lanes[q]; l != nil {
				e.taken -= int64(len(l.messages) - 1)
				l.messages = l.messages[:1]
				busy = busy || l.running
			}
		}
		if !busy {
			break
		}
		select {
		case <-e.news:
			continue
		case <-limit.C:
		}
		break
	}
	for _, q := range queues {
		if l := e.lanes[q]; l != nil {
			e.taken -= int64(len(l.messages))
			delete(e.lanes, q)
		}
		_ = e.member.Resume(q) // for when it comes back
	}
}

// end waits for the commands that run, for a while, and takes note of how they ended.
func (e *execution) end() {
	patience := time.AfterFunc(closeTimeout, e.kill)
	defer patience.Stop()
	_ = e.running.Wait() // they tell by posting
	e.settle(false)
}
