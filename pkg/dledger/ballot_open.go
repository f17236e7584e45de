package dledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// logDirName is the directory of the commit log within the data directory.
const logDirName = "commitlog"

// logSegmentSuffix ends the names of the log's segments.
const logSegmentSuffix = ".seg"

// openOrCreateBallot opens the ballot, or creates it where nothing has ever been.
// The ballot is made before the first segment of the log, so a log without a
// ballot is a ballot lost: the member might have voted and must not vote again.
func openOrCreateBallot(dir string, fresh bool, owner ballotOwner) (*ballotFile, error) {
	path := filepath.Join(dir, ballotFileName)
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := mayCreateBallot(dir, path, fresh); err != nil {
			return nil, err
		}
		if err := createBallot(dir, owner); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, fmt.Errorf("look for ballot file: %w", err)
	}
	return openBallot(dir, owner)
}

func mayCreateBallot(dir, path string, fresh bool) error {
	segments, err := os.ReadDir(filepath.Join(dir, logDirName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for a commit log: %w", err)
	}
	switch {
	case len(segments) > 0:
		return fmt.Errorf("ballot file %s is missing, but there is a commit log beside it: this member cannot know how it voted and must not start; "+
			"restore the file, or remove the whole data directory so that the member comes back as a new one", path)
	case !fresh:
		return fmt.Errorf("ballot file %s is missing from a data directory that is not new: this member cannot know how it voted and must not start; "+
			"restore the file, or remove the whole data directory so that the member comes back as a new one", path)
	}
	return nil
}

// lived says whether the member has ever taken part in a group.
func (b *ballotFile) lived() bool { return b.newest.ballot.Term > 0 }

// refuseLostLog refuses to begin an empty log beside a ballot that says that this
// member has taken part: the entries that it acknowledged are gone, and its votes
// would elect leaders that lack them. It is asked before the log is opened,
// because an empty log that was made once looks like any other.
func refuseLostLog(cfg Config, ballot *ballotFile) error {
	term, dir := ballot.load().Term, filepath.Join(cfg.Dir, logDirName)
	if term == 0 {
		return nil
	}
	names, err := listLog(cfg, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for a commit log: %w", err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, logSegmentSuffix) {
			return nil
		}
	}
	return fmt.Errorf("commit log %s is missing or empty, but the ballot file %s beside it is of term %d: this member cannot know which entries it "+
		"acknowledged and must not start; restore the directory, or remove the whole data directory so that the member comes back as a new one",
		dir, ballot.path, term)
}

func listLog(cfg Config, dir string) ([]string, error) {
	if cfg.Log.FS != nil {
		return cfg.Log.FS.List(dir)
	}
	entries, err := os.ReadDir(dir)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}
