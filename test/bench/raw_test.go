package bench

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/mem"

	"github.com/ledgermq/ledgermq/pkg/buffer"
)

// rawMessage is a message that is nothing but bytes, where they lie.
type rawMessage struct{ data mem.BufferSlice }

// rawCodec carries rawMessages.
type rawCodec struct{}

// Name implements encoding.CodecV2.
func (rawCodec) Name() string { return "raw" }

// Marshal implements encoding.CodecV2.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) { return v.(*rawMessage).data, nil }

// Unmarshal implements encoding.CodecV2.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	data.Ref()
	v.(*rawMessage).data = data
	return nil
}

// The settings that brokers and clients have.
const (
	rawWindow      = 8 << 20
	rawWriteBuffer = 256 << 10
	rawReadBuffer  = 64 << 10
	rawMethod      = "/bench.Raw/Stream"
)

func rawServer(handle func(grpc.ServerStream) error) *grpc.Server {
	s := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), experimental.BufferPool(buffer.NewPool()), grpc.MaxRecvMsgSize(64<<20),
		grpc.StaticStreamWindowSize(rawWindow), grpc.StaticConnWindowSize(rawWindow), grpc.WriteBufferSize(rawWriteBuffer), grpc.ReadBufferSize(rawReadBuffer))
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "bench.Raw", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: "Stream", ClientStreams: true, ServerStreams: true,
		Handler: func(_ any, stream grpc.ServerStream) error { return handle(stream) },
	}}}, nil)
	return s
}

func rawDialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.WaitForReady(true)), experimental.WithBufferPool(buffer.NewPool()),
		grpc.WithStaticStreamWindowSize(rawWindow), grpc.WithStaticConnWindowSize(rawWindow),
		grpc.WithWriteBufferSize(rawWriteBuffer), grpc.WithReadBufferSize(rawReadBuffer),
	}
}

func rawStream(ctx context.Context, conn *grpc.ClientConn) (grpc.ClientStream, error) {
	return conn.NewStream(ctx, &grpc.StreamDesc{StreamName: "Stream", ClientStreams: true, ServerStreams: true}, rawMethod)
}
