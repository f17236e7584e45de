package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// badStateFile marks a state that a running broker found to be corrupt: the next
// start builds it anew.
const badStateFile = "STATE_BAD"

// openSoundState opens the state. One that is corrupt, or was found to be while
// the broker ran, is removed and built anew, if the ledger has everything that it
// came from.
func (b *Broker) openSoundState() error {
	bad := b.dir.badState()
	if bad == nil {
		if bad = b.openState(); bad == nil || !corruptState(bad) {
			return bad
		}
	}
	begin := b.ledger.Status().Begin
	if begin != 0 && b.alone() {
		return dirErrorf("data dir %s: the state is corrupt, and the ledger begins at %d, so that the state cannot be built from it: "+
			"seed this member anew from the others. Nothing was changed: %w", b.dir.path, begin, bad)
	}
	if begin != 0 {
		return b.beginWithoutState(bad)
	}
	b.log.Error("state is corrupt: it is built anew from the ledger", "error", bad, "ledger_end", int64(b.ledger.Status().End))
	if err := b.dir.dropState(os.RemoveAll); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the corrupt state: %w", err)
	}
	if err := b.dir.clearBadState(); err != nil {
		return err
	}
	return b.openState()
}

// beginWithoutState puts a corrupt state aside. Another member's takes its place as
// soon as one is there: the dispatcher asks for it. The old one is kept until then.
func (b *Broker) beginWithoutState(bad error) error {
	b.log.Error("state is corrupt, and the ledger does not go back to entry 0: another member's state is fetched", "error", bad)
	aside := b.dir.badStateDir()
	there, err := exists(b.dir.state())
	if err == nil && there {
		if err = os.RemoveAll(aside); err == nil {
			err = os.Rename(b.dir.state(), aside)
		}
		err = errors.Join(err, syncDir(b.dir.path))
	}
	if err != nil {
		return fmt.Errorf("put the corrupt state aside: %w", err)
	}
	if err := b.dir.clearBadState(); err != nil {
		return err
	}
	return b.openState()
}

// badStateDir is where a corrupt state is kept until another one is installed.
func (d *dataDir) badStateDir() string { return filepath.Join(d.path, "state.bad") }

// corruptState says whether a state cannot be used because of what its files
// hold, or because one of them is missing.
func corruptState(err error) bool {
	return errors.Is(err, state.ErrCorrupt) || errors.Is(err, fs.ErrNotExist)
}

// noteFault leaves a mark if it is the state that ended this process.
func (b *Broker) noteFault(fault error) {
	if !errors.Is(fault, state.ErrCorrupt) {
		return
	}
	if err := writeDurably(b.dir.path, badStateFile, []byte(fault.Error()+"\n")); err != nil {
		b.log.Error("the state is corrupt, and that could not be noted: remove the directory state by hand", "error", err)
	}
}

// badState is why an earlier process held the state for corrupt; nil: it did not.
func (d *dataDir) badState() error {
	why, err := os.ReadFile(filepath.Join(d.path, badStateFile))
	if err != nil {
		return nil // there is none, or it tells nothing
	}
	return fmt.Errorf("%w, as an earlier run found: %q", state.ErrCorrupt, string(why))
}

func (d *dataDir) clearBadState() error {
	if err := os.Remove(filepath.Join(d.path, badStateFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return dirErrorf("data dir %s: %w", d.path, err)
	}
	return syncDir(d.path)
}

// replayLog tells, once in a while, how far a state has come that is far behind.
type replayLog struct {
	log  *slog.Logger
	next time.Time
}

const (
	replayBehind = 10_000 // entries
	replayEvery  = 5 * time.Second
)

func (r *replayLog) note(applied, committed commitlog.Index, now time.Time) {
	if committed-applied < replayBehind || now.Before(r.next) || r.log == nil {
		return
	}
	r.next = now.Add(replayEvery)
	r.log.Info("state is being built from the ledger", "applied", int64(applied), "of", int64(committed))
}
