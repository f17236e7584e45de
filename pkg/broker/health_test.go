package broker

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

func commitIndex(i int64) commitlog.Index { return commitlog.Index(i) }

func mustURL(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return u
}

// probe asks an HTTP probe.
func (n *node) probe(path string) (int, string) {
	n.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get("http://" + n.b.Addrs().HTTP + path)
	require.NoError(n.t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(n.t, err)
	require.NoError(n.t, resp.Body.Close())
	return resp.StatusCode, string(body)
}

// watchHealth waits until the service has the status.
func (n *node) awaitHealth(service string, want healthv1.HealthCheckResponse_ServingStatus) {
	n.t.Helper()
	stream, err := n.health.Watch(n.ctx(), &healthv1.HealthCheckRequest{Service: service})
	require.NoError(n.t, err)
	for {
		resp, err := stream.Recv()
		require.NoError(n.t, err, "%s %q", n.cfg.Node.ID, service)
		if resp.GetStatus() == want {
			return
		}
	}
}

const (
	serving    = healthv1.HealthCheckResponse_SERVING
	notServing = healthv1.HealthCheckResponse_NOT_SERVING
)

func TestHealthFollowsTheCluster(t *testing.T) {
	c := startCluster(t, 3, func(c *Config) { c.Limits.HoldTimeout = 300 * time.Millisecond })
	leader, followers := c.leader()
	queues := leader.createTopic("t", 1)
	_ = queues
	leader.awaitHealth(healthLeader, serving)
	for _, n := range c.nodes {
		n.awaitHealth(healthProcess, serving)
		n.awaitHealth(healthBroker, serving)
		for _, path := range []string{"/livez", "/readyz", "/startupz"} {
			code, body := n.probe(path)
			require.Equal(t, http.StatusOK, code, body)
			require.Equal(t, "ok\n", body)
		}
	}
	followers[0].awaitHealth(healthLeader, notServing)

	// Without a quorum nobody is ready, and everybody is alive.
	leader.kill()
	followers[0].kill()
	last := followers[1]
	last.await("no leader", func(v leaderView) bool { return v.leader == "" })
	last.awaitHealth(healthBroker, notServing)
	last.awaitHealth(healthProcess, serving)
	code, body := last.probe("/readyz?verbose")
	require.Equal(t, http.StatusServiceUnavailable, code)
	var h health
	require.NoError(t, json.Unmarshal([]byte(body), &h))
	require.False(t, h.OK)
	require.Equal(t, "leader", h.Reasons[2].Name)
	require.False(t, h.Reasons[2].OK)
	require.Contains(t, h.Reasons[2].Detail, "knows no leader: 1 of 3 members reachable, 2 voters needed (")
	code, _ = last.probe("/livez")
	require.Equal(t, http.StatusOK, code)

	_, err := last.admin.ListTopics(last.ctx(), &brokerv1.ListTopicsRequest{})
	requireCode(t, err, CodeNoLeader, "definite")
	require.ErrorContains(t, err, "no leader for 300ms: 1 of 3 members reachable, 2 voters needed ("+last.cfg.Node.ID+" is CANDIDATE")
	_, err = last.publishStream().Recv()
	requireCode(t, err, CodeNoLeader, "definite")
	st, err := last.status.GetStatus(last.ctx(), &brokerv1.GetStatusRequest{})
	require.NoError(t, err, "status needs nobody else")
	require.Equal(t, "CANDIDATE", st.GetStatus().GetRole())

	leader.restart()
	last.awaitHealth(healthBroker, serving)
	code, body = last.probe("/readyz")
	require.Equal(t, http.StatusOK, code, body)
}

// A new group that does not begin says what it waits for.
func TestNewGroupSaysWhomItWaitsFor(t *testing.T) {
	absent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, absent.Close())
	n := startSingle(t, func(c *Config) {
		c.Cluster.Peers = map[string]string{"n1": "127.0.0.1:1", "n9": absent.Addr().String()} // n1's own is not dialled
	})
	const why = "its data directory is new, and the group seems to be: it votes when it has heard that every other member is new too, and has not heard so of [n9]. Start all members"
	require.Eventually(t, func() bool {
		code, body := n.probe("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "not ok: leader: knows no leader: 1 of 2 members reachable") &&
			strings.Contains(body, "n1 may not vote: "+why)
	}, patience, 10*time.Millisecond)
	st, err := n.status.GetStatus(n.ctx(), &brokerv1.GetStatusRequest{})
	require.NoError(t, err)
	require.Contains(t, st.GetStatus().GetStanding(), why)
}

func TestWatchLeaderPushesChanges(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	watch, err := followers[0].messaging.WatchLeader(leader.ctx(), &brokerv1.WatchLeaderRequest{})
	require.NoError(t, err)
	until := func(ok func(*brokerv1.WatchLeaderResponse) bool) *brokerv1.WatchLeaderResponse {
		for {
			resp, err := watch.Recv()
			require.NoError(t, err)
			if ok(resp) {
				return resp
			}
		}
	}
	first := until(func(r *brokerv1.WatchLeaderResponse) bool { return r.GetServing() && len(r.GetMembers()) == 3 })
	require.Equal(t, leader.cfg.Node.ID, first.GetLeader())
	require.Equal(t, leader.b.Addrs().Client, first.GetLeaderAddr())
	leader.shutdown()
	second := until(func(r *brokerv1.WatchLeaderResponse) bool {
		return r.GetServing() && r.GetLeader() != leader.cfg.Node.ID
	})
	require.Greater(t, second.GetTerm(), first.GetTerm())
}

func TestStatusTellsEverything(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	leader.createTopic("t", 1)
	for _, n := range append(followers, leader) {
		n.awaitApplied(1)
	}
	var hashes, states []uint32
	for _, n := range c.nodes {
		resp, err := n.status.GetStatus(n.ctx(), &brokerv1.GetStatusRequest{})
		require.NoError(t, err)
		st := resp.GetStatus()
		require.Equal(t, n.cfg.Node.ID, st.GetId())
		require.Equal(t, leader.cfg.Node.ID, st.GetLeader())
		require.Equal(t, "quorum-fsync", st.GetDurability())
		require.EqualValues(t, 1, st.GetAppliedIndex())
		require.EqualValues(t, 1, st.GetLogHashIndex())
		require.Equal(t, n == leader, st.GetServing())
		require.Len(t, resp.GetPeers(), 2)
		hashes, states = append(hashes, st.GetLogHash()), append(states, st.GetStateHash())
	}
	require.Equal(t, []uint32{hashes[0], hashes[0], hashes[0]}, hashes, "one history")
	require.Equal(t, []uint32{states[0], states[0], states[0]}, states, "one state")
}
