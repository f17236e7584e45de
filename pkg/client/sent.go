package client

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
)

// watchedConn notes whether a request that is made on a connection may have left this process:
// gRPC knows a peer of every one that was given to a connection, and none of one that waited
// for a connection in vain or was refused one. The text of its errors would not do: a
// connection that breaks under a request has the same.
type watchedConn struct {
	grpc.ClientConnInterface
	sent, kept bool // some request may have left, some certainly did not
}

// Invoke makes a request.
func (c *watchedConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	var to peer.Peer
	err := c.ClientConnInterface.Invoke(ctx, method, args, reply, append(opts[:len(opts):len(opts)], grpc.Peer(&to))...)
	if err != nil && to.Addr == nil {
		c.kept = true
	} else {
		c.sent = true
	}
	return err
}

// NewStream opens a stream, which counts as sent whatever becomes of it.
func (c *watchedConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	c.sent = true
	return c.ClientConnInterface.NewStream(ctx, desc, method, opts...)
}

// mayBeSent tells whether a broker may have had a request. Where none was seen, it may.
func (c *watchedConn) mayBeSent() bool { return c.sent || !c.kept }
