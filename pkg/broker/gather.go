package broker

import (
	"context"
	"errors"
	"sync"
	"time"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/state"
)

const (
	// gatherItems is how many items one entry holds at most.
	gatherItems = 4096
	// maxGathering is how many may wait for theirs.
	maxGathering = 64 * 1024
)

// gatherer puts what many consumers commit into one entry: while one is on its way
// through the ledger, the next gathers what arrives. Each item has a CommitResult.
type gatherer[I any] struct {
	propose func(*dledger.Proposal) error
	command func([]I) *recordv1.Command
	settled func([]state.CommitResult) // for each entry, for metrics
	timeout time.Duration
	now     func() time.Time
	due     chan struct{} // capacity 1

	mu struct {
		sync.Mutex
		waiting []*gathering[I]
		size    int // items in waiting
		closed  bool
	}
}

// gathering is the items of one request.
type gathering[I any] struct {
	items []I
	done  func(gathered) // called once; must not wait for anything
}

type gathered struct {
	results []state.CommitResult
	err     error
}

// commit stores some items and says what became of each.
func (p *gatherer[I]) commit(ctx context.Context, items []I) ([]state.CommitResult, error) {
	done := make(chan gathered, 1)
	if err := p.submit(items, func(res gathered) { done <- res }); err != nil {
		return nil, err
	}
	return p.await(ctx, done)
}

// await waits for what became of items that were submitted, but not for ever.
func (p *gatherer[I]) await(ctx context.Context, done <-chan gathered) ([]state.CommitResult, error) {
	timeout := time.NewTimer(p.timeout)
	defer timeout.Stop()
	select {
	case res := <-done:
		return res.results, res.err
	case <-timeout.C:
		return nil, errorf(CodeQuorumAckTimeout, "no majority acknowledged within %v", p.timeout)
	case <-ctx.Done():
		return nil, errorf(CodeQuorumAckTimeout, "the request ended before a majority acknowledged: %v", ctx.Err())
	}
}

// submit has some items stored and done told what became of them. After an error done is
// never called.
func (p *gatherer[I]) submit(items []I, done func(gathered)) error {
	if err := p.enter(&gathering[I]{items: items, done: done}); err != nil {
		return err
	}
	signal(p.due)
	return nil
}

func (p *gatherer[I]) enter(g *gathering[I]) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.mu.closed:
		return errorf(CodeShuttingDown, "the broker is shutting down")
	case len(g.items) > gatherItems:
		return errorf(CodeLimitExceeded, "%d commits in one request, %d are possible", len(g.items), gatherItems)
	case p.mu.size+len(g.items) > maxGathering:
		return fullf("%d commits wait to be stored, the limit is %d", p.mu.size, maxGathering)
	}
	p.mu.waiting = append(p.mu.waiting, g)
	p.mu.size += len(g.items)
	return nil
}

// take returns what goes into the next entry.
func (p *gatherer[I]) take() []*gathering[I] {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, size := 0, 0
	for n < len(p.mu.waiting) && size+len(p.mu.waiting[n].items) <= gatherItems {
		size += len(p.mu.waiting[n].items)
		n++
	}
	taken := p.mu.waiting[:n:n]
	p.mu.waiting = append([]*gathering[I](nil), p.mu.waiting[n:]...)
	p.mu.size -= size
	return taken
}

// run stores what gathers until ctx is done; what waits then is refused.
func (p *gatherer[I]) run(ctx context.Context) error {
	for {
		select {
		case <-p.due:
		case <-ctx.Done():
			p.close()
			return nil
		}
		for batch := p.take(); len(batch) > 0; batch = p.take() {
			if !p.store(ctx, batch) {
				p.close()
				return nil
			}
		}
	}
}

func (p *gatherer[I]) close() {
	p.mu.Lock()
	p.mu.closed = true
	waiting := p.mu.waiting
	p.mu.waiting, p.mu.size = nil, 0
	p.mu.Unlock()
	answer(waiting, gathered{err: errorf(CodeShuttingDown, "the broker is shutting down")})
}

// store carries one entry through the ledger and answers those in it; false: ctx is done.
func (p *gatherer[I]) store(ctx context.Context, batch []*gathering[I]) bool {
	var items []I
	for _, g := range batch {
		items = append(items, g.items...)
	}
	command := p.command(items)
	command.TimeUnixMs = p.now().UnixMilli()
	body, err := state.AppendCommand(nil, command)
	done := make(chan dledger.ProposalResult, 1)
	if err == nil {
		err = p.propose(&dledger.Proposal{
			Bodies: []commitlog.Body{{Type: commitlog.TypeCommand, Bytes: body}},
			Done:   func(res dledger.ProposalResult) { done <- res },
		})
	}
	if err != nil {
		answer(batch, gathered{err: err})
		return true
	}
	select {
	case res := <-done:
		p.settle(batch, res)
		return true
	case <-ctx.Done():
		answer(batch, gathered{err: errorf(CodeLeadershipLost, "the broker stopped before a majority acknowledged")})
		return false
	}
}

func (p *gatherer[I]) settle(batch []*gathering[I], res dledger.ProposalResult) {
	if res.Err != nil {
		answer(batch, gathered{err: res.Err})
		return
	}
	out, ok := res.Outcomes[0].(state.Outcome)
	if !ok {
		answer(batch, gathered{err: errors.New("the applied commits have no outcome")})
		return
	}
	p.settled(out.Progress)
	results := out.Progress
	for _, g := range batch {
		mine := results[:len(g.items):len(g.items)]
		results = results[len(g.items):]
		g.done(gathered{results: mine})
	}
}

func resultLabel(code string) string {
	if code == state.CodeOK {
		return "OK"
	}
	return code
}

func answer[I any](batch []*gathering[I], res gathered) {
	for _, g := range batch {
		g.done(res)
	}
}

// newProgressGatherer gathers commits of progress.
func newProgressGatherer(b *Broker) *gatherer[*recordv1.ProgressCommit] {
	return &gatherer[*recordv1.ProgressCommit]{
		propose: b.ledger.Propose, timeout: b.cfg.Limits.AckTimeout, now: time.Now, due: make(chan struct{}, 1),
		command: func(commits []*recordv1.ProgressCommit) *recordv1.Command {
			return &recordv1.Command{Kind: &recordv1.Command_CommitProgress{CommitProgress: &recordv1.CommitProgress{Commits: commits}}}
		},
		settled: func(results []state.CommitResult) {
			b.metrics.commitEntries.Inc()
			for _, r := range results {
				b.metrics.commits.WithLabelValues(resultLabel(r.Code)).Inc()
			}
		},
	}
}

// newWorkGatherer gathers what became of messages of work-queue groups.
func newWorkGatherer(b *Broker) *gatherer[*recordv1.WorkItem] {
	return &gatherer[*recordv1.WorkItem]{
		propose: b.ledger.Propose, timeout: b.cfg.Limits.AckTimeout, now: time.Now, due: make(chan struct{}, 1),
		command: func(items []*recordv1.WorkItem) *recordv1.Command {
			return &recordv1.Command{Kind: &recordv1.Command_SettleWork{SettleWork: &recordv1.SettleWork{Items: items}}}
		},
		settled: func([]state.CommitResult) { b.metrics.commitEntries.Inc() },
	}
}
