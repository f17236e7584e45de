package bench

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/test/cluster"
)

var manyGroups = flag.Int("measure.many", 0, "TestManyGroups: make so many consumer groups, and a tenth as many topics of 8 queues")

// TestManyGroups tells how much memory a broker has, and how long it takes to serve again,
// with many consumer groups that have progress in 8 queues each. Nothing is asserted but
// that they are there again:
//
//	go test ./test/bench -run TestManyGroups -v -args -measure.many 10000
func TestManyGroups(t *testing.T) {
	if *manyGroups == 0 {
		t.Skip("SKIPPED: a measurement; -measure.many 10000 asks for it")
	}
	c := cluster.Start(t, cluster.Config{Members: 1})
	n := c.Leader()
	empty := n.PeakMemory()
	conn, err := grpc.NewClient("passthrough:///"+n.Client, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	admin, groups := brokerv1.NewAdminServiceClient(conn), brokerv1.NewGroupServiceClient(conn)
	topics := max(1, *manyGroups/10)
	began := time.Now()
	atOnce(t, topics, func(i int) error {
		_, err := admin.CreateTopic(t.Context(), &brokerv1.CreateTopicRequest{Name: fmt.Sprint("t", i), Queues: 8})
		return err
	})
	atOnce(t, *manyGroups, func(i int) error {
		name := fmt.Sprint("g", i)
		if _, err := groups.CreateGroup(t.Context(), &brokerv1.CreateGroupRequest{Name: name, Assignment: brokerv1.GroupAssignment_GROUP_ASSIGNMENT_STICKY}); err != nil {
			return err
		}
		_, err := groups.ResetGroup(t.Context(), &brokerv1.ResetGroupRequest{
			Group: name, Topic: fmt.Sprint("t", i%topics),
			To: &brokerv1.ResetGroupRequest_Start{Start: &brokerv1.GroupStart{At: &brokerv1.GroupStart_Offset{Offset: 0}}},
		})
		return err
	})
	t.Logf("%d topics of 8 queues and %d groups were made in %v: peak memory %d MiB, of an empty broker %d MiB",
		topics, *manyGroups, time.Since(began).Round(time.Millisecond), n.PeakMemory()>>20, empty>>20)
	for _, how := range []string{"after SIGTERM", "after kill -9"} {
		if how == "after SIGTERM" {
			require.Zero(t, n.Terminate())
		} else {
			n.Kill9()
		}
		began := time.Now()
		n.Start()
		c.Leader()
		took := time.Since(began)
		list, err := groups.ListGroups(t.Context(), &brokerv1.ListGroupsRequest{}, grpc.WaitForReady(true))
		require.NoError(t, err)
		require.Len(t, list.GetGroups(), *manyGroups)
		t.Logf("%s it serves within %v with %d groups, peak memory %d MiB", how, took.Round(time.Millisecond), len(list.GetGroups()), n.PeakMemory()>>20)
	}
}

// atOnce does n things, 64 at a time.
func atOnce(t *testing.T, n int, do func(int) error) {
	t.Helper()
	var all errgroup.Group
	all.SetLimit(64)
	for i := range n {
		all.Go(func() error { return do(i) })
	}
	require.NoError(t, all.Wait())
}
