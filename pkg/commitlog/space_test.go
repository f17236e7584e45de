package commitlog_test

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// fillUntilRefused appends and syncs until a Sync needs a segment that it does
// not get, and returns the last entry that is durable.
func fillUntilRefused(t *testing.T, l *commitlog.Log) Index {
	t.Helper()
	for range 200 {
		durable, _ := l.Durable()
		appendN(t, l, 1, 1, 3000)
		if _, err := l.Sync(); err != nil {
			require.ErrorIs(t, err, commitlog.ErrNoSpace)
			require.NotErrorIs(t, err, commitlog.ErrFailed)
			now, _ := l.Durable()
			require.Equal(t, durable, now)
			return durable
		}
	}
	t.Fatal("the log never needed another segment")
	return 0
}

// A full disk stops the log at the end of a segment: the Sync that needs the next
// one says so and has changed nothing. It goes on where it stood when there is
// space, and a crash in between leaves all that was durable.
func TestNoSpaceForTheNextSegmentIsNotFinal(t *testing.T) {
	full := map[string]func(cfg *commitlog.Config, fs *crashfs.FS, full *bool){
		"the disk refuses": func(_ *commitlog.Config, fs *crashfs.FS, full *bool) {
			fs.SetFault(func(c crashfs.Call) crashfs.Fault {
				if *full && c.Op == crashfs.OpPreallocate {
					return crashfs.Fault{Err: syscall.ENOSPC}
				}
				return crashfs.Fault{}
			})
		},
		"the owner refuses": func(cfg *commitlog.Config, _ *crashfs.FS, full *bool) {
			cfg.MayGrow = func(bytes int64) error {
				if !*full && bytes < cfg.SegmentBytes {
					return nil // for an outline
				}
				require.Equal(t, cfg.SegmentBytes, bytes)
				if *full {
					return syscall.EDQUOT
				}
				return nil
			}
		},
	}
	for name, arrange := range full {
		t.Run(name, func(t *testing.T) {
			fs := newFS()
			cfg := config(fs)
			isFull := false
			arrange(&cfg, fs, &isFull)
			l := mustOpen(t, cfg)
			isFull = true
			require.ErrorIs(t, l.PrepareSegment(), commitlog.ErrNoSpace)
			durable := fillUntilRefused(t, l)
			_, err := l.Sync()
			require.ErrorIs(t, err, commitlog.ErrNoSpace, "still full")
			end, _ := l.End()
			require.Equal(t, durable+1, end, "what is not durable stays readable")
			crashed := mustOpen(t, config(fs.CrashWith(crashfs.Loss{})))
			requireCount(t, crashed, int(durable)+1)

			isFull = false
			require.Equal(t, end, mustSync(t, l).Index)
			appendN(t, l, 1, 30, 3000) // over another roll
			mustSync(t, l)
			want := mustEntries(t, l)
			require.NoError(t, l.Close())
			require.True(t, equalEntries(want, mustEntries(t, mustOpen(t, config(fs)))))
		})
	}
}

// Any other error of that file is as final as it was: only a lack of space is known
// to leave the log as it is.
func TestAnotherErrorOfTheNextSegmentIsFinal(t *testing.T) {
	fs := newFS()
	l := mustOpen(t, config(fs))
	fs.SetFault(func(c crashfs.Call) crashfs.Fault {
		if c.Op == crashfs.OpPreallocate {
			return crashfs.Fault{Err: syscall.EIO}
		}
		return crashfs.Fault{}
	})
	for range 200 {
		appendN(t, l, 1, 1, 3000)
		if _, err := l.Sync(); err != nil {
			require.ErrorIs(t, err, commitlog.ErrFailed)
			return
		}
	}
	t.Fatal("the log never needed another segment")
}

// A file system without a block left gives what was reserved and no more. The log rolls to
// the segment that is prepared: its seals have their room, also that of a pause, and so has
// the largest group.
func TestRollWithoutABlockLeft(t *testing.T) {
	for name, fill := range map[string]func(t *testing.T, l *commitlog.Log){
		"a seal after each group": func(t *testing.T, l *commitlog.Log) {
			appendN(t, l, 1, 1, 100)
			mustSync(t, l)
			if segments, err := l.Segments(); err != nil || len(segments) == 1 {
				require.NoError(t, l.Seal()) // it came to rest
			}
		},
		"large groups": func(t *testing.T, l *commitlog.Log) {
			appendN(t, l, 1, 9, 3000) // more than a segment has room for
			mustSync(t, l)
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs := newFS()
			cfg := config(fs)
			cfg.MaxGroupBytes = 0 // as it comes
			full := false
			fs.SetFault(func(c crashfs.Call) crashfs.Fault {
				if full && (c.Op == crashfs.OpPreallocate || c.Op == crashfs.OpWrite && c.Off+int64(c.Len) > cfg.SegmentBytes) {
					return crashfs.Fault{Err: syscall.ENOSPC}
				}
				return crashfs.Fault{}
			})
			l := mustOpen(t, cfg)
			require.NoError(t, l.PrepareSegment())
			full = true
			for rolled := false; !rolled; {
				fill(t, l)
				segments, err := l.Segments()
				require.NoError(t, err)
				rolled = len(segments) > 1
			}
		})
	}
}
