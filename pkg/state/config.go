package state

import (
	"errors"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
)

// Config says where a store is and how much memory it may take. Nothing in it
// has any influence on what Apply does.
type Config struct {
	// Dir is made if it is missing. Pebble locks it.
	Dir string
	// FS is Pebble's; nil is the operating system's.
	FS vfs.FS
	// CacheBytes is the block cache; default 64 MiB.
	CacheBytes int64
	// MemTableBytes is one memtable, of which there can be three; default 32 MiB. A
	// full one is flushed by Pebble itself.
	MemTableBytes uint64
	// FlushBytes of applied bodies make a flush due; default 256 MiB. It bounds what
	// is applied again after a crash.
	FlushBytes int64
	// FlushInterval after which a flush is due if anything was applied; default 60 s.
	FlushInterval time.Duration
	// Now is the clock for FlushInterval and the metrics; default time.Now.
	Now func() time.Time
	// Logger gets Pebble's own messages at debug; default: none.
	Logger *slog.Logger
	// Fatal is called when Pebble cannot go on while it holds its locks, as after a write
	// of its MANIFEST that failed. It ends the process: it must not return, and the
	// store cannot be closed any more. Default: panic.
	Fatal func(error)
	// Registerer takes the metrics; nil keeps them unseen.
	Registerer prometheus.Registerer
}

func (cfg Config) withDefaults() Config {
	if cfg.FS == nil {
		cfg.FS = vfs.Default
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = 64 << 20
	}
	if cfg.MemTableBytes == 0 {
		cfg.MemTableBytes = 32 << 20
	}
	if cfg.FlushBytes == 0 {
		cfg.FlushBytes = 256 << 20
	}
	if cfg.FlushInterval == 0 {
		cfg.FlushInterval = time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Fatal == nil {
		cfg.Fatal = func(err error) { panic(err) }
	}
	return cfg
}

func (cfg Config) validate() error {
	switch {
	case cfg.Dir == "":
		return errors.New("state: config: no directory")
	case cfg.CacheBytes < 0 || cfg.FlushBytes < 0 || cfg.FlushInterval < 0:
		return errors.New("state: config: sizes and times must not be negative")
	case cfg.MemTableBytes < 64<<10:
		return errors.New("state: config: a memtable needs 64 KiB or more")
	}
	return nil
}
