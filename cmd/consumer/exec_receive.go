package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ledgermq/ledgermq/pkg/client"
)

// execReceived gives each message of a work-queue group to a command, and acknowledges it
// when that has ended well. Else it comes again as the group's policy says, here or with
// another consumer. With --count it ends after so many attempts.
func (r *consuming) execReceived(ctx context.Context, w *received) error {
	command := newCommandLine(r.flags.exec, r.streams)
	killed, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(closeTimeout, kill) })() // what runs may end
	taking, enough := context.WithCancelCause(ctx)
	defer enough(nil)
	var taken, done atomic.Int64
	err := w.Handle(taking, r.flags.exec.workers, func(_ context.Context, d *client.Delivery) error {
		if taken.Add(1) == int64(r.flags.count) {
			enough(errEnough)
		}
		err := command.run(killed, &d.Message, d.Attempt)
		if err != nil {
			_, _ = fmt.Fprintf(r.streams.Err, "%s/%d@%d: attempt %d: %v\n", d.Topic, *d.Queue, d.Offset, d.Attempt, err)
			return err
		}
		done.Add(1)
		return nil
	})
	r.count += done.Load()
	if errors.Is(err, errEnough) || errors.Is(context.Cause(taking), errEnough) {
		return nil
	}
	return err
}
