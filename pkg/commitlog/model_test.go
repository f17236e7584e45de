package commitlog_test

import (
	"bytes"
	"fmt"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// model is what a log must hold: the naive second opinion in all these tests.
type model struct {
	entries [][]byte // from index 0, purged ones too
	begin   Index    // smallest begin that is legal
	purged  Index    // largest begin that is legal; a purge cut short may stop anywhere between
	durable Index    // entries below it have been confirmed
	cut     Index    // a truncation in flight may leave just so many; -1: none is
}

func newModel() *model { return &model{cut: -1} }

// legal says why a log is not one that a crash may leave, if so.
func (m *model) legal(l *commitlog.Log) error {
	all, err := entries(l)
	if err != nil {
		return err
	}
	begin, n := l.Begin(), l.Begin()+Index(len(all))
	switch {
	case begin < m.begin || begin > m.purged:
		return fmt.Errorf("log begins at %d, legal is %d to %d", begin, m.begin, m.purged)
	case n > Index(len(m.entries)):
		return fmt.Errorf("log has %d entries, only %d were appended", n, len(m.entries))
	case n < m.durable && n != m.cut:
		return fmt.Errorf("log has %d entries, %d had been confirmed", n, m.durable)
	}
	for i, e := range all {
		if !bytes.Equal(e, m.entries[begin+Index(i)]) {
			return fmt.Errorf("entry %d has other bytes", begin+Index(i))
		}
	}
	return nil
}

// step is one operation of a history. It tells the model what is legal while
// it runs, and what is after it succeeded.
type step func(l *commitlog.Log, m *model) error

func stepAppend(term Term, count, n int) step {
	return func(l *commitlog.Log, m *model) error {
		end, _ := l.End()
		first := end + 1
		var bodies []commitlog.Body
		for i := range count {
			bodies = append(bodies, body(int(first)+i+int(term)*100, n))
		}
		l.BecomeMaster(term)
		if err := l.AppendMaster(term, first, bodies); err != nil {
			return err
		}
		for i := first; i < first+Index(count); i++ {
			f, err := l.Read(i, i, 1)
			if err != nil {
				return err
			}
			m.entries = append(m.entries, f.Bytes)
		}
		return nil
	}
}

func stepSync(l *commitlog.Log, m *model) error {
	p, err := l.Sync()
	if err == nil {
		m.durable = p.Index + 1
	}
	return err
}

func stepTruncate(from Index) step {
	return func(l *commitlog.Log, m *model) error {
		l.BecomeSlave(1)
		m.cut = from
		if err := l.TruncateFrom(from); err != nil {
			return err
		}
		m.cut = -1
		m.entries = m.entries[:from]
		m.durable = min(m.durable, from)
		return nil
	}
}

func stepPurge(before Index) step {
	return func(l *commitlog.Log, m *model) error {
		m.purged = max(m.purged, min(before, m.durable))
		if err := l.PurgeBefore(before); err != nil {
			return err
		}
		m.begin, m.purged = l.Begin(), l.Begin()
		return nil
	}
}

func stepPrepare(l *commitlog.Log, _ *model) error { return l.PrepareSegment() }

// stepZero writes zeros ahead, some blocks in each of several calls.
func stepZero(calls int) step {
	return func(l *commitlog.Log, _ *model) error {
		for range calls {
			if _, err := l.ZeroAhead(2*4096, 1<<30); err != nil {
				return err
			}
		}
		return nil
	}
}

func stepSeal(l *commitlog.Log, _ *model) error { return l.Seal() }

func stepOutlines(l *commitlog.Log, _ *model) error { return writeOutlines(l) }

// run plays a history on a file system until it ends or the file system fails.
// The log is abandoned, as by kill -9, unless the history has closed it.
func run(cfg commitlog.Config, m *model, history []step) error {
	l, err := commitlog.Open(cfg)
	if err != nil {
		return err
	}
	defer l.Abandon()
	for i, s := range history {
		if err := s(l, m); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

// reopen opens what a crash left and checks it against the model. It returns
// what the log holds.
func reopen(fs *crashfs.FS, m *model) ([][]byte, error) {
	l, err := commitlog.Open(config(fs))
	if err != nil {
		return nil, err
	}
	defer l.Abandon()
	if err := m.legal(l); err != nil {
		return nil, err
	}
	return entries(l)
}

// longHistory rolls, truncates within and over segments, purges, closes, and
// has groups of many sizes.
func longHistory() []step {
	history := []step{
		stepAppend(1, 1, 4), stepZero(1), stepSync, stepZero(1),
		stepAppend(1, 3, 100), stepSync, stepSync,
		stepPrepare, stepZero(4), // the rest of the active segment, then the prepared one
		stepAppend(1, 5, 3000), stepSync, // 8 blocks: rolls
		stepAppend(2, 2, 9000), stepSync, // rolls without a prepared segment
		stepAppend(2, 2, 9000), stepSync, // and again
		stepOutlines,
		stepAppend(2, 4, 10),
		stepTruncate(15),                                                  // only in memory
		stepSync,                                                          // 13, 14
		stepTruncate(14),                                                  // in the active segment
		stepAppend(2, 1, 28000), stepSync, stepOutlines, stepTruncate(14), // over one without an outline
		stepTruncate(3),        // over two segments, in the middle of a group
		stepAppend(3, 2, 5000), //
		stepSync, stepPrepare, stepZero(6),
		stepTruncate(4), stepSeal, // right behind a group
		stepAppend(4, 1, 40000), stepSync, // larger than a segment
		stepAppend(4, 2, 300), stepSync, stepAppend(4, 2, 300),
		stepPurge(5),
		stepAppend(5, 6, 3000), stepSync,
		stepAppend(5, 6, 3000), stepSync, stepOutlines,
		stepPurge(18),
		stepAppend(6, 1, 7), stepSync, stepZero(1), stepSeal, stepZero(1),
		stepTruncate(18), // in the middle of a group
		stepAppend(6, 1, 7), stepSync,
		stepTruncate(15), // everything that is left
		stepAppend(7, 1, 7),
	}
	return append(history, func(l *commitlog.Log, m *model) error {
		err := l.Close()
		if err == nil {
			m.durable = Index(len(m.entries))
		}
		return err
	})
}
