package client

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"
)

// Config says how to reach a group of brokers.
type Config struct {
	// Seeds are client addresses, HOST:PORT, of some brokers of the group; one that
	// answers is enough, the others are learned from it.
	Seeds []string
	// TLS is used for every connection; nil speaks plain text.
	TLS *tls.Config
	// DialTimeout bounds how long Dial waits for a first broker to answer; default 10 s.
	DialTimeout time.Duration
	// RequestTimeout bounds a request of Admin and its kind with all its tries, when
	// its context has no deadline; default 30 s.
	RequestTimeout time.Duration
	// Dialer opens connections; nil means TCP.
	Dialer func(ctx context.Context, addr string) (net.Conn, error)
	// Logger tells of moved leaders and broken connections; nil is silent.
	Logger *slog.Logger
}

func (cfg Config) withDefaults() Config {
	if cfg.DialTimeout == 0 {
		cfg.DialTimeout = 10 * time.Second
	}
	if cfg.RequestTimeout == 0 {
		cfg.RequestTimeout = 30 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

func (cfg Config) validate() error {
	if len(cfg.Seeds) == 0 {
		return errorf(CodeInvalidConfig, "no seeds: name at least one broker as HOST:PORT")
	}
	for _, s := range cfg.Seeds {
		if _, port, err := net.SplitHostPort(s); err != nil || port == "" {
			return errorf(CodeInvalidConfig, "seed %q: want HOST:PORT", s)
		}
	}
	if cfg.DialTimeout < 0 || cfg.RequestTimeout < 0 {
		return errorf(CodeInvalidConfig, "a timeout is negative")
	}
	return nil
}
