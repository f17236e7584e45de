package dledger

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// stranger is a raw connection to a member's peer listener.
func (c *cluster) stranger(to member.ID) dledgerv1.DLedgerServiceClient {
	c.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+c.addrs[to], grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(c.t, err)
	c.t.Cleanup(func() { require.NoError(c.t, conn.Close()) })
	return dledgerv1.NewDLedgerServiceClient(conn)
}

func goodHeader() *dledgerv1.Header {
	return &dledgerv1.Header{ClusterId: "test", Group: "g0", From: "n2", To: "n1", Incarnation: "dir-n2"}
}

func TestRequestsAreChecked(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.leader()
	client := c.stranger("n1")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for name, row := range map[string]struct {
		change func(*dledgerv1.Header)
		code   codes.Code
		text   string
	}{
		"cluster":     {func(h *dledgerv1.Header) { h.ClusterId = "prod" }, codes.FailedPrecondition, `member n1 belongs to cluster "test", the request of "n2" to cluster "prod"`},
		"group":       {func(h *dledgerv1.Header) { h.Group = "g7" }, codes.FailedPrecondition, `group "g7"`},
		"receiver":    {func(h *dledgerv1.Header) { h.To = "n3" }, codes.FailedPrecondition, `this is member n1, the request of "n2" is for "n3"`},
		"incarnation": {func(h *dledgerv1.Header) { h.Incarnation = "dir-copy" }, codes.AlreadyExists, "two brokers have the id n2"},
	} {
		h := goodHeader()
		row.change(h)
		_, err := client.HeartBeat(ctx, &dledgerv1.HeartBeatRequest{Header: h, Term: 1, Leader: "n2"})
		require.Equal(t, row.code, status.Code(err), name)
		require.ErrorContains(t, err, row.text, name)
		stream, err := client.Push(ctx)
		require.NoError(t, err)
		require.NoError(t, stream.Send(&dledgerv1.PushRequest{Header: h}))
		_, err = stream.Recv()
		require.Equal(t, row.code, status.Code(err), name)
	}
	dup := c.nodes["n1"].Status().Peers[0]
	require.Equal(t, member.ID("n2"), dup.ID)
	require.True(t, dup.Duplicate)
	_, err := client.Vote(ctx, &dledgerv1.VoteRequest{Header: goodHeader(), Term: 1 << 40, Candidate: "n2"})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	_, err = client.Vote(ctx, &dledgerv1.VoteRequest{Header: goodHeader(), Term: 1, Candidate: "n3"})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
}

// Strangers and impostors get DLedger's codes.
func TestStrangersAreRefused(t *testing.T) {
	c := newCluster(t, 3, nil)
	l := c.leader()
	client := c.stranger("n1")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	h := goodHeader()
	h.From = "n9"
	vote, err := client.Vote(ctx, &dledgerv1.VoteRequest{Header: h, Term: 9, Candidate: "n9", PreVote: true, LedgerEndIndex: -1, LedgerEndTerm: -1})
	require.NoError(t, err)
	require.Equal(t, dledgerv1.VoteResult_VOTE_RESULT_REJECT_UNKNOWN_LEADER, vote.GetResult())
	beat, err := client.HeartBeat(ctx, &dledgerv1.HeartBeatRequest{Header: h, Term: 9, Leader: "n8"})
	require.NoError(t, err)
	require.Equal(t, dledgerv1.ResponseCode_RESPONSE_CODE_UNKNOWN_MEMBER, beat.GetCode())
	h.From = "n1"
	vote, err = client.Vote(ctx, &dledgerv1.VoteRequest{Header: h, Term: 9, Candidate: "n1", LedgerEndIndex: 99, LedgerEndTerm: 8})
	require.NoError(t, err)
	require.Equal(t, dledgerv1.VoteResult_VOTE_RESULT_REJECT_UNEXPECTED_LEADER, vote.GetResult())
	require.True(t, c.nodes["n1"].Status().OwnDuplicate)
	stream, err := client.Push(ctx)
	require.NoError(t, err)
	require.NoError(t, stream.Send(&dledgerv1.PushRequest{Header: h}))
	_, err = stream.Recv()
	require.Equal(t, codes.PermissionDenied, status.Code(err))
	require.Equal(t, l.Status().Term, c.leader().Status().Term, "nobody was disturbed")
}

// A second broker with the id of a live member cannot take part.
func TestTwoBrokersWithOneID(t *testing.T) {
	c := newCluster(t, 3, nil)
	l := c.leader()
	for _, n := range c.nodes {
		n.await(t, "connections", func(s *Status) bool { return s.Peers[0].Connected && s.Peers[1].Connected })
	}
	victim := c.others(l.id)[0].id
	cfg := c.config(victim, true)
	cfg.Dir, cfg.Incarnation = t.TempDir(), "another directory"
	s, err := Open(cfg)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	impostor := runNode(s, victim, listener)
	defer impostor.cut()
	l.await(t, "the duplicate noticed", func(st *Status) bool {
		for _, p := range st.Peers {
			if p.ID == victim && p.Duplicate {
				return true
			}
		}
		return false
	})
	c.publish("undisturbed")
	c.awaitEqual()
	require.Equal(t, l.id, c.leader().id)
}

