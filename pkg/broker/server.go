package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/experimental"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"

	"github.com/ledgermq/ledgermq/pkg/buffer"
	"github.com/ledgermq/ledgermq/pkg/dledger"
)

const (
	// messageOverhead is what a message of ours has beside its batches.
	messageOverhead = 64 * kibibyte
	// pushBytes is room for one push of a peer: an entry of the largest size and
	// whatever goes along with it.
	pushBytes = 32 * mebibyte
	// answerBytes is room for one answer, and what clients take: a message of the largest
	// size and some that follow it. It depends on no limit of ours: what was stored when
	// those were higher, or is larger when unpacked, is delivered all the same.
	answerBytes = 32 * mebibyte
)

// The services of grpc.health.v1.
const (
	healthProcess = ""
	healthBroker  = "broker.v1.Broker" // can serve clients
	healthLeader  = "leader"           // leads and is ready for clients
)

// serverOptions are the limits that both gRPC listeners have. gRPC's own
// defaults are unlimited streams, 120 s for a handshake and no bound on headers.
func (b *Broker) serverOptions(receive Size) []grpc.ServerOption {
	l := b.cfg.Limits
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(int(receive)),
		grpc.MaxSendMsgSize(int(answerBytes)),
		grpc.MaxConcurrentStreams(uint32(l.MaxStreams)),
		grpc.MaxHeaderListSize(uint32(16 * kibibyte)),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.StaticStreamWindowSize(int32(b.cfg.windowBytes())),
		grpc.StaticConnWindowSize(int32(b.cfg.windowBytes())),
		// Connections share write buffers; an idle one keeps a read buffer only.
		grpc.WriteBufferSize(int(256 * kibibyte)),
		grpc.ReadBufferSize(int(16 * kibibyte)),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WaitForHandlers(true),
		grpc.ChainUnaryInterceptor(b.metrics.grpc.UnaryServerInterceptor(), b.errors.unary),
		grpc.ChainStreamInterceptor(b.metrics.grpc.StreamServerInterceptor(), b.errors.stream, b.endWhenStopping),
	}
}

// newClientServer serves clients: messages, administration, status, health and
// reflection.
func (b *Broker) newClientServer() *grpc.Server {
	buffers := buffer.NewPool()
	opts := append(b.serverOptions(b.cfg.Limits.MaxFrameBytes+messageOverhead),
		grpc.ForceServerCodecV2(newMessageCodec(nil, buffers)), experimental.BufferPool(buffers))
	if b.certs.client != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(b.certs.client.serverConfig(tls.VersionTLS13, http2))))
	}
	s := grpc.NewServer(opts...)
	b.registerServices(s)
	healthv1.RegisterHealthServer(s, b.grpcHealth)
	reflection.Register(s)
	b.metrics.grpc.InitializeMetrics(s)
	return s
}

// newPeerServer serves the other members: the ledger, and the requests that they
// pass on for their clients.
func (b *Broker) newPeerServer() *grpc.Server {
	receive := max(pushBytes, b.cfg.Limits.MaxFrameBytes+messageOverhead)
	opts := b.serverOptions(receive)
	if b.certs.peer != nil {
		opts = append(opts,
			grpc.Creds(credentials.NewTLS(b.certs.peer.peerServerConfig())),
			grpc.ChainUnaryInterceptor(b.unarySender),
			grpc.ChainStreamInterceptor(b.streamSender))
	}
	buffers := buffer.NewPool()
	opts = append(opts, dledger.PeerServerOptions()...)
	s := grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(int(receive)), experimental.BufferPool(buffers),
		grpc.ForceServerCodecV2(newMessageCodec(dledger.PeerCodec(buffers), buffers)))...)
	b.registerServices(s)
	b.ledger.Register(s)
	dledgerv1.RegisterSeedServiceServer(s, seedService{broker: b})
	b.metrics.grpc.InitializeMetrics(s)
	return s
}

func (b *Broker) registerServices(s *grpc.Server) {
	brokerv1.RegisterMessagingServiceServer(s, b.messaging)
	brokerv1.RegisterAdminServiceServer(s, b.admin)
	brokerv1.RegisterQueryServiceServer(s, b.query)
	brokerv1.RegisterStatusServiceServer(s, b.status)
	brokerv1.RegisterGroupServiceServer(s, b.groups)
	brokerv1.RegisterWorkServiceServer(s, b.work)
	brokerv1.RegisterDeliveryServiceServer(s, b.deliveries)
	brokerv1.RegisterTransactionServiceServer(s, b.ends)
}

// headed is every request of one member to another.
type headed interface{ GetHeader() *dledgerv1.Header }

// checkSender refuses requests that name another sender than the one whose
// certificate came with them, and those passed on for clients by somebody who is not
// a member. Whether a sender is one is for the ledger to say.
func (b *Broker) checkSender(ctx context.Context, req any) error {
	p, _ := peer.FromContext(ctx)
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return status.Error(codes.Unauthenticated, "no TLS on the peer listener")
	}
	proved, err := namesOf(info.State)
	if err != nil {
		return status.Error(codes.Unauthenticated, err.Error())
	}
	if h, ok := req.(headed); ok {
		if from := h.GetHeader().GetFrom(); !slices.Contains(proved, from) {
			return status.Error(codes.PermissionDenied, fmt.Sprintf("request of %q came with the certificate of %q", from, proved))
		}
		return nil
	}
	members := b.memberIDs()
	if !slices.ContainsFunc(proved, func(name string) bool { return slices.Contains(members, name) }) {
		return status.Error(codes.PermissionDenied, fmt.Sprintf("the certificate's DNS names %v hold no member id of this cluster", proved))
	}
	return nil
}

func (b *Broker) unarySender(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := b.checkSender(ctx, req); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func (b *Broker) streamSender(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	return next(srv, &checkedStream{ss, b})
}

// checkedStream checks the sender of every message of a stream.
type checkedStream struct {
	grpc.ServerStream
	broker *Broker
}

// RecvMsg implements grpc.ServerStream.
func (s *checkedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return s.broker.checkSender(s.Context(), m)
}

// endWhenStopping ends the streams of services that are not ours, such as a
// watch of the health, when the broker stops: they do not know by themselves.
func (b *Broker) endWhenStopping(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if !strings.HasPrefix(info.FullMethod, "/grpc.") {
		return next(srv, ss)
	}
	ctx, cancel := context.WithCancel(ss.Context())
	defer cancel()
	defer context.AfterFunc(b.stop.ctx, cancel)()
	return next(srv, &endingStream{ss, ctx})
}

type endingStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s *endingStream) Context() context.Context { return s.ctx }

// maintainHealth keeps grpc.health.v1 true until ctx is done.
func (b *Broker) maintainHealth(ctx context.Context) error {
	for {
		view := b.view()
		set := func(service string, ok bool) {
			state := healthv1.HealthCheckResponse_NOT_SERVING
			if ok {
				state = healthv1.HealthCheckResponse_SERVING
			}
			b.grpcHealth.SetServingStatus(service, state)
		}
		running := b.phase() == phaseRunning
		set(healthProcess, running)
		set(healthBroker, running && view.leader != "")
		set(healthLeader, running && view.serving != nil)
		select {
		case <-view.changed:
		case <-view.moved:
		case <-b.router.stopping:
			b.grpcHealth.Shutdown()
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// serveGRPC serves until the server is stopped.
func serveGRPC(s *grpc.Server, l *sockets) error {
	if err := s.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	}
	return nil
}
