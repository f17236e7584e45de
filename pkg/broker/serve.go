package broker

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// reopenPatience is how long Serve tries to get its own addresses back.
const reopenPatience = 10 * time.Second

// Serve runs a broker as New and Run do, and opens it again on the same addresses
// when it was seeded: to its clients that is a restart. started, if not nil, is
// told each broker before it runs. It returns what New or the last Run did.
func Serve(ctx context.Context, cfg Config, started func(*Broker)) error {
	b, err := New(cfg)
	for err == nil {
		if started != nil {
			started(b)
		}
		addrs := b.Addrs()
		err = b.Run(ctx)
		if !errors.Is(err, ErrSeeded) {
			break
		}
		if ctx.Err() != nil {
			return nil // the next start installs the seed
		}
		cfg.Listen = ListenConfig(addrs)
		cfg.Listeners = Listeners{}
		b, err = reopen(ctx, cfg)
	}
	return err
}

// reopen waits for addresses that were in use by this very process a moment ago.
func reopen(ctx context.Context, cfg Config) (*Broker, error) {
	for began := time.Now(); ; {
		b, err := New(cfg)
		if !errors.Is(err, syscall.EADDRINUSE) || ctx.Err() != nil || time.Since(began) > reopenPatience {
			return b, err
		}
		pause(ctx, 50*time.Millisecond)
	}
}
