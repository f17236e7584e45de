package dledger

import (
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// When the older slot of a saved ballot is brought up to date: after mirrorQuiet
// without another save, when nothing waits and no vote is being held, so that it
// slows no election; after mirrorLatest in any case.
const (
	mirrorQuiet  = 100 * time.Millisecond
	mirrorLatest = time.Second
)

// ballotMirror remembers since when the slots have differed.
type ballotMirror struct {
	since  time.Time // of the first save that is not mirrored; zero: none
	newest time.Time // of the newest save
}

func (m *ballotMirror) saved(now time.Time) {
	if m.since.IsZero() {
		m.since = now
	}
	m.newest = now
}

// due says whether it is time to mirror. busy: somebody waits for this member.
func (m *ballotMirror) due(now time.Time, busy bool) bool {
	if m.since.IsZero() {
		return false
	}
	return now.Sub(m.since) >= mirrorLatest || !busy && now.Sub(m.newest) >= mirrorQuiet
}

// mirrorBallot mirrors the ballot if it is time.
func (s *Server) mirrorBallot(now time.Time) error {
	busy := len(s.inbox) > 0 || s.core.role.Role == member.Candidate
	if !s.core.mirror.due(now, busy) {
		return nil
	}
	if err := s.ballot.mirror(); err != nil {
		return err
	}
	s.core.mirror = ballotMirror{}
	return nil
}

// mirror writes the newest ballot into the other slot too, so that damage of either
// slot costs nothing. The newest one must be durable in its own slot. As with save
// any error is final.
func (b *ballotFile) mirror() error {
	if b.mirrored || b.broken != nil {
		return b.broken
	}
	next := b.newest
	next.sequence++
	if err := b.write(next); err != nil {
		return err
	}
	b.newest, b.mirrored = next, true
	return nil
}

// settle mirrors at a clean end. A file that has failed was reported then, and is
// left alone.
func (b *ballotFile) settle() error {
	if b.broken != nil {
		return nil
	}
	return b.mirror()
}

// sameBallot says whether two slots hold the same, written at different times.
func sameBallot(a, b ballotSlot) bool {
	a.sequence = b.sequence
	return a == b
}
