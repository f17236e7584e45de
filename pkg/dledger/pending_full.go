package dledger

import (
	"fmt"
	"strings"
	"time"
)

// PendingFull is the refusal for a proposal that has no room, with what is slow and
// where: this member's disk, followers, or the apply step. It is certain: nothing was
// appended. Others who hold proposals back give it too.
func (s *Server) PendingFull() *Error {
	err := s.refusal(CodePendingFull, "too many appends wait for a quorum: "+s.whatIsSlow()+"; try again later")
	err.RetryAfter = s.retryAfter()
	return err
}

// retryAfter is how long it takes about until there is room: a sync or two.
func (s *Server) retryAfter() time.Duration {
	return min(max(2*s.syncTimes.p99(), 50*time.Millisecond), time.Second)
}

// whatIsSlow names whoever holds the quorum up.
func (s *Server) whatIsSlow() string {
	st := s.Status()
	var slow, behind []string
	if n := s.ledger.Unsynced(); n > 0 {
		slow = append(slow, s.ownDisk(st, n))
	}
	for _, p := range st.Peers {
		bytes, exact := s.ledger.BytesAfter(p.Match)
		switch {
		case p.Trouble != "":
			slow = append(slow, fmt.Sprintf("%s: %s", p.ID, p.Trouble))
		case !p.Connected:
			slow = append(slow, fmt.Sprintf("%s is not connected", p.ID))
		case bytes > 0 && exact:
			behind = append(behind, fmt.Sprintf("%s %s", p.ID, megabytes(bytes)))
		case bytes > 0:
			behind = append(behind, fmt.Sprintf("%s more than %s", p.ID, megabytes(bytes)))
		}
	}
	switch len(behind) {
	case 0:
	case 1:
		slow = append(slow, "follower "+behind[0]+" behind")
	default:
		slow = append(slow, "followers "+strings.Join(behind[:len(behind)-1], ", ")+" and "+behind[len(behind)-1]+" behind")
	}
	if lag := st.Commit - st.Applied; lag > 0 {
		slow = append(slow, fmt.Sprintf("%d committed entries wait to be applied on %s", lag, s.cfg.ID))
	}
	if len(slow) == 0 {
		return "all members keep up"
	}
	return strings.Join(slow, ", ")
}

// ownDisk says how slow this member's disk is.
func (s *Server) ownDisk(st *Status, unsynced int64) string {
	text := fmt.Sprintf("fsync p99 %v on %s, %s not written yet", s.syncTimes.p99().Round(10*time.Microsecond), s.cfg.ID, megabytes(unsynced))
	if st.SyncHangs > 0 {
		text += fmt.Sprintf(", one has been running for %v", st.SyncHangs.Round(time.Millisecond))
	}
	return text
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
