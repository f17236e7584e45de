package broker

import (
	"google.golang.org/protobuf/proto"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// leaderWatch tells clients who leads, at once and whenever that changes.
type leaderWatch struct {
	broker *Broker
}

func (w *leaderWatch) watch(rpc brokerv1.MessagingService_WatchLeaderServer) error {
	var last *brokerv1.WatchLeaderResponse
	for stopping := false; ; {
		view := w.broker.view()
		next := &brokerv1.WatchLeaderResponse{
			Leader: string(view.leader), LeaderAddr: view.addr, Term: int64(view.term),
			Serving: view.leaderIsServing(), Members: w.broker.groupAddrs(),
		}
		if last == nil || !proto.Equal(last, next) {
			if err := rpc.Send(next); err != nil {
				return err
			}
			last = next
		}
		if stopping {
			return errorf(CodeShuttingDown, "the broker is shutting down")
		}
		select {
		case <-view.changed:
		case <-view.moved:
		case <-w.broker.stop.ctx.Done():
			stopping = true // the leadership was handed over just now: say to whom
		case <-rpc.Context().Done():
			return rpc.Context().Err()
		}
	}
}
