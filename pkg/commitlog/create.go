package commitlog

import (
	"errors"
	"fmt"
	"path/filepath"
)

// Origin is the place in the ledger at which a log begins, and the history that
// it continues.
type Origin struct {
	Begin     Index  // the first entry to come, 1 or above
	PrevTerm  Term   // of the entry before
	PrevChain uint32 // chain CRC of the entry before
}

// Create makes an empty log in cfg.Dir that begins at a later entry than the
// first, for a member that got what lies before in another form. The directory
// must not hold a log. What it made is durable when it returns; after a crash or
// an error the directory is to be removed and made anew.
func Create(cfg Config, at Origin) error {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return err
	}
	if at.Begin < 1 || at.PrevTerm < 1 {
		return fmt.Errorf("commit log: create one at entry %d after term %d: both must be 1 or above", at.Begin, at.PrevTerm)
	}
	if err := cfg.FS.MkdirAll(cfg.Dir); err != nil {
		return fmt.Errorf("create a commit log: %w", err)
	}
	if err := cfg.FS.SyncDir(filepath.Dir(cfg.Dir)); err != nil {
		return fmt.Errorf("create a commit log: %w", err)
	}
	names, err := cfg.FS.List(cfg.Dir)
	if err != nil {
		return fmt.Errorf("create a commit log: %w", err)
	}
	if len(names) > 0 {
		return fmt.Errorf("create a commit log in %s: it holds %s: use an empty directory", cfg.Dir, names[0])
	}
	seg, err := newLog(cfg).addSegment(tip{index: at.Begin - 1, term: at.PrevTerm, chain: at.PrevChain}, nil)
	if err != nil {
		err = fmt.Errorf("create a commit log in %s: %w", cfg.Dir, err)
	}
	if seg != nil {
		err = errors.Join(err, seg.file.Close())
	}
	return err
}
