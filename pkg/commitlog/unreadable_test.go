package commitlog_test

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// The disk cannot read what stands in a sealed segment that Open has trusted. Whoever meets
// that first gets the error; the next Open reads the segment and refuses to begin,
// also after a power cut, and changes nothing more.
func TestUnreadableSegmentIsReadByTheNextOpen(t *testing.T) {
	for name, meet := range map[string]func(l *commitlog.Log, base Index) error{
		"scrub": func(l *commitlog.Log, _ Index) error { return scrubAll(l) },
		"read": func(l *commitlog.Log, base Index) error {
			_, err := l.Read(base, base, 1<<20)
			return err
		},
		"truncate": func(l *commitlog.Log, base Index) error {
			l.BecomeSlave(1)
			return l.TruncateFrom(base + 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs, all := outlinedLog(t)
			path := segmentFiles(fs)[1]
			base, ok := commitlog.ParseSegmentName(path)
			require.True(t, ok)
			bad := func(c crashfs.Call) crashfs.Fault {
				if c.Op == crashfs.OpRead && c.Path == path && c.Off < 8192 && c.Off+int64(c.Len) > 4096 {
					return crashfs.Fault{Err: syscall.EIO}
				}
				return crashfs.Fault{}
			}
			fs.SetFault(bad)
			l := mustOpen(t, tolerant(fs))
			trusted := len(outlineFiles(fs))
			require.ErrorIs(t, meet(l, base), syscall.EIO)
			l.Abandon()
			require.Len(t, outlineFiles(fs), trusted-1)
			again := fs.CrashWith(crashfs.Loss{})
			again.SetFault(bad)
			_, err := commitlog.Open(tolerant(again))
			require.ErrorIs(t, err, syscall.EIO)
			again.SetFault(nil)
			require.True(t, equalEntries(mustEntries(t, mustOpen(t, tolerant(again))), all), "it was a cable")
		})
	}
}
