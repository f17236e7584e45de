package dledger

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"

	"github.com/ledgermq/ledgermq/pkg/buffer"
	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// What gRPC leaves to wait for minutes by default is bounded here (R20).
const (
	dialTimeout     = time.Second
	grpcBackoff     = 10 * time.Millisecond // the redialer does the waiting
	tcpUserTimeout  = 2 * time.Second
	keepaliveTime   = 10 * time.Second // the least that gRPC lets a client ask for
	bulkWindowBytes = 8 << 20
	writeBufferSize = 256 << 10
	readBufferSize  = 64 << 10
	maxMessageBytes = commitlog.MaxBodyBytes + 1<<20
)

type connKind uint8

const (
	controlConn connKind = iota + 1
	bulkConn
)

// dial makes a connection that comes up by itself and again after every loss. The
// address is resolved anew at each attempt.
func (s *Server) dial(id member.ID, addr string, kind connKind, redial *redialer) (*grpc.ClientConn, error) {
	opts := []grpc.DialOption{
		grpc.WithAuthority(string(id)), // the name that the peer's certificate must have
		grpc.WithTransportCredentials(s.cfg.PeerCredentials),
		grpc.WithContextDialer(redial.dial),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: grpcBackoff, Multiplier: 1, Jitter: 0.2, MaxDelay: grpcBackoff},
			MinConnectTimeout: redialMaxDelay + dialTimeout,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: tcpUserTimeout, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes)),
	}
	if kind == bulkConn {
		opts = append(opts, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(newPushCodec(s.buffers))), experimental.WithBufferPool(s.buffers),
			grpc.WithStaticStreamWindowSize(bulkWindowBytes), grpc.WithStaticConnWindowSize(bulkWindowBytes),
			grpc.WithWriteBufferSize(writeBufferSize), grpc.WithReadBufferSize(readBufferSize))
	}
	return grpc.NewClient("passthrough:///"+addr, opts...)
}

// PeerServerOptions are the options that the server of the peer listener needs:
// the codec, windows and message sizes for bulk pushes, and leave for the peers'
// keepalives. Every other service may be registered beside the members' own.
// Who replaces the codec builds on PeerCodec.
func PeerServerOptions() []grpc.ServerOption {
	buffers := buffer.NewPool()
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(PeerCodec(buffers)),
		experimental.BufferPool(buffers),
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.MaxSendMsgSize(maxMessageBytes),
		grpc.StaticStreamWindowSize(bulkWindowBytes),
		grpc.StaticConnWindowSize(bulkWindowBytes),
		grpc.WriteBufferSize(writeBufferSize),
		grpc.ReadBufferSize(readBufferSize),
		grpc.ConnectionTimeout(5 * time.Second),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveTime / 2, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveTime, Timeout: tcpUserTimeout}),
	}
}

// PeerCodec is the codec of the peer listener: protobuf, but for bulk pushes, which it
// receives into buffers of the pool.
func PeerCodec(pool mem.BufferPool) encoding.CodecV2 { return newPushCodec(pool) }

// dialTCP connects with TCP_USER_TIMEOUT set: bytes that a dead machine does not
// acknowledge break the connection in seconds instead of a quarter of an hour.
func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, Control: setUserTimeout}
	return d.DialContext(ctx, "tcp", addr)
}
