package dledger

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// peerSet is whom this member talks to at one moment. It is immutable: when the
// group changes the state maintainer makes another one.
type peerSet struct {
	byID map[member.ID]*peer
	list []*peer // the same, in the order of their ids
}

// peer is the peer with that id; nil: there is none.
func (s *Server) peer(id member.ID) *peer { return s.peers.Load().byID[id] }

// peerList are the peers in the order of their ids. It must not be modified.
func (s *Server) peerList() []*peer { return s.peers.Load().list }

// groupIDs are the ids of the peers and of this member, for messages.
func (s *Server) groupIDs() []member.ID {
	ids := []member.ID{s.cfg.ID}
	for _, p := range s.peerList() {
		ids = append(ids, p.id)
	}
	slices.Sort(ids)
	return ids
}

// shareInbound says how much of what each of the peers has pushed may be in memory.
func (s *Server) shareInbound(peers int) {
	each := s.cfg.MaxInboundBytes
	if s.cfg.InboundBytes != nil {
		each = s.cfg.InboundBytes(peers)
	}
	s.inbound.Store(each)
}

// followMembers makes the peers those of want, without this member, keeps the ones
// that stay, starts the new ones if Run runs, and retires the others. One whose
// address is none is left out; the error says which. Called by the state maintainer,
// or before it runs.
func (s *Server) followMembers(want []member.Seat) error {
	old := s.peers.Load()
	next := &peerSet{byID: make(map[member.ID]*peer, len(want))}
	var came []*peer
	var errs []error
	for _, seat := range want {
		id, addr := seat.ID, s.addressOf(seat)
		if id == s.cfg.ID {
			continue
		}
		p := old.byID[id]
		if p == nil || p.addr != addr {
			var err error
			if p, err = s.newPeer(id, addr); err != nil {
				errs = append(errs, err)
				continue
			}
			came = append(came, p)
		}
		next.byID[id], next.list = p, append(next.list, p)
	}
	slices.SortFunc(next.list, func(a, b *peer) int { return cmp.Compare(a.id, b.id) })
	s.peers.Store(next)
	s.shareInbound(len(next.list))
	for _, p := range old.list {
		if next.byID[p.id] != p {
			p.log.Info("peer is not talked to any more", "addr", p.addr)
			p.retire()
			if s.running == nil { // else its own goroutine does
				errs = append(errs, p.close())
			}
		}
	}
	for _, p := range came {
		s.metrics.peerCame(p.id)
		if s.running != nil {
			s.running.Go(func() error { return s.runPeer(s.runCtx, p) })
		}
	}
	return errors.Join(errs...)
}

// addressOf is where a member is: where the configuration says that it has moved to,
// or where the group knows it.
func (s *Server) addressOf(seat member.Seat) string {
	return cmp.Or(s.cfg.Addresses[seat.ID], seat.Address)
}

// runPeer is the life of one peer: it ends when the peer is retired.
func (s *Server) runPeer(ctx context.Context, p *peer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.life, cancel)()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return keepConnected(ctx, p.control) })
	g.Go(func() error { return keepConnected(ctx, p.bulk) })
	g.Go(func() error { return s.dispatchEntries(ctx, p) })
	g.Go(func() error { return s.receivePushes(ctx, p) })
	for range controlSenders {
		g.Go(func() error { return s.sendControlRequests(ctx, p) })
	}
	err := g.Wait()
	if closeErr := p.close(); closeErr != nil {
		p.log.Debug("close the connections to a peer", "err", closeErr)
	}
	if s.peer(p.id) == nil {
		s.metrics.peerWent(p.id)
	}
	return err
}
