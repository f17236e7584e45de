package dledger

import (
	"fmt"
	"path/filepath"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// SeedMembers is what a member that is seeded must be told of the group, because the
// entries that say it are purged: the newest group that is known here to be committed,
// the generation and the recoveries. The bytes are for InstallMembers.
func (s *Server) SeedMembers() []byte {
	group := s.group.Load()
	r := membersRecord{
		owner:      ballotOwner{clusterID: s.cfg.ClusterID, group: s.cfg.Group, id: s.cfg.ID},
		generation: group.generation, recoveries: group.recoveries,
	}
	begin, commit := s.ledger.Begin(), s.commit.load()
	for i, c := range group.changes {
		at := logIndex(c.At)
		if i > 0 && at > commit {
			break
		}
		if term, err := s.ledger.TermAt(at); i == 0 || at < begin || err == nil && term == logTerm(c.Term) {
			r.changes = []member.Change{c}
		}
	}
	return r.encode()
}

// CheckMembers refuses bytes that are not from SeedMembers of this member's group.
func CheckMembers(cfg Config, members []byte) error {
	_, err := seededRecord(cfg, members)
	return err
}

func seededRecord(cfg Config, members []byte) (membersRecord, error) {
	r, err := decodeMembersRecord(members)
	if err == nil && (r.owner.clusterID != cfg.ClusterID || r.owner.group != cfg.Group || len(r.changes) != 1) {
		err = fmt.Errorf("the members are of group %q in cluster %q", r.owner.group, r.owner.clusterID)
	}
	r.owner.id = cfg.ID
	return r, err
}

// CreateMembers makes the members file of a member that is seeded in a directory of
// its own. cfg is what Open will be told, members what came with the seed.
func CreateMembers(cfg Config, dir string, members []byte) error {
	r, err := seededRecord(cfg, members)
	if err != nil {
		return err
	}
	return (&membersFile{fs: commitlog.OSFS(), dir: dir}).write(r)
}

// MembersFile is where the members file of a Server in dir is.
func MembersFile(dir string) string { return filepath.Join(dir, membersFileName) }
