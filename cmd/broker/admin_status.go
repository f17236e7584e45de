package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// memberStatus is a member as `status -o json` shows it. Of a member that does
// not answer only id, client_addr and error are told.
type memberStatus struct {
	ID        string `json:"id"`
	Reachable bool   `json:"reachable"`
	Error     string `json:"error,omitempty"`
	Role      string `json:"role"`
	// Seat is VOTER, LEARNER or NONE; Outcast says why the member is not, or seems not
	// to be, in the group, and what to do; empty: it is.
	Seat    string `json:"seat"`
	Outcast string `json:"outcast,omitempty"`
	// Generation names the group since the last recovery without a majority.
	Generation string     `json:"generation,omitempty"`
	Recoveries []recovery `json:"recoveries,omitempty"`
	// Standing says why the member may not vote, and what to do; empty: it may.
	Standing         string `json:"standing,omitempty"`
	Serving          bool   `json:"serving"`
	Term             int64  `json:"term"`
	Leader           string `json:"leader"`
	LedgerBeginIndex int64  `json:"ledger_begin_index"`
	LedgerEndIndex   int64  `json:"ledger_end_index"`
	LedgerEndTerm    int64  `json:"ledger_end_term"`
	DurableIndex     int64  `json:"durable_index"`
	CommitIndex      int64  `json:"commit_index"`
	AppliedIndex     int64  `json:"applied_index"`
	ClientAddr       string `json:"client_addr"`
	// LogHash is the rolling CRC over the ledger up to LogHashIndex.
	LogHash      string `json:"log_hash"`
	LogHashIndex int64  `json:"log_hash_index"`
	// StateHash is over what applying the ledger up to AppliedIndex yielded.
	StateHash string `json:"state_hash"`
	// SeedBytes of SeedTotalBytes are here of the seed that is being fetched.
	SeedBytes      int64 `json:"seed_bytes,omitempty"`
	SeedTotalBytes int64 `json:"seed_total_bytes,omitempty"`

	Durability  string `json:"durability"`
	ClusterID   string `json:"cluster_id"`
	Incarnation string `json:"incarnation"`
	Version     string `json:"version"`
	// Suspect are the entries of which this member's disk has no good copy; until
	// they are repaired, or known to be lost on every disk, it does not vote.
	Suspect []suspectRange `json:"suspect"`
	// ReadOnly says that the member refuses publishes, Trouble why it should not lead.
	ReadOnly       bool   `json:"read_only"`
	Trouble        string `json:"trouble,omitempty"`
	DiskFreeBytes  int64  `json:"disk_free_bytes"`
	DiskTotalBytes int64  `json:"disk_total_bytes"`
}

// suspectRange is a run of damaged entries, as `status -o json` shows it.
type suspectRange struct {
	FirstIndex int64  `json:"first_index"`
	LastIndex  int64  `json:"last_index"`
	Lost       bool   `json:"lost"`
	Why        string `json:"why"`
}

func toMemberStatus(n client.NodeStatus) memberStatus {
	if n.Err != nil {
		return memberStatus{ID: n.ID, ClientAddr: n.Addr, Error: n.Err.Error()}
	}
	s := n.Status.GetStatus()
	suspect := []suspectRange{}
	for _, r := range s.GetSuspect() {
		suspect = append(suspect, suspectRange{FirstIndex: r.GetFirstIndex(), LastIndex: r.GetLastIndex(), Lost: r.GetLost(), Why: r.GetWhy()})
	}
	return memberStatus{
		ID: s.GetId(), Reachable: true, Role: s.GetRole(), Standing: s.GetStanding(), Serving: s.GetServing(), Term: s.GetTerm(), Leader: s.GetLeader(),
		LedgerBeginIndex: s.GetLedgerBeginIndex(), LedgerEndIndex: s.GetLedgerEndIndex(), LedgerEndTerm: s.GetLedgerEndTerm(),
		DurableIndex: s.GetDurableIndex(), CommitIndex: s.GetCommitIndex(), AppliedIndex: s.GetAppliedIndex(),
		ClientAddr: s.GetClientAddr(), SeedBytes: s.GetSeedBytes(), SeedTotalBytes: s.GetSeedTotalBytes(),
		LogHash: fmt.Sprintf("%08x", s.GetLogHash()), LogHashIndex: s.GetLogHashIndex(), StateHash: fmt.Sprintf("%08x", s.GetStateHash()),
		Durability: s.GetDurability(), ClusterID: s.GetClusterId(), Incarnation: s.GetIncarnation(), Version: s.GetVersion(),
		Suspect: suspect, Seat: s.GetSeat(), Outcast: s.GetOutcast(), Generation: s.GetGroup().GetGeneration(), Recoveries: toRecoveries(s.GetGroup()),
		ReadOnly: s.GetReadOnly(), Trouble: s.GetTrouble(), DiskFreeBytes: s.GetDiskFreeBytes(), DiskTotalBytes: s.GetDiskTotalBytes(),
	}
}

