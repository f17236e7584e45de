package broker

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// forwardedKey marks a request that a broker has passed on, so that two brokers
// that each take the other for the leader do not play ping-pong with it.
const forwardedKey = "ledgermq-forwarded"

// retryPause is how long a request waits to be passed on again when nothing that
// this broker knows has changed: the leader refused, or could not be reached.
const retryPause = 20 * time.Millisecond

// router brings each request to the leader: served here, passed on over the peer
// connection, or held until there is one.
type router struct {
	view     func() leaderView
	conn     func(member.ID) (grpc.ClientConnInterface, bool)
	explain  func() string // why there is no leader, for the error
	held     prometheus.Gauge
	room     *budget // for requests that wait
	hold     time.Duration
	stopping <-chan struct{}
}

// atLeader carries out a unary request where the leader is. With again set it is
// harmless to carry it out twice, so a broken connection is no reason to give up.
//
// Once a try may have had its effect, whatever later ones come to is no proof
// that nothing happened: the answer says so.
func atLeader[Req proto.Message, Resp any, PResp interface {
	*Resp
	proto.Message
}](
	ctx context.Context, r *router, method string, again bool, req Req,
	local func(context.Context, *leadership, Req) (PResp, error),
) (PResp, error) {
	deadline := time.NewTimer(r.hold)
	defer deadline.Stop()
	var last error
	var doubt bool
	for {
		view := r.view()
		conn, reachable := r.target(ctx, view)
		var resp PResp
		var err error
		switch {
		case view.serving != nil:
			resp, err = local(ctx, view.serving, req)
		case reachable:
			resp = PResp(new(Resp))
			err = forward(ctx, conn, view.self, method, again, req, resp)
		case isForwarded(ctx) && !view.master:
			return nil, settle(nil, errorf(CodeNotLeader, "%s is not the leader", view.self), doubt)
		case view.outcast != "":
			return nil, settle(nil, outcastError(view), doubt)
		default:
			err = errNobody
		}
		doubt = doubt || indefinite(err)
		if err == nil || !passing(err, again) {
			return resp, settle(resp, err, doubt)
		}
		if !errors.Is(err, errNobody) {
			last = err
		}
		if err := r.wait(ctx, view, deadline.C, proto.Size(req), err, last); err != nil {
			return nil, settle(nil, err, doubt)
		}
	}
}

// settle makes an answer, or the error in its place, say that there is doubt.
func settle(resp any, err error, doubt bool) error {
	switch {
	case !doubt:
		return err
	case err != nil:
		return doubted(err)
	}
	doubtResults(resp)
	return nil
}

// errNobody is the state of having nobody to give a request to.
var errNobody = errors.New("no leader")

// target returns the connection to the leader, if it is another broker and the
// request may be passed on.
func (r *router) target(ctx context.Context, view leaderView) (grpc.ClientConnInterface, bool) {
	if view.leader == "" || view.leader == view.self || isForwarded(ctx) {
		return nil, false
	}
	return r.conn(view.leader)
}

// wait returns nil when it is time to look again, and the error to answer with
// when the hold is over.
func (r *router) wait(ctx context.Context, view leaderView, deadline <-chan time.Time, bytes int, err, last error) error {
	if !r.room.tryAcquire(bytes) {
		return fullf("too many requests wait for a leader: see limits.max_pending_proposals and limits.max_pending_bytes")
	}
	defer r.room.release(bytes)
	r.held.Inc()
	defer r.held.Dec()
	var again <-chan time.Time
	if !errors.Is(err, errNobody) {
		pause := time.NewTimer(retryPause)
		defer pause.Stop()
		again = pause.C
	}
	select {
	case <-view.changed:
		return nil
	case <-view.moved:
		return nil
	case <-again:
		return nil
	case <-ctx.Done():
		if last != nil {
			return last
		}
		return ctx.Err()
	case <-r.stopping:
		return errorf(CodeShuttingDown, "%s is shutting down", view.self)
	case <-deadline:
		switch {
		case last != nil:
			return last
		case view.master:
			return errorf(CodeLeaderNotReady, "%s leads term %d, but has not been able to commit the entry that opens it for %v: %s", view.self, view.term, r.hold, r.explain())
		}
		return errorf(CodeNoLeader, "no leader for %v: %s", r.hold, r.explain())
	}
}

// stream returns the leadership that a new stream belongs to. It waits while
// nobody leads; if another broker does, the error names it.
func (r *router) stream(ctx context.Context) (*leadership, error) {
	deadline := time.NewTimer(r.hold)
	defer deadline.Stop()
	for {
		view := r.view()
		if view.serving != nil {
			return view.serving, nil
		}
		if view.leader != "" && view.leader != view.self && view.addr != "" {
			return nil, errorf(CodeNotLeader, "%s is not the leader, %s at %s is", view.self, view.leader, view.addr)
		}
		if view.outcast != "" {
			return nil, outcastError(view)
		}
		if err := r.wait(ctx, view, deadline.C, 0, errNobody, nil); err != nil {
			return nil, err
		}
	}
}

// outcastError is at once what a broker says that knows no leader because it is not in
// the group: there is nothing to wait for.
func outcastError(view leaderView) *Error {
	return errorf(CodeNoLeader, "%s is not in the group: %s", view.self, view.outcast)
}

// ended is the error for a stream whose leadership is over.
func (r *router) ended() error {
	view := r.view()
	if view.leader == "" || view.leader == view.self {
		return errorf(CodeNotLeader, "%s is no longer the leader", view.self)
	}
	return errorf(CodeNotLeader, "%s is no longer the leader, %s is", view.self, view.leader)
}

func isForwarded(ctx context.Context) bool {
	return len(metadata.ValueFromIncomingContext(ctx, forwardedKey)) > 0
}

// forward passes a request on. What the leader answers goes back as it is; if the
// connection broke while it had the request, nobody knows.
func forward(ctx context.Context, conn grpc.ClientConnInterface, self member.ID, method string, again bool, req, resp proto.Message) error {
	var sent peer.Peer // has an address if the request got as far as a connection
	out := metadata.AppendToOutgoingContext(ctx, forwardedKey, string(self))
	err := conn.Invoke(out, method, req, resp, grpc.Peer(&sent))
	switch {
	case err == nil || reasonOf(err) != "" || !broken(status.Code(err)):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case sent.Addr == nil:
		return errorf(CodeNoLeader, "the leader could not be reached").wrap(err)
	case again:
		return doubted(errorf(CodeNoLeader, "the connection to the leader broke while it had the request").wrap(err))
	}
	return errorf(CodeLeadershipLost, "the connection to the leader broke while it had the request").wrap(err)
}

// broken tells whether a code without a reason of ours is that of a connection that
// ended: by itself, or closed here because its member has left the group.
func broken(code codes.Code) bool { return code == codes.Unavailable || code == codes.Canceled }

// passing tells whether the error is of a kind that goes away when a leader is
// found, and the request may be carried out again.
func passing(err error, again bool) bool {
	if errors.Is(err, errNobody) {
		return true
	}
	switch reasonOf(err) {
	case CodeNotLeader, CodeNoLeader, CodeLeaderNotReady, CodeLeaderTransferring, CodeLeadershipLost, CodeShuttingDown:
		return again || !indefinite(err)
	}
	return false
}

// reasonOf returns the code of an error, ours or a status's, or "".
func reasonOf(err error) Code {
	if own := ownError(err); own != nil {
		return own.Code
	}
	return Code(infoOf(err).GetReason())
}
