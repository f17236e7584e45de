package broker

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/semaphore"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// budget bounds what all publishing together may have in the ledger's hands.
// Streams wait for room in it; the ledger's own limits lie a little higher, so
// that commands still get through when it is full.
type budget struct {
	bytes, proposals *semaphore.Weighted
}

const (
	reservedProposals = 1000
	reservedBytes     = 8 * mebibyte
)

func newBudget(l LimitsConfig) *budget {
	return &budget{
		bytes:     semaphore.NewWeighted(int64(l.MaxPendingBytes)),
		proposals: semaphore.NewWeighted(int64(l.MaxPendingProposals)),
	}
}

// acquire waits for room; the error is ctx's.
func (b *budget) acquire(ctx context.Context, bytes int) error {
	if err := b.proposals.Acquire(ctx, 1); err != nil {
		return err
	}
	if err := b.bytes.Acquire(ctx, int64(bytes)); err != nil {
		b.proposals.Release(1)
		return err
	}
	return nil
}

// tryAcquire takes room if there is some now.
func (b *budget) tryAcquire(bytes int) bool {
	if !b.proposals.TryAcquire(1) {
		return false
	}
	if !b.bytes.TryAcquire(int64(bytes)) {
		b.proposals.Release(1)
		return false
	}
	return true
}

func (b *budget) release(bytes int) {
	b.proposals.Release(1)
	b.bytes.Release(int64(bytes))
}

// proposer carries unary requests through the ledger.
type proposer struct {
	ledger  *dledger.Server
	timeout time.Duration
	now     func() time.Time
}

// propose appends the bodies and waits until they are applied.
func (p *proposer) propose(ctx context.Context, bodies []commitlog.Body) (dledger.ProposalResult, error) {
	done := make(chan dledger.ProposalResult, 1)
	err := p.ledger.Propose(&dledger.Proposal{
		Bodies: bodies,
		Done:   func(res dledger.ProposalResult) { done <- res },
	})
	if err != nil {
		return dledger.ProposalResult{}, err
	}
	timeout := time.NewTimer(p.timeout)
	defer timeout.Stop()
	select {
	case res := <-done:
		return res, res.Err
	case <-timeout.C:
		return dledger.ProposalResult{}, errorf(CodeQuorumAckTimeout, "no majority acknowledged within %v", p.timeout)
	case <-ctx.Done():
		return dledger.ProposalResult{}, errorf(CodeQuorumAckTimeout, "the request ended before a majority acknowledged: %v", ctx.Err())
	}
}

// command carries one command of the state machine through the ledger. The
// outcome's own refusal is an error too.
func (p *proposer) command(ctx context.Context, cmd *recordv1.Command) (state.Outcome, error) {
	cmd.TimeUnixMs = p.now().UnixMilli()
	body, err := state.AppendCommand(nil, cmd)
	if err != nil {
		return state.Outcome{}, err
	}
	res, err := p.propose(ctx, []commitlog.Body{{Type: commitlog.TypeCommand, Bytes: body}})
	if err != nil {
		return state.Outcome{}, err
	}
	out, ok := res.Outcomes[0].(state.Outcome)
	if !ok {
		return state.Outcome{}, errors.New("the applied command has no outcome")
	}
	if out.Code != state.CodeOK {
		return out, errorf(Code(out.Code), "%s", out.Message)
	}
	return out, nil
}
