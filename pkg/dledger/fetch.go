package dledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// repairRange asks one peer after the other for their copies. An error is one of
// this member's own disk, and final.
func (s *Server) repairRange(ctx context.Context, r SuspectRange) error {
	f := s.newFetcher(ctx)
	defer f.end()
	for {
		err := s.ledger.Repair(r.First, f.fetch)
		switch {
		case err == nil, ctx.Err() != nil, errors.Is(err, commitlog.ErrClosed):
			return nil
		case errors.Is(err, commitlog.ErrFailed):
			return fmt.Errorf("repair the commit log: %w", err)
		case errors.Is(err, errNobody):
			s.noteAttempt(r, f.lost(), f.said())
			return nil
		case errors.Is(err, commitlog.ErrInvalidEntry), errors.Is(err, commitlog.ErrDivergence), errors.Is(err, commitlog.ErrNotContiguous):
			// What came is not what was here. Whoever sent the last of it is asked no more.
			if f.asking == nil {
				s.noteAttempt(r, false, err.Error())
				return nil
			}
			f.misfit(err)
		default: // a file that could not be written: the disk may be full
			s.noteAttempt(r, false, err.Error())
			return nil
		}
	}
}

// errNobody means that no peer is left to ask.
var errNobody = errors.New("no peer has brought the entry")

// fetcher asks peers for entries. It stays with one as long as it brings them;
// an entry that is damaged on one is asked of the next.
type fetcher struct {
	server *Server
	ctx    context.Context
	peers  []fetchPeer
	asking *fetchPeer // whose stream is open; nil: nobody's
	stream grpc.ServerStreamingClient[dledgerv1.FetchResponse]
	cancel context.CancelFunc
}

// fetchPeer is a peer during one attempt to repair a range.
type fetchPeer struct {
	*peer
	gone   bool            // it is not asked any more: it does not answer, or what it has does not fit
	absent bool            // it did not answer: it may have a copy
	lacks  commitlog.Index // the newest entry that it said not to have
	said   string
}

func (s *Server) newFetcher(ctx context.Context) *fetcher {
	f := &fetcher{server: s, ctx: ctx}
	for _, p := range s.peerList {
		f.peers = append(f.peers, fetchPeer{peer: p, lacks: commitlog.NoIndex})
	}
	return f
}

// fetch is a commitlog.FetchEntries.
func (f *fetcher) fetch(from, to commitlog.Index) ([]byte, error) {
	for p := f.choose(from); p != nil; p = f.choose(from) {
		entries, denied, err := f.ask(p, from, to)
		switch {
		case f.ctx.Err() != nil:
			return nil, f.ctx.Err()
		case err != nil:
			p.gone, p.absent, p.said = true, true, "does not answer: "+status.Convert(err).Message()
		case denied != "":
			p.lacks, p.said = from, denied
		default:
			return entries, nil
		}
		f.end()
	}
	return nil, errNobody
}

// choose is a peer that may have entry i: the one that is being asked, if it may.
func (f *fetcher) choose(i commitlog.Index) *fetchPeer {
	if p := f.asking; p != nil && !p.gone && p.lacks != i {
		return p
	}
	for n := range f.peers {
		if p := &f.peers[n]; !p.gone && p.lacks != i {
			return p
		}
	}
	return nil
}

// ask takes the next response of the peer's stream, which it opens first if
// there is none.
func (f *fetcher) ask(p *fetchPeer, from, to commitlog.Index) (entries []byte, denied string, err error) {
	if p.paused.Load() {
		return nil, "", errPaused
	}
	if f.asking != p {
		f.end()
		if err := f.open(p, from, to); err != nil {
			return nil, "", err
		}
	}
	resp, err := f.stream.Recv()
	if err != nil {
		return nil, "", err
	}
	if p.paused.Load() {
		return nil, "", errPaused
	}
	return checkFetched(string(p.id), resp, from)
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

// checkFetched says what a response is. Whether entries are the right ones is
// the log's to find out.
func checkFetched(peer string, r *dledgerv1.FetchResponse, from commitlog.Index) (entries []byte, denied string, err error) {
	switch {
	case r.GetFrom() != peer:
		return nil, "", fmt.Errorf("answer from %q instead of %s", r.GetFrom(), peer)
	case r.GetResult() == dledgerv1.FetchResult_FETCH_RESULT_NOT_HERE:
		return nil, fmt.Sprintf("does not have entry %d", from), nil
	case r.GetResult() == dledgerv1.FetchResult_FETCH_RESULT_PURGED:
		return nil, fmt.Sprintf("has removed entry %d by retention", from), nil
	case r.GetResult() == dledgerv1.FetchResult_FETCH_RESULT_DAMAGED:
		return nil, fmt.Sprintf("its own copy of entry %d is damaged", from), nil
	case r.GetResult() != dledgerv1.FetchResult_FETCH_RESULT_ENTRIES || len(r.GetEntries()) == 0:
		return nil, "", fmt.Errorf("answer %v with %d bytes", r.GetResult(), len(r.GetEntries()))
	case r.GetFirstIndex() != int64(from):
		return nil, "", fmt.Errorf("asked for entry %d, got %d", from, r.GetFirstIndex())
	}
	return r.GetEntries(), "", nil
}

// misfit goes on without the peer that brought what does not fit.
func (f *fetcher) misfit(why error) {
	if p := f.asking; p != nil {
		p.gone, p.said = true, "its copy does not fit: "+why.Error()
	}
	f.end()
}

func (f *fetcher) end() {
	if f.asking != nil {
		f.cancel()
		f.asking, f.stream = nil, nil
	}
}

// lost says that every peer has answered, and none has a good copy.
func (f *fetcher) lost() bool {
	return !slices.ContainsFunc(f.peers, func(p fetchPeer) bool { return p.absent })
}

// said is what the peers answered.
func (f *fetcher) said() string {
	var all []string
	for _, p := range f.peers {
		if p.said != "" {
			all = append(all, fmt.Sprintf("%s %s", p.id, p.said))
		}
	}
	return strings.Join(all, "; ")
}
