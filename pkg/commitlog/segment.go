package commitlog

import (
	"fmt"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// extentBytes is how finely the index knows a segment. Smaller groups share an
// extent, larger ones are divided, so a cold read never scans much more.
const extentBytes = 64 << 10

const (
	segmentSuffix  = ".seg"
	preparedPrefix = "prepared-"
	preparedSuffix = ".tmp"
)

// segment is one file of the log.
type segment struct {
	segmentHeader
	path string
	file File

	broken error // why its header cannot be read, while the log is opened

	// w is owned by the holder of the log's writer token.
	w struct {
		pos    int64     // where the next frame goes
		frames uint64    // written so far; the next frame's sequence
		last   groupKind // of the last frame, 0 if there is none
		rolled bool      // the last frame says that a successor exists
		synced int64     // all before it is fdatasynced
		zeroed int64     // ZeroAhead need not look before it

		end      tip   // the last entry, once another segment follows
		outlined bool  // its outline has its name
		scarred  bool  // damage was met in it: Open is to read it
		headless bool  // its header is damaged, and was made from what stands before it
		unread   error // what of it Open could not read, if anything
	}

	// index is guarded by the log's mu.
	index extents
}

// extent is a run of entries in a file: from the frame or entry at pos to the
// end of the last one's bytes. Between them stand frame headers, padding and
// seals, never a truncation.
type extent struct {
	first, last Index
	pos, end    int64
}

// extents is the sparse index of a segment: where which entries are.
type extents struct {
	list   []extent
	closed bool // a truncation stands behind the last extent: it cannot grow
}

// add records that the entries first to last stand from pos to end.
func (x *extents) add(e extent) {
	if n := len(x.list); n > 0 && !x.closed {
		if l := &x.list[n-1]; l.last+1 == e.first && e.end-l.pos <= extentBytes {
			l.last, l.end = e.last, e.end
			return
		}
	}
	x.list, x.closed = append(x.list, e), false
}

// truncate drops the entries from i on.
func (x *extents) truncate(i Index) {
	n := sort.Search(len(x.list), func(n int) bool { return x.list[n].last >= i })
	if n < len(x.list) && x.list[n].first < i {
		x.list[n].last = i - 1 // end stays: the walk stops at last
		n++
	}
	x.list, x.closed = x.list[:n], true
}

// from returns the extents from the one that holds i on.
func (x *extents) from(i Index) []extent {
	return x.list[sort.Search(len(x.list), func(n int) bool { return x.list[n].last >= i }):]
}

func segmentName(base Index) string { return fmt.Sprintf("%020d%s", base, segmentSuffix) }

// parseSegmentName returns the base index in the name of a segment file.
func parseSegmentName(name string) (Index, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	base, err := strconv.ParseInt(digits, 10, 64)
	return Index(base), err == nil && base >= 0
}

func isPreparedName(name string) bool {
	return strings.HasSuffix(name, preparedSuffix) &&
		(strings.HasPrefix(name, preparedPrefix) || strings.HasPrefix(name, patchPrefix) || strings.HasPrefix(name, outlinePrefix))
}

// segmentOf returns the position of the segment that holds index i, or would.
func segmentOf(segments []*segment, i Index) int {
	return sort.Search(len(segments), func(n int) bool { return segments[n].base > i }) - 1
}

func (l *Log) segmentPath(base Index) string { return filepath.Join(l.cfg.Dir, segmentName(base)) }
