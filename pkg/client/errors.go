package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// Code is a stable error code, as listed in docs/errors.md.
type Code string

// Codes that brokers answer with.
const (
	CodeNotLeader          Code = "NOT_LEADER"
	CodeNoLeader           Code = "NO_LEADER"
	CodeLeaderNotReady     Code = "LEADER_NOT_READY"
	CodeLeaderTransferring Code = "LEADER_TRANSFERRING"
	CodeLeadershipLost     Code = "LEADERSHIP_LOST"
	CodeQuorumTimeout      Code = "WAIT_QUORUM_ACK_TIMEOUT"
	CodePendingFull        Code = "LEADER_PENDING_FULL"
	CodeDiskFull           Code = "DISK_FULL"
	CodeShuttingDown       Code = "SHUTTING_DOWN"
	CodeUnknownTopic       Code = "UNKNOWN_TOPIC"
	CodeTopicExists        Code = "TOPIC_EXISTS"
	CodeTooManyTopics      Code = "TOO_MANY_TOPICS"
	CodeTooManyQueues      Code = "TOO_MANY_QUEUES"
	CodeInvalidTopicName   Code = "INVALID_TOPIC_NAME"
	CodeUnknownQueue       Code = "UNKNOWN_QUEUE"
	CodeOffsetTooLow       Code = "OFFSET_TOO_LOW"
	CodeOffsetTooHigh      Code = "OFFSET_TOO_HIGH"
	CodeMessageTooLarge    Code = "MESSAGE_TOO_LARGE"
	CodeInvalidBatch       Code = "INVALID_BATCH"
	CodeCorruptBatch       Code = "CORRUPT_BATCH"
	CodeUnknownProducer    Code = "UNKNOWN_PRODUCER"
	CodeProducerFenced     Code = "PRODUCER_FENCED"
	CodeOutOfOrder         Code = "OUT_OF_ORDER_SEQUENCE"
	CodeSequenceConflict   Code = "SEQUENCE_CONFLICT"
	CodeTooManyProducers   Code = "TOO_MANY_PRODUCERS"
	CodeUnknownMember      Code = "UNKNOWN_MEMBER"
	CodeMembersChanging    Code = "MEMBERS_CHANGING"
	CodeNotCaughtUp        Code = "NOT_CAUGHT_UP"
	CodeQuorumAtRisk       Code = "QUORUM_AT_RISK"
	CodeInvalidMember      Code = "INVALID_MEMBER"
	CodeTransferFailed     Code = "TRANSFER_FAILED"
	CodeDataDamaged        Code = "DATA_DAMAGED"
	CodeDataLost           Code = "DATA_LOST"
	CodeDeliveryTooFar     Code = "DELIVERY_TIME_TOO_FAR"
	CodeTooManyDelayed     Code = "TOO_MANY_DELAYED"
	CodeNotWaiting         Code = "NOT_WAITING"
	CodeInvalidHandle      Code = "INVALID_HANDLE"
	CodeInvalidFilter      Code = "INVALID_FILTER"
	CodeFilterTooCostly    Code = "FILTER_TOO_COSTLY"
	CodeLimitExceeded      Code = "LIMIT_EXCEEDED"
	CodeInvalidGroupName   Code = "INVALID_GROUP_NAME"
	CodeUnknownGroup       Code = "UNKNOWN_GROUP"
	CodeGroupExists        Code = "GROUP_EXISTS"
	CodeGroupNotEmpty      Code = "GROUP_NOT_EMPTY"
	CodeGroupMismatch      Code = "GROUP_MISMATCH"
	CodeUnknownSession     Code = "UNKNOWN_SESSION"
	CodeStaleGeneration    Code = "STALE_GENERATION"
	CodeReceiptExpired     Code = "RECEIPT_EXPIRED"
	CodeTooManyInFlight    Code = "TOO_MANY_IN_FLIGHT"
	CodeInternal           Code = "INTERNAL"
	CodeTooManyOpen        Code = "TOO_MANY_TRANSACTIONS"
	CodeUnknownTransaction Code = "UNKNOWN_TRANSACTION"
	CodeTransactionEnded   Code = "TRANSACTION_ENDED"

	CodeUnknownTransactionGroup Code = "UNKNOWN_TRANSACTION_GROUP"
	CodeTopicDeleted            Code = "TOPIC_DELETED"
	CodeTopicNotDeleted         Code = "TOPIC_NOT_DELETED"
	CodeInvalidTopicSettings    Code = "INVALID_TOPIC_SETTINGS"
	CodeInvalidTopicChange      Code = "INVALID_TOPIC_CHANGE"
	CodeMessageTypeMismatch     Code = "MESSAGE_TYPE_MISMATCH"
)

