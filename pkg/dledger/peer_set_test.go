package dledger

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// Peers come and go; those that stay are the same ones, and what was counted of
// those that went is gone.
func TestPeersComeAndGo(t *testing.T) {
	s := idleServer(t)
	n2, n3 := s.peer("n2"), s.peer("n3")
	require.Equal(t, []member.ID{"n1", "n2", "n3"}, s.groupIDs())
	require.NoError(t, s.followMembers([]member.Seat{{ID: "n1", Address: "x:1"}, {ID: "n4", Address: "127.0.0.1:4"}, {ID: "n2", Address: "127.0.0.1:2"}}))
	require.Equal(t, []member.ID{"n1", "n2", "n4"}, s.groupIDs())
	require.Same(t, n2, s.peer("n2"))
	require.Nil(t, s.peer("n3"))
	require.Error(t, n3.life.Err(), "retired")
	require.NoError(t, n2.life.Err())
	require.NoError(t, s.followMembers([]member.Seat{{ID: "n2", Address: "127.0.0.1:22"}, {ID: "n4", Address: "127.0.0.1:4"}}))
	require.NotSame(t, n2, s.peer("n2"), "it has another address")
	require.Equal(t, "127.0.0.1:22", s.peer("n2").addr)
	require.NoError(t, n3.close())
	require.NoError(t, n2.close())
}

// A peer of a member that runs is retired: its goroutines end, and with them its
// connections and series.
func TestRetiredPeerEnds(t *testing.T) {
	s := idleServer(t)
	n3 := s.peer("n3")
	require.Equal(t, 2, testutil.CollectAndCount(s.metrics.peerUp))
	ended := make(chan error, 1)
	go func() { ended <- s.runPeer(t.Context(), n3) }()
	require.NoError(t, s.followMembers([]member.Seat{{ID: "n2", Address: "127.0.0.1:2"}}))
	require.NoError(t, <-ended)
	require.Equal(t, 1, testutil.CollectAndCount(s.metrics.peerUp))
	require.NoError(t, n3.close(), "again")
}

// An address that is none costs the one peer, not the member; one that has moved is
// looked for where the configuration says.
func TestPeersWithOddAddresses(t *testing.T) {
	s := idleServer(t)
	s.cfg.Addresses = map[member.ID]string{"n3": "127.0.0.1:33"}
	err := s.followMembers([]member.Seat{{ID: "n2", Address: "h%zz:1"}, {ID: "n3", Address: "127.0.0.1:3"}})
	require.ErrorContains(t, err, "peer n2 at h%zz:1")
	require.Equal(t, []member.ID{"n1", "n3"}, s.groupIDs())
	require.Equal(t, "127.0.0.1:33", s.peer("n3").addr)
	s.send(member.VoteRequest{From: "n1", To: "n2", Term: 1})
}
