package state

import (
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
)

// pebbleFormat is pinned, so that an upgrade of Pebble does not by itself make
// stores that the version before cannot open.
const pebbleFormat = pebble.FormatValueSeparation

func pebbleOptions(cfg *Config, failed *failure) *pebble.Options {
	options := &pebble.Options{
		FS:                          fatalDirs{cfg.FS, cfg.Fatal},
		CacheSize:                   cfg.CacheBytes,
		MemTableSize:                cfg.MemTableBytes,
		MemTableStopWritesThreshold: 3,
		L0CompactionThreshold:       4,
		LBaseMaxBytes:               64 << 20,
		DisableWAL:                  true,
		FormatMajorVersion:          pebbleFormat,
		CompactionConcurrencyRange:  func() (lower, upper int) { return 1, 1 },
		Logger:                      pebbleLogger{cfg.Logger, cfg.Fatal},
		EventListener: &pebble.EventListener{
			BackgroundError: failed.set,
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				failed.set(&CorruptionError{Dir: cfg.Dir, What: "file " + info.Path, Err: info.Details})
			},
			DiskSlow: func(info pebble.DiskSlowInfo) {
				cfg.Logger.Warn("state store: disk is slow", "op", info.String())
			},
		},
	}
	return options
}

// pebbleLogger turns Pebble's messages into debug lines; what it calls fatal ends
// the process, as every failed write does.
type pebbleLogger struct {
	log   *slog.Logger
	fatal func(error)
}

func (l pebbleLogger) Infof(format string, args ...any) {
	l.log.Debug("pebble: " + fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Warn("pebble: " + fmt.Sprintf(format, args...))
}

// Fatalf must not return, says Pebble: it holds locks and cannot go on.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf("state: the store cannot go on: pebble: "+format, args...)
	l.fatal(err)
	panic(err)
}
