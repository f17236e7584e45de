package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/pkg/client"
)

// members is what the subcommands of `broker admin member` share.
type members struct {
	*admin
	wait time.Duration // how long to wait for a learner to catch up
}

func newMember(a *admin) *cobra.Command {
	m := &members{admin: a}
	cmd := &cobra.Command{
		Use:   "member",
		Short: "List, add, promote, remove and replace members",
		Long: `Change who is in the group, one member at a time, while it serves.

A new member is started with --join first. It is added as a learner, which is
replicated to and counts for nothing, and promoted when it has caught up.
docs/runbooks/membership.md has the whole procedures.`,
	}
	addCommands(cmd, newMemberList(m), newMemberAdd(m), newMemberPromote(m), newMemberRemove(m), newMemberReplace(m))
	return cmd
}

func newMemberAdd(m *members) *cobra.Command {
	promote := false
	cmd := &cobra.Command{
		Use:   "add ID HOST:PORT",
		Short: "Add a learner that listens for the others at HOST:PORT",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return m.connected(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				if err := m.add(ctx, admin, args[0], args[1]); err != nil {
					return err
				}
				if promote {
					if err := m.promote(ctx, admin, args[0]); err != nil {
						return err
					}
				}
				return m.showDone(ctx, admin)
			})
		},
	}
	cmd.Flags().BoolVar(&promote, "promote", false, "wait until it has caught up and promote it")
	m.registerWait(cmd)
	return cmd
}

func (m *members) registerWait(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&m.wait, "wait", time.Hour, "how long to wait for the learner to catch up")
}

func newMemberPromote(m *members) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "promote ID",
		Short: "Make a learner a voter, as soon as it has caught up",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return m.connected(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				if err := m.promote(ctx, admin, args[0]); err != nil {
					return err
				}
				return m.showDone(ctx, admin)
			})
		},
	}
	m.registerWait(cmd)
	return cmd
}

func newMemberRemove(m *members) *cobra.Command {
	return &cobra.Command{
		Use:   "remove ID",
		Short: "Take a member out of the group",
		Long: `Take a member out of the group. A leader hands over when it is out. The broker of
the member goes on without a group: stop it and remove its data directory.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return m.connected(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				if err := m.remove(ctx, admin, args[0]); err != nil {
					return err
				}
				return m.showDone(ctx, admin)
			})
		},
	}
}

// showDone prints the group after a change. That it cannot be shown is no reason to say that
// the change failed: whoever believed it would make it again, or undo it.
func (m *members) showDone(ctx context.Context, admin *client.Admin) error {
	m.settled(ctx, admin)
	if err := m.show(ctx, admin); err != nil {
		m.say("warning: the change was made, but the group cannot be shown now (broker admin member list): %v", err)
	}
	return nil
}

// settled waits, for --timeout at most, until the leader's status covers a change that it has
// answered: the status is drawn up at times, and a new leader has to commit an entry of its own.
func (m *members) settled(ctx context.Context, admin *client.Admin) {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	for {
		if group, err := m.list(ctx, admin); err != nil || !group.Changing {
			return
		}
		if pause(ctx, settleRetry) != nil {
			return
		}
	}
}

// say prints a line of progress, beside the output proper.
func (m *members) say(format string, args ...any) {
	_, _ = fmt.Fprintf(m.streams.Err, format+"\n", args...)
}

func (m *members) add(ctx context.Context, admin *client.Admin, id, addr string) error {
	if err := m.brief(ctx, func(ctx context.Context) error { return admin.AddMember(ctx, id, addr) }); err != nil {
		return fmt.Errorf("add %s at %s: %w", id, addr, err)
	}
	m.say("%s at %s is added as a learner", id, addr)
	return nil
}

func (m *members) remove(ctx context.Context, admin *client.Admin, id string) error {
	if err := m.brief(ctx, func(ctx context.Context) error { return admin.RemoveMember(ctx, id) }); err != nil {
		return fmt.Errorf("remove %s: %w", id, err)
	}
	m.say("%s is removed: stop its broker and remove its data directory", id)
	return nil
}

// How often a learner that has to catch up, and a change that the status may not cover yet,
// are looked at.
const (
	settleRetry  = 50 * time.Millisecond
	promoteRetry = 250 * time.Millisecond
	sayEvery     = 2 * time.Second
)

// promote tries until the learner has caught up.
func (m *members) promote(ctx context.Context, admin *client.Admin, id string) error {
	waiting, cancel := context.WithTimeout(ctx, m.wait)
	defer cancel()
	tick := time.NewTicker(promoteRetry)
	defer tick.Stop()
	var said time.Time
	for {
		err := m.brief(ctx, func(ctx context.Context) error { return admin.PromoteMember(ctx, id) })
		if err == nil {
			m.say("%s is a voter", id)
			return nil
		}
		if !errors.Is(err, client.ErrNotCaughtUp) {
			return fmt.Errorf("promote %s: %w", id, err)
		}
		if time.Since(said) >= sayEvery {
			said = time.Now()
			m.say("%s has not caught up yet: %s", id, m.lag(ctx, admin, id))
		}
		select {
		case <-tick.C:
		case <-waiting.Done():
			return fmt.Errorf("promote %s: it has not caught up within %v; it stays a learner, and promote may be tried again: %w", id, m.wait, err)
		}
	}
}

// lag says how far behind a member is.
func (m *members) lag(ctx context.Context, admin *client.Admin, id string) string {
	group, err := m.list(ctx, admin)
	if err != nil {
		return err.Error()
	}
	switch at := group.find(id); {
	case at == nil:
		return "it is not in the group"
	case at.HeardMs < 0 || !at.Connected:
		return "the leader does not reach it at " + at.PeerAddr
	default:
		return fmt.Sprintf("%d entries behind", at.Lag)
	}
}