// Codes that only the client itself gives.
const (
	// CodeUnavailable: no broker could be reached, or a connection broke.
	CodeUnavailable Code = "UNAVAILABLE"
	// CodeTimeout: a request had no answer within its time.
	CodeTimeout Code = "TIMEOUT"
	// CodeDeliveryTimeout: a message was not acknowledged within ProducerConfig.DeliveryTimeout.
	CodeDeliveryTimeout Code = "DELIVERY_TIMEOUT"
	// CodeSkipped: a broker left out offsets that it should have sent.
	CodeSkipped Code = "SKIPPED"
	// CodeClosed: the Client, Producer or Consumer was closed.
	CodeClosed Code = "CLOSED"
	// CodeInvalidConfig: a configuration or an argument makes no sense.
	CodeInvalidConfig Code = "INVALID_CONFIG"
	// CodeUnauthenticated and CodePermissionDenied: the broker does not let us in.
	CodeUnauthenticated  Code = "UNAUTHENTICATED"
	CodePermissionDenied Code = "PERMISSION_DENIED"
	// CodeUnimplemented: the server does not speak this protocol or not all of it.
	CodeUnimplemented Code = "UNIMPLEMENTED"
)

// Sentinels for errors.Is; only the code is compared.
var (
	ErrNoLeader         = &Error{Code: CodeNoLeader}
	ErrUnknownTopic     = &Error{Code: CodeUnknownTopic}
	ErrTopicExists      = &Error{Code: CodeTopicExists}
	ErrInvalidTopicName = &Error{Code: CodeInvalidTopicName}
	ErrUnknownQueue     = &Error{Code: CodeUnknownQueue}
	ErrOffsetTooLow     = &Error{Code: CodeOffsetTooLow}
	ErrOffsetTooHigh    = &Error{Code: CodeOffsetTooHigh}
	ErrMessageTooLarge  = &Error{Code: CodeMessageTooLarge}
	ErrCorruptBatch     = &Error{Code: CodeCorruptBatch}
	ErrUnknownProducer  = &Error{Code: CodeUnknownProducer}
	ErrProducerFenced   = &Error{Code: CodeProducerFenced}
	ErrTooManyProducers = &Error{Code: CodeTooManyProducers}
	ErrSequenceConflict = &Error{Code: CodeSequenceConflict}
	ErrDiskFull         = &Error{Code: CodeDiskFull}
	ErrUnknownMember    = &Error{Code: CodeUnknownMember}
	ErrMembersChanging  = &Error{Code: CodeMembersChanging}
	ErrNotCaughtUp      = &Error{Code: CodeNotCaughtUp}
	ErrQuorumAtRisk     = &Error{Code: CodeQuorumAtRisk}
	ErrInvalidMember    = &Error{Code: CodeInvalidMember}
	ErrTransferFailed   = &Error{Code: CodeTransferFailed}
	ErrDeliveryTooFar   = &Error{Code: CodeDeliveryTooFar}
	ErrTooManyDelayed   = &Error{Code: CodeTooManyDelayed}
	ErrNotWaiting       = &Error{Code: CodeNotWaiting}
	ErrInvalidHandle    = &Error{Code: CodeInvalidHandle}
	ErrDataLost         = &Error{Code: CodeDataLost}
	ErrInvalidGroupName = &Error{Code: CodeInvalidGroupName}
	ErrUnknownGroup     = &Error{Code: CodeUnknownGroup}
	ErrGroupNotEmpty    = &Error{Code: CodeGroupNotEmpty}
	ErrGroupMismatch    = &Error{Code: CodeGroupMismatch}
	ErrReceiptExpired   = &Error{Code: CodeReceiptExpired}
	ErrGroupExists      = &Error{Code: CodeGroupExists}
	ErrInvalidFilter    = &Error{Code: CodeInvalidFilter}
	ErrFilterTooCostly  = &Error{Code: CodeFilterTooCostly}
	ErrUnavailable      = &Error{Code: CodeUnavailable}
	ErrTimeout          = &Error{Code: CodeTimeout}
	ErrDeliveryTimeout  = &Error{Code: CodeDeliveryTimeout}
	ErrSkipped          = &Error{Code: CodeSkipped}
	ErrClosed           = &Error{Code: CodeClosed}
	ErrTooManyOpen      = &Error{Code: CodeTooManyOpen}
	ErrTransactionEnded = &Error{Code: CodeTransactionEnded}

	ErrUnknownTransaction   = &Error{Code: CodeUnknownTransaction}
	ErrTopicDeleted         = &Error{Code: CodeTopicDeleted}
	ErrTopicNotDeleted      = &Error{Code: CodeTopicNotDeleted}
	ErrInvalidTopicSettings = &Error{Code: CodeInvalidTopicSettings}
	ErrInvalidTopicChange   = &Error{Code: CodeInvalidTopicChange}
	ErrMessageTypeMismatch  = &Error{Code: CodeMessageTypeMismatch}
)

// errorDomain is the domain of our google.rpc.ErrorInfo.
const errorDomain = "ledgermq"

// Error is every error of this package that is not a context's own.
type Error struct {
	Code    Code
	Message string
	// Node is the member that answered, Term the term it was in (0: not told).
	Node string
	Term int64
	// Leader is the client address of the leader as far as the answering member knew it.
	Leader string
	// Indefinite is set when what was asked for may have happened all the same.
	Indefinite bool
	// RetryAfter is how long the broker asks to wait before the next try; 0 if it did not say.
	RetryAfter time.Duration

	definite bool // the broker said that nothing of it happened
	request  bool // not a message is in doubt, but what a request asked for
	limit    int  // of gRPC, which refused a message that is larger; 0: it did not
	cause    error
}

