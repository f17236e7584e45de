package commitlog

import (
	"errors"
	"fmt"
	"os"
	"slices"
)

// maxUnreadBlocks is how many blocks of one segment may be unreadable until it is not
// taken for damage any more: then it is the device, or soon will be, and each further
// block may cost the seconds after which a disk gives up.
const maxUnreadBlocks = 256

// errUnread is why what stood in a block is damaged: the disk cannot read it.
var errUnread = errors.New("the disk cannot read the block")

// isUnreadable says whether an error of a read is one that a device gives for single
// sectors: a medium or checksum error, or the general one, EIO. All others say that there
// is no device, no file, no right to read it, or that the file system itself is damaged
// (EUCLEAN, EBADMSG): nothing is repaired on such a disk, and the process ends as it
// always did. So it does if EIO is all that is left of the device: the
// newest segment cannot be read then, nor anything synced.
func isUnreadable(err error) bool {
	return err != nil && slices.ContainsFunc(sectorErrors, func(e error) bool { return errors.Is(err, e) })
}

// readSure is readFresh with a second attempt, if the file is a sealed one; healed says that it
// went well. Of the active segment nothing is read that the disk could not read at once.
func readSure(file File, b []byte, off int64, sealed bool) (n int, healed bool, err error) {
	if n, err = readFresh(file, b, off); n == len(b) || !sealed || !isUnreadable(err) {
		return n, false, err
	}
	n, err = readFresh(file, b, off)
	return n, n == len(b) || !isUnreadable(err), err
}

// unreadableError is an I/O error of a read: what stands there is not known.
type unreadableError struct{ err error }

func (e *unreadableError) Error() string { return e.err.Error() }
func (e *unreadableError) Unwrap() error { return e.err }

// reportUnread tells of the blocks of a segment that a scan could not read.
func (l *Log) reportUnread(path string, w *window) {
	l.reportHealed(path, w.healed)
	if len(w.unread) == 0 {
		return
	}
	first := int64(-1)
	for pos := range w.unread {
		if first < 0 || pos < first {
			first = pos
		}
	}
	l.metrics.readErrors.WithLabelValues(readUnreadable).Add(float64(len(w.unread)))
	l.cfg.Logger.Error("blocks of a commit log segment cannot be read: what stood there counts as damaged",
		"path", path, "blocks", len(w.unread), "position", first, "error", w.unread[first])
}

// reportHealed tells of reads that went well at the second attempt only.
func (l *Log) reportHealed(path string, reads int) {
	if reads > 0 {
		l.metrics.readErrors.WithLabelValues(readHealed).Add(float64(reads))
		l.cfg.Logger.Warn("a read of the commit log failed, and went well at the second attempt: look at the disk", "path", path, "reads", reads)
	}
}

// diskAnswers says, after a read that has failed, whether the disk can read at all: one
// sector that it cannot read is damage, and a device that is gone is not. After
// other errors it does not ask. os.ErrClosed: the log, or the file, was closed meanwhile.
func (l *Log) diskAnswers(why error) error {
	if !isUnreadable(why) {
		return nil
	}
	segments := l.segments()
	if len(segments) == 0 {
		return fmt.Errorf("read the newest segment: %w", os.ErrClosed)
	}
	active := segments[len(segments)-1]
	if n, err := readFresh(active.file, alignedMemory(blockBytes), 0); n < blockBytes {
		return fmt.Errorf("read %s: %w", active.path, err)
	}
	return nil
}
