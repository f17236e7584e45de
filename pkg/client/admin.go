package client

import (
	"context"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// Admin manages topics and leadership and asks how the members are. Its requests
// are tried again until their context or Config.RequestTimeout ends; they carry a
// request id, so that a try that succeeded unheard does no harm. A transfer, which
// has none, is not tried again once it may have happened.
type Admin struct{ c *Client }

// Admin returns the administration side of the client.
func (c *Client) Admin() *Admin { return &Admin{c: c} }

// Transfer makes the member named to the leader; "" lets the leader choose. It
// returns the new leader. Errors: ErrUnknownMember, ErrTransferFailed.
func (a *Admin) Transfer(ctx context.Context, to string) (leader string, term int64, err error) {
	err = a.call(ctx, harmful, func(ctx context.Context, s brokerv1.AdminServiceClient) error {
		resp, err := s.TransferLeadership(ctx, &brokerv1.TransferLeadershipRequest{Transferee: to})
		leader, term = resp.GetLeader(), resp.GetTerm()
		return err
	})
	return leader, term, err
}

func (a *Admin) call(ctx context.Context, again repeat, do func(context.Context, brokerv1.AdminServiceClient) error) error {
	return a.c.invoke(ctx, again, func(ctx context.Context, cc grpc.ClientConnInterface) error {
		return do(ctx, brokerv1.NewAdminServiceClient(cc))
	})
}

// NodeStatus is what one member says of itself, or why it says nothing.
type NodeStatus struct {
	// ID is the member's id, "" when it is not known.
	ID     string
	Addr   string
	Status *brokerv1.GetStatusResponse
	Err    error
}

// statusTimeout bounds how long one member may take to tell its status.
const statusTimeout = 2 * time.Second

// Status asks every known member; one that does not answer within two seconds has
// its Err set. Members that are reached by two addresses appear once.
func (a *Admin) Status(ctx context.Context) ([]NodeStatus, error) {
	r := a.c.router.route()
	all := make([]NodeStatus, len(r.nodes))
	g := errgroup.Group{}
	for i, n := range r.nodes {
		g.Go(func() error {
			ctx, cancel := context.WithTimeoutCause(ctx, statusTimeout, errNoAnswer)
			defer cancel()
			resp, err := brokerv1.NewStatusServiceClient(n.conn).GetStatus(ctx, &brokerv1.GetStatusRequest{})
			all[i] = NodeStatus{ID: r.ids[n.addr], Addr: n.addr}
			if err != nil {
				all[i].Err = certain(fromRPC(ctx, err))
				return nil
			}
			all[i].Status, all[i].ID = resp, resp.GetStatus().GetId()
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return dedupNodes(all, r.ids), nil
}

// dedupNodes drops seeds that are another address of a member in the list, and
// those that are dead while all members are known by other addresses.
func dedupNodes(all []NodeStatus, ids map[string]string) []NodeStatus {
	seen := map[string]bool{}
	var list []NodeStatus
	for _, advertised := range []bool{true, false} {
		for _, s := range all {
			if (ids[s.Addr] != "") != advertised || seen[s.ID] {
				continue
			}
			if !advertised && s.Err != nil && len(ids) > 0 {
				continue
			}
			seen[s.ID] = s.ID != ""
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b NodeStatus) int { return strings.Compare(a.ID, b.ID) })
	return list
}
