package broker

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// twinTimeout bounds the search for a twin. A network in which this broker
// cannot reach itself is no fault.
const twinTimeout = 3 * time.Second

// refuseTwin asks at the address where the others look for this member who is
// there. If it is another broker with this member's id, one of the two is a
// mistake, and this one, the newcomer, ends.
func (b *Broker) refuseTwin(ctx context.Context) error {
	addr := b.peerAddr()
	if addr == "" {
		return nil
	}
	found, err := b.whoIsAt(ctx, addr)
	if err != nil {
		b.log.Debug("own peer address not reached", "addr", addr, "error", err)
		return nil
	}
	if found.GetId() == b.cfg.Node.ID && found.GetIncarnation() == b.dir.Incarnation {
		return nil
	}
	return fmt.Errorf("the members know that %s is at %s, but there is another broker: id %s of cluster %q, data directory incarnation %s (this one's is %s). "+
		"Two brokers must not have one id: stop one of them, or give it its own id and address",
		b.cfg.Node.ID, addr, found.GetId(), found.GetClusterId(), found.GetIncarnation(), b.dir.Incarnation)
}

// peerAddr is where the others find this member; empty: nobody has to.
func (b *Broker) peerAddr() string {
	if addr := b.cfg.Cluster.Addresses[b.cfg.Node.ID]; addr != "" {
		return addr
	}
	if seat, ok := b.ledger.Status().Members.Seat(member.ID(b.cfg.Node.ID)); ok && len(b.cfg.Cluster.Peers) > 0 {
		return seat.Address
	}
	return b.cfg.Cluster.Peers[b.cfg.Node.ID]
}

func (b *Broker) whoIsAt(ctx context.Context, addr string) (*brokerv1.MemberStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, twinTimeout)
	defer cancel()
	var creds credentials.TransportCredentials = insecure.NewCredentials()
	if tls := b.peerCredentials(); tls != nil {
		creds = tls
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds), grpc.WithAuthority(b.cfg.Node.ID))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	resp, err := brokerv1.NewStatusServiceClient(conn).GetStatus(ctx, &brokerv1.GetStatusRequest{}, grpc.WaitForReady(true))
	return resp.GetStatus(), err
}
