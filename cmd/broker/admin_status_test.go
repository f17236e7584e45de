package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// Damaged entries stand behind the role, and as they are in JSON.
func TestStatusShowsSuspects(t *testing.T) {
	m := toMemberStatus(client.NodeStatus{Status: &brokerv1.GetStatusResponse{Status: &brokerv1.MemberStatus{
		Id: "n2", Suspect: []*brokerv1.SuspectRange{
			{FirstIndex: 3, LastIndex: 3, Why: "bad"}, {FirstIndex: 5, LastIndex: 9, Lost: true},
		},
	}}})
	require.Equal(t, " SUSPECT (3-3, 5-9 LOST)", suspectMark(m.Suspect))
	out, err := json.Marshal(m)
	require.NoError(t, err)
	require.Contains(t, string(out), `"suspect":[{"first_index":3,"last_index":3,"lost":false,"why":"bad"},{"first_index":5,`)
	whole := toMemberStatus(client.NodeStatus{Status: &brokerv1.GetStatusResponse{Status: &brokerv1.MemberStatus{Id: "n1"}}})
	require.Empty(t, suspectMark(whole.Suspect))
	out, err = json.Marshal(whole)
	require.NoError(t, err)
	require.Contains(t, string(out), `"suspect":[]`)
}

// Whoever may not vote says why, below the table and, when nobody leads, at the end.
func TestStatusSaysWhyNobodyLeads(t *testing.T) {
	up := func(id, role, standing string) memberStatus {
		return memberStatus{ID: id, Reachable: true, Role: role, Standing: standing}
	}
	down := memberStatus{ID: "n3"}
	fresh := "has not heard so of [n3]. Start all members"
	require.NoError(t, checkLed([]memberStatus{up("n1", "LEADER", ""), down}))
	require.EqualError(t, checkLed([]memberStatus{up("n1", "FOLLOWER", ""), {ID: "n2"}, down}),
		"no member leads: a majority of them must be up and reach each other")
	require.EqualError(t, checkLed([]memberStatus{up("n1", "FOLLOWER", fresh), up("n2", "FOLLOWER", fresh), down}),
		"no member leads: n1 may not vote: "+fresh, "a majority is up")
	require.EqualError(t, checkLed([]memberStatus{{ID: "n1"}, up("n2", "FOLLOWER", fresh), down}),
		"no member leads: a majority of them must be up and reach each other; n2 may not vote: "+fresh)
	outcast := memberStatus{ID: "n4", Reachable: true, Role: "CANDIDATE", Outcast: "n2 refuses it", Standing: fresh}
	require.EqualError(t, checkLed([]memberStatus{outcast}), "no member leads: n4 is not in the group: n2 refuses it")

	var out bytes.Buffer
	a := &admin{streams: cli.Streams{Out: &out}, output: cli.NewOutput()}
	require.NoError(t, a.printStatus([]memberStatus{up("n1", "FOLLOWER", fresh), down}))
	require.Contains(t, out.String(), "FOLLOWER (may not vote)")
	require.Contains(t, out.String(), "\nn1 may not vote: "+fresh+"\n")
}
