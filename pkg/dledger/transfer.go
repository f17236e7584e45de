package dledger

import (
	"context"
	"fmt"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// transferSlot waits for the end of one leadership transfer.
type transferSlot struct {
	to     member.ID
	answer chan member.TransferAnswer // capacity 1
}

func newTransferSlot(to member.ID) *transferSlot {
	return &transferSlot{to: to, answer: make(chan member.TransferAnswer, 1)}
}

// Transfer hands the leadership over to a member, or, if to is empty, to the one
// that is closest. It returns when the new leader is known, the transfer has
// failed, or ctx is done; in the last case it may still happen.
func (s *Server) Transfer(ctx context.Context, to member.ID) error {
	if to != "" && to != s.cfg.ID && s.peer(to) == nil {
		return s.unknownPeer(to)
	}
	slot := newTransferSlot(to)
	if !s.deliver(ctx, letter{event: member.Transfer{To: to}, transfer: slot}) {
		return s.refusal(CodeShuttingDown, "this broker is stopping; try another one")
	}
	select {
	case a := <-slot.answer:
		return s.transferError(a)
	case <-ctx.Done():
		return fmt.Errorf("transfer leadership to %q: %w", to, ctx.Err())
	case <-s.stopping:
		return s.refusal(CodeShuttingDown, "this broker stopped during the transfer")
	}
}

func (s *Server) transferError(a member.TransferAnswer) error {
	switch a.Code {
	case member.Success:
		return nil
	case member.NotLeader:
		return s.refuseUnlessServingAs("transfer")
	case member.LeaderTransferring:
		return s.refusal(CodeLeaderTransferring, "another transfer is under way")
	case member.UnknownMember:
		return s.unknownPeer(a.To)
	}
	return s.refusal(CodeTransferFailed, fmt.Sprintf("member %q did not take the leadership: %v", a.To, a.Code))
}

func (s *Server) refuseUnlessServingAs(what string) *Error {
	if s.status.load().Leader == "" {
		return s.refusal(CodeNoLeader, "no leader is known; "+what+" again later")
	}
	return s.refusal(CodeNotLeader, "only the leader can "+what+" the leadership")
}

// beginTransfer notes who waits for a transfer. While one is under way others are
// refused here: the member names the one who it is about, which need not be the
// one who was asked for, so that two answers could not be told apart.
func (s *Server) beginTransfer(slot *transferSlot) bool {
	if s.core.transfer != nil {
		slot.answer <- member.TransferAnswer{To: slot.to, Code: member.LeaderTransferring}
		return false
	}
	s.core.transfer = slot
	return true
}

// endTransfer answers whoever waits.
func (s *Server) endTransfer(a member.TransferAnswer) {
	if s.core.transfer == nil {
		panic(fmt.Sprintf("dledger: the end of a transfer to %q that nobody asked for", a.To))
	}
	s.core.transfer.answer <- a // capacity 1, used once
	s.core.transfer = nil
}
