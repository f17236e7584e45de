package broker

import (
	"context"
	"time"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// adminService manages topics, leadership and members: broker.v1.AdminService. Reads go to
// the leader too, so that whoever created a topic sees it at once, whichever
// broker it asks.
type adminService struct {
	brokerv1.UnsafeAdminServiceServer

	router    *router
	proposer  *proposer
	store     *state.Store
	ledger    *dledger.Server
	disk      *diskGuard
	maxQueues int
	maxBatch  int64 // limits.max_batch_bytes
	room      *topicRoom
	grace     time.Duration // of deleted topics, if a request does not say
	self      selfInfo
}

// selfInfo is what a broker tells of itself among the members.
type selfInfo struct {
	clientAddr, incarnation string
	trouble                 func() string
}

// TransferLeadership implements broker.v1.AdminService.
func (s *adminService) TransferLeadership(ctx context.Context, req *brokerv1.TransferLeadershipRequest) (*brokerv1.TransferLeadershipResponse, error) {
	return atLeader(ctx, s.router, brokerv1.AdminService_TransferLeadership_FullMethodName, false, req, s.transferLeadership)
}

func (s *adminService) transferLeadership(ctx context.Context, _ *leadership, req *brokerv1.TransferLeadershipRequest) (*brokerv1.TransferLeadershipResponse, error) {
	if err := s.ledger.Transfer(ctx, member.ID(req.GetTransferee())); err != nil {
		return nil, err
	}
	view := s.router.view()
	return &brokerv1.TransferLeadershipResponse{Leader: string(view.leader), Term: int64(view.term)}, nil
}
