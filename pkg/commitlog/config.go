package commitlog

import (
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config says where a log is, whose it is and how large its parts are.
type Config struct {
	// Dir holds the segment files and nothing else. It is made if missing.
	Dir string
	// FS is the file system; nil means the operating system's.
	FS FS

	// ClusterID, Group and MemberID are written into every segment. A log
	// of anybody else is refused. 1 to 254 bytes each.
	ClusterID string
	Group     string
	MemberID  string

	// SegmentBytes is the size of a segment file, preallocated. A multiple
	// of 4096, 16 KiB at least; 0 means 256 MiB. Retention works in whole
	// segments. A segment grows beyond it only for a group that is larger.
	SegmentBytes int64
	// TailCacheBytes bounds the memory that keeps the newest entries for
	// readers; entries that are not durable yet stay whatever it says.
	// 0 means 64 MiB.
	TailCacheBytes int64
	// MaxGroupBytes bounds what one Sync writes. A single entry that is
	// larger is a group of its own. 0 means 8 MiB, or half a segment if that is less: a
	// segment grows for a larger group, by space that is not reserved.
	MaxGroupBytes int64
	// PageCache answers for durability with the page cache: Sync writes but
	// does not fdatasync. A power cut then loses acknowledged entries.
	PageCache bool

	// TolerateDamage opens a damaged log where its neighbours tell which
	// entries are meant: those are faulty, see Log.Faulty, until Repair replaces
	// them. It is for a member that has others to repair it from. Without it
	// Open refuses.
	TolerateDamage bool
	// ReadAll makes Open read and verify every segment, whatever its outline says. It is
	// for a directory that nobody will scrub before something depends on it.
	ReadAll bool
	// MayGrow is asked before the space for one more segment, of that many bytes, is
	// reserved, and before a repair writes as many. An error that wraps ENOSPC or EDQUOT refuses it as a full disk
	// would, before the last space of the file system is taken. Nil refuses nothing.
	MayGrow func(bytes int64) error

	// Clock stamps the append time; nil means time.Now.
	Clock func() time.Time
	// SegmentID makes the random number of a new segment, which must differ
	// from that of every other segment; nil means the system's randomness.
	SegmentID func() uint64
	// Logger gets one line per decision; nil discards.
	Logger *slog.Logger
	// Registerer gets the metrics; nil keeps them unregistered.
	Registerer prometheus.Registerer
}

func (c Config) withDefaults() Config {
	if c.FS == nil {
		c.FS = osFS{}
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = 256 << 20
	}
	if c.TailCacheBytes == 0 {
		c.TailCacheBytes = 64 << 20
	}
	if c.MaxGroupBytes == 0 {
		c.MaxGroupBytes = min(8<<20, c.SegmentBytes/2)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.SegmentID == nil {
		c.SegmentID = randomID
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	if c.Dir == "" {
		return errors.New("commit log: Dir is empty")
	}
	for name, v := range map[string]string{"ClusterID": c.ClusterID, "Group": c.Group, "MemberID": c.MemberID} {
		if v == "" || len(v) > maxIdentityBytes {
			return fmt.Errorf("commit log: %s has %d bytes, allowed are 1 to %d", name, len(v), maxIdentityBytes)
		}
	}
	if c.SegmentBytes < 4*blockBytes || c.SegmentBytes%blockBytes != 0 {
		return fmt.Errorf("commit log: SegmentBytes is %d, it must be a multiple of %d and at least %d",
			c.SegmentBytes, blockBytes, 4*blockBytes)
	}
	if c.TailCacheBytes < 0 || c.MaxGroupBytes < 0 || c.MaxGroupBytes > 1<<30 {
		return fmt.Errorf("commit log: TailCacheBytes %d or MaxGroupBytes %d is out of range (the latter ends at 1 GiB)",
			c.TailCacheBytes, c.MaxGroupBytes)
	}
	return nil
}

func (c Config) identity() Identity {
	return Identity{ClusterID: c.ClusterID, Group: c.Group, MemberID: c.MemberID}
}

func randomID() uint64 {
	var b [8]byte
	_, _ = crand.Read(b[:]) // never fails: it ends the process instead
	return binary.LittleEndian.Uint64(b[:])
}
