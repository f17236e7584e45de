package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/pkg/client"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// group is the group as `member list -o json` shows it.
type group struct {
	Leader string `json:"leader"`
	// Changing says that the newest change is not known to be committed.
	Changing bool          `json:"changing"`
	Members  []groupMember `json:"members"`
	// Generation names the group since the last recovery without a majority.
	Generation string     `json:"generation"`
	Recoveries []recovery `json:"recoveries"`
	// Local says that no leader was found and one broker told what it knows.
	Local bool `json:"local"`
}

// groupMember is one member; water_mark, lag and heard_ms are -1 where they are not known.
type groupMember struct {
	ID          string `json:"id"`
	PeerAddr    string `json:"peer_addr"`
	ClientAddr  string `json:"client_addr"`
	Seat        string `json:"seat"`
	Role        string `json:"role"`
	WaterMark   int64  `json:"water_mark"`
	Lag         int64  `json:"lag"`
	HeardMs     int64  `json:"heard_ms"`
	Connected   bool   `json:"connected"`
	Incarnation string `json:"incarnation"`
	MayNotVote  bool   `json:"may_not_vote"`
	Trouble     string `json:"trouble,omitempty"`
}

// recovery is the record of one recovery without a majority.
type recovery struct {
	Generation   string    `json:"generation"`
	Time         time.Time `json:"time"`
	Member       string    `json:"member"`
	Before       []string  `json:"before"`
	After        []string  `json:"after"`
	Reason       string    `json:"reason"`
	EndIndex     int64     `json:"end_index"`
	EndTerm      int64     `json:"end_term"`
	AppliedIndex int64     `json:"applied_index"`
}

func toRecoveries(g *brokerv1.Group) []recovery {
	all := []recovery{}
	for _, r := range g.GetRecoveries() {
		all = append(all, recovery{
			Generation: r.GetGeneration(), Time: time.UnixMilli(r.GetTimeUnixMs()).UTC(), Member: r.GetMember(), Before: r.GetBefore(), After: r.GetAfter(),
			Reason: r.GetReason(), EndIndex: r.GetEndIndex(), EndTerm: r.GetEndTerm(), AppliedIndex: r.GetAppliedIndex(),
		})
	}
	return all
}

func toGroup(r *brokerv1.ListMembersResponse) *group {
	g := &group{
		Leader: r.GetLeader(), Changing: r.GetGroup().GetChanging(), Generation: r.GetGroup().GetGeneration(), Recoveries: toRecoveries(r.GetGroup()), Members: []groupMember{},
	}
	for _, m := range r.GetMembers() {
		role := "FOLLOWER"
		if m.GetLeader() {
			role = "LEADER"
		}
		g.Members = append(g.Members, groupMember{
			ID: m.GetId(), PeerAddr: m.GetPeerAddr(), ClientAddr: m.GetClientAddr(), Seat: m.GetSeat(), Role: role, WaterMark: m.GetWaterMark(),
			Lag: m.GetLag(), HeardMs: m.GetHeardMs(), Connected: m.GetConnected(), Incarnation: m.GetIncarnation(), MayNotVote: m.GetMayNotVote(), Trouble: m.GetTrouble(),
		})
	}
	return g
}

// seatVoter is the seat of a member that votes.
const seatVoter = "VOTER"

// find is the member with that id; nil: there is none.
func (g *group) find(id string) *groupMember {
	for i := range g.Members {
		if g.Members[i].ID == id && g.Members[i].Seat != "LEAVING" {
			return &g.Members[i]
		}
	}
	return nil
}

func newMemberList(m *members) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Show who is in the group, and how each of them is",
		Long: `Show who is in the group, as its leader knows it. Where nobody leads, the first
broker that answers tells what it knows, and the exit code is 6.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return m.connected(cmd.Context(), m.show)
		},
	}
}

// list asks the leader.
func (m *members) list(ctx context.Context, admin *client.Admin) (*group, error) {
	var g *group
	err := m.brief(ctx, func(ctx context.Context) error {
		resp, err := admin.Members(ctx, false)
		g = toGroup(resp)
		return err
	})
	return g, err
}

// show prints the group, if need be without a leader.
func (m *members) show(ctx context.Context, admin *client.Admin) error {
	g, err := m.list(ctx, admin)
	if errors.Is(err, client.ErrNoLeader) || errors.Is(err, client.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) {
		local := m.brief(ctx, func(ctx context.Context) error {
			resp, err := admin.Members(ctx, true)
			g = toGroup(resp)
			return err
		})
		if local != nil {
			return fmt.Errorf("%w; nor does a broker tell what it knows: %w", err, local)
		}
		g.Local = true
	} else if err != nil {
		return err
	}
	return errors.Join(m.printGroup(g), err)
}

func (m *members) printGroup(g *group) error {
	header := []any{"member", "seat", "role", "water mark", "lag", "heard", "connected", "peers", "clients", "incarnation"}
	var rows [][]any
	for _, p := range g.Members {
		seat := p.Seat
		if p.MayNotVote && seat == seatVoter {
			seat += " (not counted)"
		}
		if p.Trouble != "" {
			seat += " (" + p.Trouble + ")"
		}
		rows = append(rows, []any{p.ID, seat, p.Role, known(p.WaterMark), known(p.Lag), heard(p), p.Connected, p.PeerAddr, p.ClientAddr, p.Incarnation})
	}
	if err := m.print(g, header, rows); err != nil || m.output.Value == "json" {
		return err
	}
	for _, line := range g.notes() {
		if _, err := fmt.Fprintln(m.streams.Out, line); err != nil {
			return err
		}
	}
	return nil
}

// notes are the lines below the table.
func (g *group) notes() (lines []string) {
	if g.Changing {
		lines = append(lines, "changing: the newest change is not committed yet")
	}
	if g.Local {
		lines = append(lines, "no leader: this is what one broker knows")
	}
	for _, r := range g.Recoveries {
		lines = append(lines, fmt.Sprintf("recovered without a majority at %s on %s: %s became %s, with the entries up to %d (known to be committed: %d); generation %s; reason: %s",
			r.Time.Format(time.RFC3339), r.Member, strings.Join(r.Before, ","), strings.Join(r.After, ","), r.EndIndex, r.AppliedIndex, r.Generation, r.Reason))
	}
	return lines
}

// known is a number that may not be known.
func known(n int64) string {
	if n < 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func heard(p groupMember) string {
	switch {
	case p.Role == "LEADER":
		return "-"
	case p.HeardMs < 0:
		return "never"
	}
	return (time.Duration(p.HeardMs) * time.Millisecond).String() + " ago"
}
