package dledger

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// Fetch implements dledgerv1.DLedgerServiceServer: it lends a peer the entries
// that its disk has lost. One stream for a peer at a time, at most FetchRate.
func (s peerService) Fetch(r *dledgerv1.FetchRequest, stream grpc.ServerStreamingServer[dledgerv1.FetchResponse]) error {
	p, err := s.checkHeader(r.GetHeader())
	switch {
	case err != nil:
		return err
	case p == nil:
		return status.Errorf(codes.PermissionDenied, "%q is not another member of group %s", r.GetHeader().GetFrom(), s.cfg.Group)
	case r.GetFirstIndex() < 0 || r.GetLastIndex() < r.GetFirstIndex():
		return status.Errorf(codes.InvalidArgument, "entries %d to %d are no range", r.GetFirstIndex(), r.GetLastIndex())
	case p.fetching.Swap(true):
		return status.Error(codes.ResourceExhausted, "this member is already lending entries to the same peer")
	}
	defer p.fetching.Store(false)
	return s.lend(p, commitlog.Index(r.GetFirstIndex()), commitlog.Index(r.GetLastIndex()), stream)
}

func (s *Server) lend(p *peer, next, last commitlog.Index, stream grpc.ServerStreamingServer[dledgerv1.FetchResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	for next <= last {
		if p.paused.Load() {
			return errPaused
		}
		resp, err := s.lendSome(next, last)
		if err != nil {
			return err
		}
		if err := stream.Send(resp); err != nil {
			return err
		}
		if resp.GetResult() != dledgerv1.FetchResult_FETCH_RESULT_ENTRIES {
			return nil
		}
		s.metrics.lentBytes.WithLabelValues(string(p.id)).Add(float64(len(resp.GetEntries())))
		next = commitlog.Index(resp.GetLastIndex()) + 1
		if next <= last {
			pause(ctx, timeFor(len(resp.GetEntries()), s.cfg.FetchRate))
		}
		if s.life.Err() != nil {
			return errStopping
		}
		if ctx.Err() != nil {
			return status.FromContextError(ctx.Err()).Err()
		}
	}
	return nil
}

// lendSome is the next response: entries that are on this disk, or why there are
// none.
func (s *Server) lendSome(next, last commitlog.Index) (*dledgerv1.FetchResponse, error) {
	resp := &dledgerv1.FetchResponse{From: string(s.cfg.ID), FirstIndex: int64(next), LastIndex: int64(next)}
	durable, _ := s.ledger.Durable()
	if next > durable {
		// What is not on this disk yet is not lent: a crash could take it back. It is
		// no proof either that there is none.
		resp.Result, resp.LastIndex = dledgerv1.FetchResult_FETCH_RESULT_NOT_HERE, int64(last)
		if end, _ := s.ledger.End(); next <= end {
			resp.Result, resp.LastIndex = dledgerv1.FetchResult_FETCH_RESULT_NOT_DURABLE, int64(min(last, end))
		}
		return resp, nil
	}
	frame, err := s.ledger.ReadForGroup(next, min(last, durable), s.cfg.MaxPushBytes)
	var faulty *commitlog.FaultyError
	switch {
	case errors.As(err, &faulty):
		resp.Result = dledgerv1.FetchResult_FETCH_RESULT_DAMAGED
		resp.LastIndex, resp.Term = s.damagedRun(next, min(last, faulty.Last))
	case errors.Is(err, commitlog.ErrPurged):
		resp.Result = dledgerv1.FetchResult_FETCH_RESULT_PURGED
		resp.LastIndex = int64(min(last, s.ledger.Begin()-1))
	case errors.Is(err, commitlog.ErrBeyondEnd): // truncated a moment ago
		resp.Result = dledgerv1.FetchResult_FETCH_RESULT_NOT_HERE
	case err != nil:
		return nil, status.Errorf(codes.Unavailable, "member %s cannot read entry %d: %v", s.cfg.ID, next, err)
	default:
		resp.Result = dledgerv1.FetchResult_FETCH_RESULT_ENTRIES
		resp.LastIndex, resp.Entries = int64(frame.Last), frame.Bytes
	}
	return resp, nil
}

// damagedRun is how far the entries from first on, last at the latest, have one term,
// and which. 0: they are gone meanwhile.
func (s *Server) damagedRun(first, last commitlog.Index) (end, term int64) {
	own, err := s.ledger.TermAt(first)
	if err != nil {
		return int64(first), 0
	}
	for last > first {
		if term, err := s.ledger.TermAt(last); err == nil && term == own {
			break
		}
		last = first + (last-first)/2
	}
	return int64(last), int64(own)
}

// timeFor is how long bytes take at a rate in bytes per second.
func timeFor(bytes int, rate int64) time.Duration {
	return time.Duration(float64(bytes) / float64(rate) * float64(time.Second))
}
