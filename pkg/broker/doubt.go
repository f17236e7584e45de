package broker

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// The outcomes that the metadata of an error may name (docs/errors.md).
const (
	outcomeKey        = "outcome"
	outcomeDefinite   = "definite"
	outcomeIndefinite = "indefinite"
)

// indefinite tells whether an error, ours or another broker's, leaves open
// whether what was asked for has happened.
func indefinite(err error) bool {
	if own := ownError(err); own != nil {
		return own.Indefinite
	}
	info := infoOf(err)
	return info != nil && info.GetMetadata()[outcomeKey] == outcomeIndefinite
}

// doubted returns err, ours or another broker's, as an indefinite one.
func doubted(err error) error {
	if own := ownError(err); own != nil {
		e := *own
		e.Indefinite = true
		return &e
	}
	info := infoOf(err)
	if info == nil {
		return err // without an ErrorInfo it is no proof of anything
	}
	info = proto.CloneOf(info)
	info.Metadata[outcomeKey] = outcomeIndefinite
	st := status.Convert(err)
	if with, detailErr := status.New(st.Code(), st.Message()).WithDetails(info); detailErr == nil {
		st = with
	}
	return st.Err()
}

// doubtResults does the same to the batches of an answer that were refused: each
// may be the second copy of one that was stored.
func doubtResults(resp any) {
	if progress, ok := resp.(*brokerv1.CommitProgressResponse); ok {
		for _, r := range progress.GetResults() {
			if r.GetError() != nil {
				r.Error.Indefinite = true
			}
		}
		return
	}
	if work, ok := resp.(interface {
		GetResults() []*brokerv1.WorkResult
	}); ok {
		for _, r := range work.GetResults() {
			if r.GetError() != nil {
				r.Error.Indefinite = true
			}
		}
		return
	}
	batches, ok := resp.(interface {
		GetResults() []*brokerv1.BatchResult
	})
	if !ok {
		return
	}
	for _, r := range batches.GetResults() {
		if r.GetError() != nil {
			r.Error.Indefinite = true
		}
	}
}

// infoOf returns the ErrorInfo of a status of ours, nil if err is none.
func infoOf(err error) *errdetails.ErrorInfo {
	st, ok := status.FromError(err)
	if !ok {
		return nil
	}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == errorDomain {
			return info
		}
	}
	return nil
}
