package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/seed"
)

// Names of a data directory that belong to seeding (docs/format/datadir.md).
const (
	offersDir    = "offers" // of seeds for other members
	stagedDir    = "seed"   // of the seed that this member fetches
	stagedLogDir = "ledger" // within: the empty commit log that goes with it
	switchMarker = "SWITCH" // there from the decision to its end
	oldSuffix    = ".old"   // of what the switch has replaced
)

// ErrSeeded is what Run returns when a seed is to be installed: the next New on
// the directory does it, and the broker goes on from there. Serve does both.
var ErrSeeded = errors.New("broker was seeded and must be opened again")

func (d *dataDir) offers() string    { return filepath.Join(d.path, offersDir) }
func (d *dataDir) staged() string    { return filepath.Join(d.path, stagedDir) }
func (d *dataDir) stagedLog() string { return filepath.Join(d.path, stagedDir, stagedLogDir) }
func (d *dataDir) log() string       { return dledger.LogDir(d.ledger()) }

// closeSeeded closes the broker and decides for the seed. Only now that nothing is
// acknowledged any more can it be known that the ledger here has nothing which the
// group may need: see dledger.Server.Lacks.
func (b *Broker) closeSeeded(seeded *seedReady) error {
	err := b.ledger.Close()
	if seeded.stateOnly {
		b.store.Abandon() // it is of no use, or behind the new one
	} else {
		err = errors.Join(err, b.store.Close())
	}
	switch {
	case err != nil:
	case seeded.stateOnly:
		err = b.decideState(seeded.manifest)
	default:
		err = b.decideSeed(seeded.manifest)
	}
	if err = errors.Join(err, b.dir.close()); err != nil {
		return err
	}
	return ErrSeeded
}

func (b *Broker) decideSeed(m *seed.Manifest) error {
	if err := b.acceptSeed(m); err != nil {
		b.log.Warn("seed thrown away", "id", m.ID(), "why", err)
		return os.RemoveAll(b.dir.staged())
	}
	if err := os.RemoveAll(b.dir.stagedLog()); err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	cfg := b.ledgerConfig()
	cfg.Log.MayGrow = nil // roomForSeed has seen to it, and the old ledger goes
	if err := dledger.CreateLog(cfg, b.dir.stagedLog(), originOf(m)); err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	if len(m.Members) > 0 {
		if err := dledger.CreateMembers(cfg, b.dir.staged(), m.Members); err != nil {
			return fmt.Errorf("seed: %w", err)
		}
	}
	if err := writeDurably(b.dir.path, switchMarker, m.Encode()); err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	b.log.Info("seed is about to be installed", "id", m.ID(), "begin", m.Begin, "applied", m.Applied)
	return nil
}

// switchStep is one step of installing a seed. Each may be done again, by itself
// or with those before it: a crash leaves any number of them done.
type switchStep struct {
	name string
	do   func() error
}

func (d *dataDir) switchSteps() []switchStep {
	return []switchStep{
		{"old log aside", func() error { return setAside(d.stagedLog(), d.log()) }},
		{"new log in place", func() error { return putInPlace(d.stagedLog(), d.log()) }},
		{"new members in place", func() error { return putInPlace(dledger.MembersFile(d.staged()), dledger.MembersFile(d.ledger())) }},
		{"old state aside", func() error { return setAside(seed.Files(d.staged()), d.state()) }},
		{"new state in place", func() error { return putInPlace(seed.Files(d.staged()), d.state()) }},
		{"marker removed", func() error {
			return errors.Join(os.Remove(filepath.Join(d.path, switchMarker)), syncDir(d.path))
		}},
	}
}

// finishSwitch installs the seed that this member decided for before it ended, and
// removes what an installed one has left. installed says whether it did.
func (d *dataDir) finishSwitch() (installed bool, err error) {
	raw, err := os.ReadFile(filepath.Join(d.path, switchMarker))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, d.tidySwitch()
	case err != nil:
		return false, dirErrorf("data dir %s: %w", d.path, err)
	}
	if _, err := seed.DecodeManifest(raw); err != nil {
		return false, dirErrorf("data dir %s: %s is damaged (%w), so it is not known how far a seed was installed: "+
			"remove the whole directory, and this member is seeded anew. Nothing was changed.", d.path, switchMarker, err)
	}
	for _, s := range d.switchSteps() {
		if err := s.do(); err != nil {
			return false, dirErrorf("data dir %s: install a seed: %s: %w", d.path, s.name, err)
		}
	}
	if err := errors.Join(os.RemoveAll(d.staged()), os.RemoveAll(d.badStateDir())); err != nil {
		return false, dirErrorf("data dir %s: %w", d.path, err)
	}
	return true, d.tidySwitch()
}

// tidySwitch removes what was replaced. The old state goes as any other.
func (d *dataDir) tidySwitch() error {
	if err := os.RemoveAll(d.log() + oldSuffix); err != nil {
		return dirErrorf("data dir %s: %w", d.path, err)
	}
	return nil
}

// setAside renames what is in a place for which something else is staged. If that
// is not staged any more it is in its place already.
func setAside(staged, place string) error {
	if there, err := exists(staged); err != nil || !there {
		return err
	}
	if there, err := exists(place); err != nil || !there {
		return err
	}
	// What is aside already was replaced by an earlier seed.
	if err := os.RemoveAll(place + oldSuffix); err != nil {
		return err
	}
	if err := os.Rename(place, place+oldSuffix); err != nil {
		return err
	}
	return syncDir(filepath.Dir(place))
}

func putInPlace(staged, place string) error {
	if there, err := exists(staged); err != nil || !there {
		return err
	}
	if err := os.Rename(staged, place); err != nil {
		return err
	}
	return errors.Join(syncDir(filepath.Dir(place)), syncDir(filepath.Dir(staged)))
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