// Garbage entries never reach the log.
func TestCorruptPushIsRefused(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.publish("good")
	c.awaitEqual() // two of them were enough for it, not necessarily n1
	c.kill("n2")
	delete(c.nodes, "n2")
	frame, err := c.nodes["n1"].Read(0, 0, 1<<20)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for name, entries := range map[string][]byte{
		"none":     nil,
		"cut":      frame.Bytes[:20],
		"bit flip": append([]byte{frame.Bytes[0] ^ 1}, frame.Bytes[1:]...),
	} {
		stream, err := c.stranger("n1").Push(ctx)
		require.NoError(t, err)
		require.NoError(t, stream.Send(&dledgerv1.PushRequest{Header: goodHeader()}))
		_, err = stream.Recv()
		require.NoError(t, err, "the stream was taken")
		require.NoError(t, stream.Send(&dledgerv1.PushRequest{
			Header: goodHeader(), Type: dledgerv1.PushType_PUSH_TYPE_APPEND, Term: 1, Leader: "n2", PrevIndex: -1, PrevTerm: -1, Entries: entries,
		}))
		_, err = stream.Recv()
		require.Contains(t, []codes.Code{codes.DataLoss, codes.InvalidArgument}, status.Code(err), name)
	}
	c.start("n2")
	c.awaitEqual()
}

// A newer stream of a peer ends the one before it.
func TestNewestStreamWins(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.leader()
	c.kill("n2")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := c.stranger("n1")
	var streams []pushStream
	for range 2 {
		stream, err := client.Push(ctx)
		require.NoError(t, err)
		require.NoError(t, stream.Send(&dledgerv1.PushRequest{Header: goodHeader()}))
		_, err = stream.Recv()
		require.NoError(t, err)
		streams = append(streams, stream)
	}
	_, err := streams[0].Recv()
	require.Equal(t, codes.Aborted, status.Code(err))
	require.NoError(t, streams[1].CloseSend())
	_, err = streams[1].Recv()
	require.Error(t, err)
}

// A disk that fails ends Run; the others go on.
func TestDiskFailureEndsRun(t *testing.T) {
	disks := map[member.ID]*crashfs.FS{}
	c := newCluster(t, 3, func(cfg *Config) {
		if disks[cfg.ID] == nil {
			disks[cfg.ID] = crashfs.New()
		}
		cfg.Log.FS = disks[cfg.ID]
	})
	l, _ := c.publish("before")
	broken := errors.New("no more disk")
	disks[l.id].FailFrom(1, broken, func(call crashfs.Call) bool { return call.Op == crashfs.OpSync })
	ch, err := l.propose("doomed")
	require.NoError(t, err)
	require.NotNil(t, receive(t, ch)) // perhaps committed by the others' disks, perhaps lost
	delete(c.nodes, l.id)
	<-l.runDone
	c.publish("after")
	l.cut()
	require.ErrorContains(t, l.runErr, "sync commit log")
	c.awaitEqual()
}

func TestDivergenceIsNoticed(t *testing.T) {
	c := newCluster(t, 3, nil)
	l, _ := c.publish("x")
	c.awaitEqual()
	follower := c.others(l.id)[0]
	st := follower.Status()
	h := &dledgerv1.Header{ClusterId: "test", Group: "g0", From: string(l.id), To: string(follower.id), Incarnation: "dir-" + string(l.id)}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	resp, err := c.stranger(follower.id).HeartBeat(ctx, &dledgerv1.HeartBeatRequest{
		Header: h, Term: int64(st.Term), Leader: string(l.id), CommitIndex: int64(st.Commit), DigestIndex: int64(st.Commit), Digest: 12345,
	})
	require.NoError(t, err)
	require.True(t, resp.GetDivergent())
	require.EqualValues(t, 1, testutil.ToFloat64(follower.metrics.divergence.WithLabelValues(string(l.id))))
}

func TestMetricsAreSound(t *testing.T) {
	reg := prometheus.NewRegistry()
	var used atomic.Bool
	c := newCluster(t, 1, func(cfg *Config) {
		if !used.Swap(true) {
			cfg.Registerer = reg
		}
	})
	c.publish("x")
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	for _, p := range problems {
		require.NotContains(t, p.Metric, "broker_ledger", p.Text)
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := func() Config {
		return Config{
			Dir: t.TempDir(), Fresh: true, ClusterID: "test", Group: "g0", ID: "n1", Incarnation: "dir", Logger: testLogger("n1"),
			Peers: map[member.ID]string{"n1": "127.0.0.1:1", "n2": "127.0.0.1:2"},
		}
	}
	for want, change := range map[string]func(*Config){
		"no data directory given":               func(c *Config) { c.Dir = "" },
		`cluster id "" must have 1 to 254`:      func(c *Config) { c.ClusterID = "" },
		"incarnation":                           func(c *Config) { c.Incarnation = "" },
		"member n3 is not among the peers":      func(c *Config) { c.ID = "n3" },
		"peer n2 has no address":                func(c *Config) { c.Peers["n2"] = "" },
		`peer id "" must have 1 to 254`:         func(c *Config) { c.Peers[""] = "127.0.0.1:3" },
		"is missing from a data directory that": func(c *Config) { c.Fresh = false },
	} {
		cfg := good()
		change(&cfg)
		_, err := Open(cfg)
		require.ErrorContains(t, err, want)
	}
	cfg := good()
	s, err := Open(cfg)
	require.NoError(t, err)
	require.NoError(t, s.Close(), "a server that never ran closes")
}
