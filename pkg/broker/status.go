package broker

import (
	"context"
	"errors"
	"log/slog"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/dledger"
)

// errorDomain is the domain of every google.rpc.ErrorInfo of ours.
const errorDomain = "ledgermq"

// translator turns errors into gRPC statuses. It is the only place that does.
type translator struct {
	view func() leaderView
	log  *slog.Logger
}

// ownError finds the Error in err, or makes one for errors of the packages below.
// Nil: err is not ours to translate.
func ownError(err error) *Error {
	var own *Error
	var ledger *dledger.Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &ledger):
		return &Error{Code: Code(ledger.Code), Message: ledger.Message, Indefinite: ledger.Indefinite, RetryAfter: ledger.RetryAfter, cause: err}
	case errors.Is(err, batch.ErrTooLarge):
		return errorf(CodeMessageTooLarge, "%v", err)
	case errors.Is(err, batch.ErrCorrupt):
		return errorf(CodeCorruptBatch, "%v", err)
	case errors.Is(err, batch.ErrInvalid):
		return errorf(CodeInvalidBatch, "%v", err)
	}
	return nil
}

// status returns err as a gRPC status error with its google.rpc.ErrorInfo.
func (t *translator) status(method string, err error) error {
	if err == nil {
		return nil
	}
	own := ownError(err)
	if own == nil {
		if st, ok := status.FromError(err); ok {
			return st.Err() // from gRPC itself, or from another broker: as it is
		}
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return status.FromContextError(err).Err()
		}
		own = errorf(CodeInternal, "internal error").wrap(err)
	}
	if own.Code.info().code == CodeInternal {
		t.log.Error("request failed", "method", method, "error", err, "cause", own.cause)
	}
	st, detailErr := status.New(own.Code.info().status, own.Message).WithDetails(t.errorInfo(own))
	if detailErr != nil {
		return status.Error(own.Code.info().status, own.Message)
	}
	return st.Err()
}

func (t *translator) errorInfo(e *Error) *errdetails.ErrorInfo {
	view := t.view()
	md := map[string]string{
		outcomeKey: outcomeDefinite,
		"node":     string(view.self),
		"term":     strconv.FormatInt(int64(view.term), 10),
	}
	if e.Indefinite {
		md[outcomeKey] = outcomeIndefinite
	}
	if view.leader != "" && view.leader != view.self {
		md["leader"] = string(view.leader)
		if view.addr != "" {
			md["leader_addr"] = view.addr
		}
	}
	if after := e.retryAfter(); after > 0 {
		md["retry_after_ms"] = strconv.FormatInt(after.Milliseconds(), 10)
	}
	return &errdetails.ErrorInfo{Reason: string(e.Code), Domain: errorDomain, Metadata: md}
}

// detail returns the error as it stands inside an answer.
func (t *translator) detail(e *Error) *brokerv1.ErrorDetail {
	d := &brokerv1.ErrorDetail{
		Code: string(e.Code), Message: e.Message, Indefinite: e.Indefinite,
		RetryAfterMs: e.retryAfter().Milliseconds(),
	}
	if view := t.view(); view.leader != view.self {
		d.LeaderAddr = view.addr
	}
	return d
}

// unary is the interceptor that translates what handlers return.
func (t *translator) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	if err != nil {
		return nil, t.status(info.FullMethod, err)
	}
	return resp, nil
}

// stream is the same for streams.
func (t *translator) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	return t.status(info.FullMethod, next(srv, ss))
}
