package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

func newMemberReplace(m *members) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replace OLD NEW HOST:PORT",
		Short: "Add NEW, wait until it has caught up, promote it, remove OLD",
		Long: `Add NEW, wait until it has caught up, promote it, and only then remove OLD. If it is
interrupted, the same command goes on where it was. NEW is an id of its own: a member whose
disk alone was lost is not replaced, but started with an empty directory.`,
		Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == args[1] {
				return cli.Usagef("%s cannot replace itself: NEW is an id that is not in the group; if only its disk was lost, start it with an empty directory", args[0])
			}
			return m.connected(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				if err := m.replace(ctx, admin, args[0], args[1], args[2]); err != nil {
					return err
				}
				return m.showDone(ctx, admin)
			})
		},
	}
	m.registerWait(cmd)
	return cmd
}

func (m *members) replace(ctx context.Context, admin *client.Admin, old, next, addr string) error {
	group, err := m.list(ctx, admin)
	if err != nil {
		return err
	}
	if err := judgeReplace(group, old, next, addr); err != nil {
		return fmt.Errorf("replace %s by %s: %w", old, next, err)
	}
	if at := group.find(next); at == nil || at.Seat != seatVoter {
		if err := m.add(ctx, admin, next, addr); err != nil {
			return err
		}
		if err := m.promote(ctx, admin, next); err != nil {
			return err
		}
	}
	if group.find(old) == nil {
		return nil
	}
	return m.remove(ctx, admin, old)
}

// judgeReplace refuses what is neither a replacement nor the rest of one that was begun. A
// NEW that is there at another address is some other member, and OLD would go for nobody.
func judgeReplace(g *group, old, next, addr string) error {
	at := g.find(next)
	if at != nil && at.PeerAddr != addr {
		return &client.Error{Code: client.CodeInvalidMember, Message: fmt.Sprintf(
			"%s is in the group already, at %s and not at %s: name a new id, or that address to go on with a replacement; nothing was changed", next, at.PeerAddr, addr)}
	}
	if g.find(old) == nil && (at == nil || at.Seat != seatVoter) {
		return &client.Error{Code: client.CodeUnknownMember, Message: old + " is not in the group: see broker admin member list"}
	}
	return nil
}
