package dledger

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// repairRange asks one peer after the other for their copies. An error is one of
// this member's own disk, and final.
func (s *Server) repairRange(ctx context.Context, r commitlog.FaultyRange) error {
	f := s.newFetcher(ctx)
	defer f.end()
	for {
		f.fates, f.from = nil, nil
		err := s.ledger.Repair(r.First, f.fetch)
		var nobody *commitlog.NoCopyError
		switch {
		case err == nil, ctx.Err() != nil, errors.Is(err, commitlog.ErrClosed):
			return nil
		case errors.Is(err, commitlog.ErrFailed):
			return fmt.Errorf("repair the commit log: %w", err)
		case errors.As(err, &nobody):
			s.noteAttempt(r, f.fates)
			return nil
		case errors.Is(err, commitlog.ErrInvalidEntry), errors.Is(err, commitlog.ErrDivergence), errors.Is(err, commitlog.ErrNotContiguous):
			// What came is not what was here. Whoever sent the last of it is asked no more.
			if f.from == nil {
				s.noteAttempt(r, unknownFate(r, err.Error()))
				return nil
			}
			f.misfit(err)
		default: // a file that could not be written: the disk may be full
			s.noteAttempt(r, unknownFate(r, err.Error()))
			return nil
		}
	}
}

// fetcher asks peers for entries. It stays with one as long as it brings them;
// an entry that one does not have is asked of the next.
type fetcher struct {
	server *Server
	ctx    context.Context
	peers  []fetchPeer
	asking *fetchPeer // whose stream is open; nil: nobody's
	stream grpc.ServerStreamingClient[dledgerv1.FetchResponse]
	cancel context.CancelFunc
	fates  []fate     // of the entries that nobody has brought
	from   *fetchPeer // who brought the newest entries; nil: nobody has
}

// fetchPeer is a peer during one attempt to repair a range.
type fetchPeer struct {
	*peer
	gone   bool   // it is not asked any more: it does not answer, or what it has does not fit
	absent bool   // it did not answer: it may have a copy
	denied denial // the newest
	said   string // why it is gone
}

func (s *Server) newFetcher(ctx context.Context) *fetcher {
	f := &fetcher{server: s, ctx: ctx}
	for _, p := range s.peerList() {
		f.peers = append(f.peers, fetchPeer{peer: p, denied: nothingDenied})
	}
	return f
}

// fetch is a commitlog.FetchEntries.
func (f *fetcher) fetch(from, to commitlog.Index) ([]byte, error) {
	for p := f.choose(from); p != nil; p = f.choose(from) {
		entries, denied, err := f.ask(p, from, to)
		if err == nil && denied == nil {
			entries, denied = f.server.ofThisHistory(entries, from, to)
		}
		switch {
		case f.ctx.Err() != nil:
			return nil, f.ctx.Err()
		case err != nil:
			p.gone, p.absent, p.said = true, true, "does not answer: "+status.Convert(err).Message()
		case denied != nil:
			p.denied = *denied
		}
		if err != nil || denied != nil {
			f.end()
		}
		if len(entries) > 0 { // if denied, what comes before that
			f.from = p
			return entries, nil
		}
	}
	term, last := f.server.damagedTerm(from, to)
	missing := judgeFate(f.peers, from, last, term)
	f.fates = append(f.fates, missing)
	return nil, &commitlog.NoCopyError{First: missing.first, Last: missing.last}
}

// choose is a peer that may have entry i: the one that is being asked, if it may.
func (f *fetcher) choose(i commitlog.Index) *fetchPeer {
	if p := f.asking; p != nil && !p.gone && !p.denied.covers(i) {
		return p
	}
	for n := range f.peers {
		if p := &f.peers[n]; !p.gone && !p.denied.covers(i) {
			return p
		}
	}
	return nil
}

// ask takes the next response of the peer's stream, which it opens first if
// there is none.
func (f *fetcher) ask(p *fetchPeer, from, to commitlog.Index) (entries []byte, denied *denial, err error) {
	if p.paused.Load() {
		return nil, nil, errPaused
	}
	if f.asking != p {
		f.end()
		if err := f.open(p, from, to); err != nil {
			return nil, nil, err
		}
	}
	resp, err := f.stream.Recv()
	if err != nil {
		return nil, nil, err
	}
	if p.paused.Load() {
		return nil, nil, errPaused
	}
	return checkFetched(string(p.id), resp, from, to)
}

func (f *fetcher) open(p *fetchPeer, from, to commitlog.Index) error {
	ctx, cancel := context.WithCancel(f.ctx)
	stream, err := dledgerv1.NewDLedgerServiceClient(p.bulk).Fetch(ctx, &dledgerv1.FetchRequest{
		Header: f.server.header(p.id), FirstIndex: int64(from), LastIndex: int64(to),
	})
	if err != nil {
		cancel()
		return err
	}
	f.asking, f.stream, f.cancel = p, stream, cancel
	return nil
}

// misfit goes on without the peer that brought what does not fit.
func (f *fetcher) misfit(why error) {
	f.from.gone, f.from.said = true, "its copy does not fit: "+why.Error()
	f.from = nil
	f.end()
}

func (f *fetcher) end() {
	if f.asking != nil {
		f.cancel()
		f.asking, f.stream = nil, nil
	}
}
