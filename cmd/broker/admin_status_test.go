package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

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
