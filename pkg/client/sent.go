package client

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
)

// countedConn counts the requests that are made on a connection, and those that certainly did
// not leave this process: gRPC knows a peer of every one that was given to a connection, and
// none of one that waited for a connection in vain or was refused one. The text of its errors
// would not do: a connection that breaks under a request has the same.
type countedConn struct {
	grpc.ClientConnInterface
	made, kept int
}

// Invoke makes a request.
func (c *countedConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	var to peer.Peer
	err := c.ClientConnInterface.Invoke(ctx, method, args, reply, append(opts[:len(opts):len(opts)], grpc.Peer(&to))...)
	c.made++
	if err != nil && to.Addr == nil {
		c.kept++
	}
	return err
}

// NewStream opens a stream, which counts as sent whatever becomes of it.
func (c *countedConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	c.made++
	return c.ClientConnInterface.NewStream(ctx, desc, method, opts...)
}

// mayBeSent tells whether a broker may have had a request; true if it is not known.
func (c *countedConn) mayBeSent() bool { return c.made == 0 || c.kept < c.made }
