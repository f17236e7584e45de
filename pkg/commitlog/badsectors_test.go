package commitlog_test

import (
	"errors"
	"fmt"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// badSectors are bytes of a file that the disk cannot read. What is written to them can be
// read again: a disk has spare sectors.
type badSectors struct {
	path     string
	from, to int64
	reads    int // that many fail, all if it is negative
	err      error
}

func (b *badSectors) hook(c crashfs.Call) crashfs.Fault {
	if c.Path != b.path || c.Off >= b.to || c.Off+int64(c.Len) <= b.from || b.reads == 0 {
		return crashfs.Fault{}
	}
	switch c.Op {
	case crashfs.OpWrite:
		if c.Off <= b.from && b.to <= c.Off+int64(c.Len) {
			b.reads = 0
		}
	case crashfs.OpRead:
		b.reads--
		return crashfs.Fault{Err: b.err}
	default:
	}
	return crashfs.Fault{}
}

// unread opens a log on a disk that cannot read some sectors, lives with it, repairs it and
// opens it again, with the sectors still unreadable and with a disk that can read them again.
// It must be refused with nothing changed, or no entry may ever be missing or wrong.
func unread(fs *crashfs.FS, bad badSectors, all [][]byte) (verdict, error) {
	onDisk := bad
	fs.SetFault(onDisk.hook)
	fs.Record(true)
	l, err := commitlog.Open(tolerant(fs))
	if err != nil {
		for _, c := range fs.Calls() {
			if c.Op.Changes() && c.Op != crashfs.OpSyncDir {
				return refused, fmt.Errorf("refused, but it did: %v", c)
			}
		}
		if !refusal(err) && !errors.Is(err, bad.err) {
			return refused, fmt.Errorf("refused with another error: %w", err)
		}
		fs.SetFault(nil) // it was a cable
		l, err = commitlog.Open(tolerant(fs))
		if err != nil {
			return refused, err
		}
		defer l.Abandon()
		got, err := entries(l)
		if err == nil && !equalEntries(got, all) {
			err = fmt.Errorf("%d of %d entries", len(got), len(all))
		}
		return refused, err
	}
	defer l.Abandon()
	if err := scrubAll(l); err != nil {
		return 0, err
	}
	if end, _ := l.End(); int(end) != len(all)-1 {
		return 0, fmt.Errorf("it ends at %d instead of %d", end, len(all)-1)
	}
	if err := readAround(l, all); err != nil {
		return 0, err
	}
	found := verdict(unharmed)
	if len(l.Faulty()) > 0 {
		found = repaired
	}
	return found, outlive(l, fs, onDisk, all)
}

// outlive appends to a log with unreadable sectors, repairs it, and opens it again and again.
func outlive(l *commitlog.Log, fs *crashfs.FS, onDisk badSectors, all [][]byte) error {
	trusted := l.Recovery().Trusted
	_, term := l.End()
	l.BecomeMaster(term)
	if err := l.AppendMaster(term, Index(len(all)), []commitlog.Body{body(77, 500)}); err != nil {
		return err
	}
	if _, err := l.Sync(); err != nil {
		return err
	}
	f, err := l.Read(Index(len(all)), Index(len(all)), 1<<20)
	if err != nil {
		return err
	}
	all = append(all[:len(all):len(all)], f.Bytes)
	for _, when := range []string{"before", "after"} {
		for _, still := range []bool{true, false} {
			disk, bad := fs.Fork(), onDisk
			if disk.SetFault(nil); still {
				disk.SetFault(bad.hook)
			}
			again, err := commitlog.Open(tolerant(disk))
			switch {
			// An outline had known the terms of what is lost, or that nothing follows what is unreadable.
			case (refusal(err) || errors.Is(err, onDisk.err)) && still && trusted > 0:
				continue
			case err != nil:
				return fmt.Errorf("%s the repair, unreadable %v: %w", when, still, err)
			}
			if err = scrubAll(again); err == nil {
				err = readAround(again, all)
			}
			if end, _ := again.End(); err == nil && int(end) != len(all)-1 {
				err = fmt.Errorf("it ends at %d instead of %d", end, len(all)-1)
			}
			if err != nil {
				return fmt.Errorf("%s the repair, unreadable %v: %w", when, still, err)
			}
			if f := again.Faulty(); len(f) > 0 && (!still || when == "after") {
				return fmt.Errorf("%s the repair, unreadable %v: faulty is %v", when, still, f)
			}
			again.Abandon()
		}
		if err := repairAll(l, all); err != nil {
			return err
		}
		got, err := entries(l)
		if err != nil || !equalEntries(got, all) {
			return fmt.Errorf("repaired: %d of %d entries: %w", len(got), len(all), err)
		}
	}
	return nil
}