// disk is the member's disk in a word or two.
func (m memberStatus) disk() string {
	used := "-"
	if m.DiskTotalBytes > 0 {
		used = fmt.Sprintf("%.0f%%", 100*float64(m.DiskTotalBytes-m.DiskFreeBytes)/float64(m.DiskTotalBytes))
	}
	if m.ReadOnly {
		used += " READ-ONLY"
	}
	if m.Trouble != "" {
		used += " (" + m.Trouble + ")"
	}
	return used
}

func newStatus(a *admin) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how each member of the cluster is",
		Long: `Show how each member of the cluster is: one line per member, asked itself.

Exit code 6 when no member leads, so that scripts need not parse anything.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				nodes, err := admin.Status(ctx)
				if err != nil {
					return err
				}
				members := make([]memberStatus, len(nodes))
				for i, n := range nodes {
					members[i] = toMemberStatus(n)
				}
				slices.SortFunc(members, func(a, b memberStatus) int { return strings.Compare(a.ID, b.ID) })
				if err := a.printStatus(members); err != nil {
					return err
				}
				return checkLed(members)
			})
		},
	}
}

// checkLed returns an error if no member leads, with what those that are up say of it.
func checkLed(members []memberStatus) error {
	if slices.ContainsFunc(members, func(m memberStatus) bool { return m.Role == "LEADER" }) {
		return nil
	}
	why := "a majority of them must be up and reach each other"
	up := 0
	for _, m := range members {
		if m.Reachable {
			up++
		}
	}
	barred := slices.IndexFunc(members, func(m memberStatus) bool { return m.barred() != "" })
	switch majority := 2*up > len(members); {
	case barred >= 0 && majority:
		why = members[barred].barred()
	case barred >= 0:
		why += "; " + members[barred].barred()
	}
	return &cli.Error{Exit: cli.ExitNoLeader, Code: string(client.CodeNoLeader), Err: errors.New("no member leads: " + why)}
}

// barred says why a member takes no part in elections; empty: it does.
func (m memberStatus) barred() string {
	switch {
	case m.Outcast != "":
		return m.ID + " is not in the group: " + m.Outcast
	case m.Standing != "":
		return m.mayNotVote()
	}
	return ""
}

func (m memberStatus) mayNotVote() string { return m.ID + " may not vote: " + m.Standing }

// suspectMark names the damaged entries of a member behind its role.
func suspectMark(ranges []suspectRange) string {
	if len(ranges) == 0 {
		return ""
	}
	var all []string
	for _, r := range ranges {
		text := fmt.Sprintf("%d-%d", r.FirstIndex, r.LastIndex)
		if r.Lost {
			text += " LOST"
		}
		all = append(all, text)
	}
	return " SUSPECT (" + strings.Join(all, ", ") + ")"
}

func (a *admin) printStatus(members []memberStatus) error {
	header := []any{"member", "role", "term", "leader", "begin", "end", "end term", "durable", "commit", "applied", "log hash", "durability", "disk", "clients"}
	var rows [][]any
	var notes []string
	for _, m := range members {
		if !m.Reachable {
			rows = append(rows, []any{m.ID, "UNREACHABLE", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", m.ClientAddr})
			continue
		}
		role := m.Role
		switch {
		case m.Outcast != "":
			role += " (NOT IN THE GROUP)"
			notes = append(notes, m.ID+": "+m.Outcast)
		case m.Seat == "LEARNER":
			role += " (learner)"
		}
		if m.Role == "LEADER" && !m.Serving {
			role += " (not ready)"
		}
		role += suspectMark(m.Suspect)
		if m.Standing != "" {
			role += " (may not vote)"
			notes = append(notes, m.mayNotVote())
		}
		if m.SeedTotalBytes > 0 {
			role += fmt.Sprintf(" (seed %d %%)", 100*m.SeedBytes/m.SeedTotalBytes)
		}
		rows = append(rows, []any{
			m.ID, role, m.Term, m.Leader, m.LedgerBeginIndex, m.LedgerEndIndex, m.LedgerEndTerm, m.DurableIndex,
			m.CommitIndex, m.AppliedIndex, fmt.Sprintf("%s@%d", m.LogHash, m.LogHashIndex), m.Durability, m.disk(), m.ClientAddr,
		})
	}
	if err := a.print(members, header, rows); err != nil || a.output.Value == "json" {
		return err
	}
	for _, note := range notes {
		if _, err := fmt.Fprintln(a.streams.Out, note); err != nil {
			return err
		}
	}
	return nil
}
