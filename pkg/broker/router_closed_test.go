package broker

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// A member that leaves the group is not talked to any more: a request that it has when
// the connection is closed may be carried out, and the client is told so in our words.
func TestConnectionClosedUnderARequest(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	srv := grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
		close(arrived)
		<-release
		return nil
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	defer func() {
		close(release)
		srv.Stop()
		require.NoError(t, <-served)
	}()
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)

	ask := func(again bool) error {
		return forward(t.Context(), conn, "n1", "/x/create", again, &brokerv1.CreateTopicRequest{Name: "t"}, &brokerv1.CreateTopicResponse{})
	}
	asked := make(chan error, 1)
	go func() { asked <- ask(false) }()
	<-arrived
	require.NoError(t, conn.Close())
	err = <-asked
	require.Equal(t, CodeLeadershipLost, reasonOf(err), "%v", err)
	require.True(t, indefinite(err))

	err = ask(false)
	require.Equal(t, CodeNoLeader, reasonOf(err), "%v", err)
	require.False(t, indefinite(err), "it was not sent")
}
