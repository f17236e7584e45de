package sim

import (
	"fmt"
	"strings"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// note mixes something that happened into the run's hash, and traces it.
func (s *Sim) note(n *node, what string, a, b int64) {
	h := mix(s.hash, uint64(s.now)<<3|uint64(n.i))
	h = mix(h, uint64(len(what))<<32|uint64(what[0]))
	s.hash = mix(mix(h, uint64(a)), uint64(b))
	if s.tracing {
		s.tracef("%s %s %d %d", n.id, what, a, b)
	}
}

// hashMessage mixes the arrival of a message into the run's hash.
func (s *Sim) hashMessage(n *node, msg member.Message) {
	var a, b int64
	switch m := msg.(type) {
	case member.VoteRequest:
		a, b = int64(m.Term), int64(m.LedgerEndIndex)
	case member.VoteResponse:
		a, b = int64(m.Term), int64(m.Result)
	case member.HeartBeatRequest:
		a, b = int64(m.Term), int64(m.Commit)
	case member.HeartBeatResponse:
		a, b = int64(m.Term), int64(m.DurableIndex)
	case member.PushRequest:
		a, b = int64(m.Last), int64(m.PrevIndex)
	case member.PushResponse:
		a, b = int64(m.EndIndex), int64(m.DurableIndex)
	case member.TransferRequest:
		a = int64(m.Term)
	case member.TransferResponse:
		a, b = int64(m.Term), int64(m.Code)
	}
	s.hash = mix(mix(mix(s.hash, uint64(s.now)<<3|uint64(n.i)), uint64(a)), uint64(b))
}

func (s *Sim) traceStep(n *node, ev member.Event) {
	if r, ok := ev.(member.Receive); ok {
		s.tracef("%s receives %s", n.id, show(r.Message))
		return
	}
	s.tracef("%s %s", n.id, show(ev))
}

func (s *Sim) traceSend(n *node, msg member.Message) {
	s.tracef("%s sends %s", n.id, show(msg))
}

func show(v any) string {
	return strings.TrimPrefix(fmt.Sprintf("%T%+v", v, v), "member.")
}

func (s *Sim) tracef(format string, args ...any) {
	fmt.Fprintf(s.opt.Trace, "%12.6f  %s\n", s.now.Seconds(), fmt.Sprintf(format, args...))
}
