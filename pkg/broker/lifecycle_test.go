package broker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// TestShutdownHandsOver stops a leader with streams and waiting pulls on it: the
// leadership moves on, nothing is lost, and idle watchers do not hold it up.
func TestShutdownHandsOver(t *testing.T) {
	c := startCluster(t, 3, func(c *Config) { c.Limits.DrainTimeout = patience })
	leader, followers := c.leader()
	queues := leader.createTopic("t", 1)
	publishing := leader.publishStream()
	require.NoError(t, publishing.Send(&brokerv1.PublishStreamRequest{Frame: 1, Batches: makeBatch(t, batch.Stamp{Queue: queues[0]}, "a")}))
	_, err := publishing.Recv()
	require.NoError(t, err)
	pulling, err := leader.messaging.PullStream(leader.ctx())
	require.NoError(t, err)
	require.NoError(t, pulling.Send(&brokerv1.PullStreamRequest{Topic: "t", Offset: 1, CreditBytes: 1 << 20}))
	leader.awaitHeld(1)
	watching, err := leader.messaging.WatchLeader(leader.ctx(), &brokerv1.WatchLeaderRequest{})
	require.NoError(t, err)
	_, err = watching.Recv()
	require.NoError(t, err)
	health, err := leader.health.Watch(leader.ctx(), &healthv1.HealthCheckRequest{})
	require.NoError(t, err)
	_, err = health.Recv()
	require.NoError(t, err)

	term := leader.b.view().term
	leader.shutdown()
	_, err = publishing.Recv()
	require.Contains(t, []string{"NOT_LEADER", "SHUTTING_DOWN"}, errorInfo(t, err).GetReason())
	require.Equal(t, "definite", errorInfo(t, err).GetMetadata()["outcome"])
	_, err = pulling.Recv()
	require.Contains(t, []string{"NOT_LEADER", "SHUTTING_DOWN"}, errorInfo(t, err).GetReason())

	var last *brokerv1.WatchLeaderResponse
	for {
		said, err := watching.Recv()
		if err != nil {
			requireCode(t, err, CodeShuttingDown, "definite")
			break
		}
		last = said
	}
	next, _ := c.leader(followers...)
	require.Equal(t, next.cfg.Node.ID, last.GetLeader(), "the last word is who leads now")
	require.Equal(t, next.b.Addrs().Client, last.GetLeaderAddr())
	require.EqualValues(t, term+1, next.b.view().term, "one election was enough")
	require.Equal(t, []string{"a"}, next.pullAll("t", 0))
	require.Nil(t, next.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, "b")).GetError())
}

func TestKillBeforeRun(t *testing.T) {
	cfg := testConfig(t, "n1")
	b, err := New(cfg)
	require.NoError(t, err)
	b.Kill()
	again, err := New(cfg)
	require.NoError(t, err)
	again.Kill()
	again.Kill()
}

func TestRunTwice(t *testing.T) {
	n := startSingle(t, nil)
	n.awaitServing(1)
	require.EqualError(t, n.b.Run(context.Background()), "broker: Run was called twice")
}

// TestKilledWhileWorking kills a single member again and again under load: what
// was acknowledged is there after each restart.
func TestKilledWhileWorking(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 1)
	acked := 0
	for round := range 4 {
		stream := n.publishStream()
		stop := time.AfterFunc(20*time.Millisecond, n.b.Kill)
		for i := acked; ; i++ {
			err := stream.Send(&brokerv1.PublishStreamRequest{Frame: 1, Batches: makeBatch(t, batch.Stamp{Queue: queues[0]}, fmt.Sprint(i))})
			if err != nil {
				break
			}
			resp, err := stream.Recv()
			if err != nil {
				break
			}
			if e := resp.GetResults()[0].GetError(); e != nil {
				require.True(t, e.GetIndefinite(), "%v", e) // its last word
				break
			}
			acked = i + 1
		}
		stop.Stop()
		n.kill()
		n.restart()
		got := n.pullAll("t", 0)
		require.GreaterOrEqual(t, len(got), acked, "round %d", round)
		for i, v := range got {
			require.Equal(t, fmt.Sprint(i), v)
		}
		acked = len(got)
	}
}
