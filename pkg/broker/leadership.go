package broker

import (
	"context"
	"sync"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// leadership is one term in which this broker serves clients as the leader.
type leadership struct {
	term member.Term
	done chan struct{} // closed when it is over
}

// leaderships knows whether this broker serves as leader now. It is MASTER from
// the role change on, and serves from when the first entry of its own term, the
// NOOP, is applied: all that earlier leaders acknowledged is visible then.
//
// It implements rolechange.Handler.
type leaderships struct {
	mu struct {
		sync.Mutex
		master  member.Term // of the mastership; 0: SLAVE
		applied member.Term // of the newest entry that was applied
		serving *leadership // nil: not serving
		changed chan struct{}
	}
}

func newLeaderships(applied member.Term) *leaderships {
	l := &leaderships{}
	l.mu.applied = applied
	l.mu.changed = make(chan struct{})
	return l
}

// BecomeMaster notes the mastership of term.
func (l *leaderships) BecomeMaster(_ context.Context, term member.Term) error {
	l.update(func() { l.mu.master = term })
	return nil
}

// BecomeSlave ends the leadership: its streams and waiting pulls end with it.
func (l *leaderships) BecomeSlave(context.Context, member.Term) error {
	l.update(func() { l.mu.master = 0 })
	return nil
}

// entryApplied notes the term of the newest entry that was applied.
func (l *leaderships) entryApplied(term member.Term) {
	l.mu.Lock()
	known := l.mu.applied == term
	l.mu.Unlock()
	if !known {
		l.update(func() { l.mu.applied = term })
	}
}

// update changes the state and draws the consequences.
func (l *leaderships) update(change func()) {
	ended, changed := l.swap(change)
	if ended != nil {
		close(ended.done)
	}
	close(changed)
}

func (l *leaderships) swap(change func()) (ended *leadership, changed chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	if s := l.mu.serving; s != nil && s.term != l.mu.master {
		ended, l.mu.serving = s, nil
	}
	if l.mu.serving == nil && l.mu.master != 0 && l.mu.applied == l.mu.master {
		l.mu.serving = &leadership{term: l.mu.master, done: make(chan struct{})}
	}
	changed, l.mu.changed = l.mu.changed, make(chan struct{})
	return ended, changed
}

// now returns the leadership in force, nil if there is none, whether this broker
// is MASTER, the newest applied term, and a channel that is closed when any of
// it changes.
func (l *leaderships) now() (serving *leadership, master bool, applied member.Term, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.serving, l.mu.master != 0, l.mu.applied, l.mu.changed
}

// serving returns the leadership in force, nil if there is none.
func (l *leaderships) serving() *leadership {
	s, _, _, _ := l.now()
	return s
}
