package client

import (
	"context"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// Members says who is in the group, as the leader knows it; with local set, as the
// broker that is asked does, which may know no leader.
func (a *Admin) Members(ctx context.Context, local bool) (*brokerv1.ListMembersResponse, error) {
	var group *brokerv1.ListMembersResponse
	err := a.call(ctx, reading, func(ctx context.Context, s brokerv1.AdminServiceClient) error {
		var err error
		group, err = s.ListMembers(ctx, &brokerv1.ListMembersRequest{Local: local})
		return err
	})
	return group, err
}

// AddMember adds a learner that listens for the others at peerAddr. It returns when
// that is committed. One that is a learner there already is no error. Errors:
// ErrInvalidMember, ErrMembersChanging; an indefinite one may have been done.
func (a *Admin) AddMember(ctx context.Context, id, peerAddr string) error {
	return a.call(ctx, harmful, func(ctx context.Context, s brokerv1.AdminServiceClient) error {
		_, err := s.AddMember(ctx, &brokerv1.AddMemberRequest{Id: id, PeerAddr: peerAddr})
		return err
	})
}

// PromoteMember makes a learner that has caught up a voter. One that is a voter already
// is no error. Errors: ErrNotCaughtUp, ErrUnknownMember, ErrQuorumAtRisk,
// ErrMembersChanging; an indefinite one may have been done.
func (a *Admin) PromoteMember(ctx context.Context, id string) error {
	return a.call(ctx, harmful, func(ctx context.Context, s brokerv1.AdminServiceClient) error {
		_, err := s.PromoteMember(ctx, &brokerv1.PromoteMemberRequest{Id: id})
		return err
	})
}

// RemoveMember takes a member out of the group; a leader hands over first to last.
// Errors: ErrUnknownMember, ErrInvalidMember (the last voter), ErrQuorumAtRisk,
// ErrMembersChanging; an indefinite one may have been done.
func (a *Admin) RemoveMember(ctx context.Context, id string) error {
	return a.call(ctx, harmful, func(ctx context.Context, s brokerv1.AdminServiceClient) error {
		_, err := s.RemoveMember(ctx, &brokerv1.RemoveMemberRequest{Id: id})
		return err
	})
}