// Error returns the message with the node that gave it.
func (e *Error) Error() string {
	text := e.Message
	if text == "" {
		text = string(e.Code)
	}
	if e.Node != "" {
		text = e.Node + ": " + text
	}
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	switch {
	case e.Indefinite && e.request:
		text += " (may have been done)"
	case e.Indefinite:
		text += " (may have been stored)"
	}
	return text
}

// Is compares codes, so that errors.Is(err, ErrUnknownTopic) works.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Unwrap returns what led to this error, for example the last try's error.
func (e *Error) Unwrap() error { return e.cause }

// indefinite returns e, as indefinite if an earlier try makes it so.
func (e *Error) indefinite(maybe bool) *Error {
	if !maybe || e.Indefinite {
		return e
	}
	doubtful := *e
	doubtful.Indefinite = true
	return &doubtful
}

// ofRequest returns e as the error of a request that is over, in doubt if some try of it
// makes it so.
func (e *Error) ofRequest(maybe bool) *Error {
	over := *e
	over.Indefinite, over.request = maybe, true
	return &over
}

// certain returns the error of something that only reads: nothing can have happened.
func certain(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e.ofRequest(false)
	}
	return err
}

func errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of an error of this package, or "" for any other.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// fromRPC turns an RPC's error into an *Error; a context's own error stays itself.
func fromRPC(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return fromStatus(err)
}

func fromStatus(err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	st, ok := status.FromError(err)
	if !ok {
		return &Error{Code: CodeUnavailable, Message: "connection lost", Indefinite: true, cause: err}
	}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == errorDomain {
			return fromErrorInfo(st.Message(), info)
		}
	}
	e := &Error{Code: codeOfGRPC(st.Code()), Message: plain(st.Message())}
	if limit := limitOf(e.Message); e.Code == CodeLimitExceeded && limit > 0 {
		return &Error{Code: CodeMessageTooLarge, Message: e.Message, limit: limit}
	}
	e.Indefinite = st.Code() != codes.Unauthenticated && st.Code() != codes.PermissionDenied &&
		st.Code() != codes.Unimplemented
	return e
}

func fromErrorInfo(message string, info *errdetails.ErrorInfo) *Error {
	md := info.GetMetadata()
	e := &Error{
		Code:       Code(info.GetReason()),
		Message:    message,
		Node:       md["node"],
		Leader:     md["leader_addr"],
		Indefinite: md["outcome"] == "indefinite",
		definite:   md["outcome"] == "definite",
	}
	if term, err := strconv.ParseInt(md["term"], 10, 64); err == nil {
		e.Term = term
	}
	if ms, err := strconv.ParseInt(md["retry_after_ms"], 10, 64); err == nil {
		e.RetryAfter = time.Duration(ms) * time.Millisecond
	}
	return e
}

// codeOfGRPC serves statuses that carry no ErrorInfo of ours: gRPC's own.
func codeOfGRPC(c codes.Code) Code {
	switch c {
	case codes.Unauthenticated:
		return CodeUnauthenticated
	case codes.PermissionDenied:
		return CodePermissionDenied
	case codes.Unimplemented:
		return CodeUnimplemented
	case codes.DeadlineExceeded:
		return CodeTimeout
	case codes.ResourceExhausted:
		return CodeLimitExceeded
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return CodeInternal
	default:
		return CodeUnavailable
	}
}

// fromDetail turns the error inside an answer into an *Error, nil when there is none.
func fromDetail(d *brokerv1.ErrorDetail) *Error {
	if d == nil {
		return nil
	}
	return &Error{
		Code:       Code(d.GetCode()),
		Message:    d.GetMessage(),
		Leader:     d.GetLeaderAddr(),
		Indefinite: d.GetIndefinite(),
		RetryAfter: time.Duration(d.GetRetryAfterMs()) * time.Millisecond,
	}
}

// transient tells whether trying again, perhaps elsewhere, can help.
func transient(code Code) bool {
	switch code {
	case CodeNotLeader, CodeNoLeader, CodeLeaderNotReady, CodeLeaderTransferring, CodeLeadershipLost,
		CodeQuorumTimeout, CodePendingFull, CodeDiskFull, CodeShuttingDown, CodeUnavailable, CodeTimeout,
		CodeOutOfOrder, CodeDataDamaged, CodeMembersChanging, CodeInternal:
		return true
	}
	return false
}

// passes tells whether the same request may go through a little later.
func passes(e *Error) bool {
	return transient(e.Code) || e.Code == CodeLimitExceeded && e.RetryAfter > 0
}

// fatal tells whether an error condemns everything that would be asked of these brokers.
func fatal(code Code) bool {
	return code == CodeUnauthenticated || code == CodePermissionDenied || code == CodeUnimplemented
}
