package broker

import (
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
)

// Code is a stable error code: the reason in the google.rpc.ErrorInfo of every
// error that a broker answers with. docs/errors.md explains each.
type Code string

// The error codes.
const (
	CodeNotLeader          Code = "NOT_LEADER"
	CodeNoLeader           Code = "NO_LEADER"
	CodeLeaderNotReady     Code = "LEADER_NOT_READY"
	CodeLeaderTransferring Code = "LEADER_TRANSFERRING"
	CodeLeadershipLost     Code = "LEADERSHIP_LOST"
	CodeQuorumAckTimeout   Code = "WAIT_QUORUM_ACK_TIMEOUT"
	CodeLeaderPendingFull  Code = "LEADER_PENDING_FULL"
	CodeDiskFull           Code = "DISK_FULL"
	CodeShuttingDown       Code = "SHUTTING_DOWN"
	CodeUnknownTopic       Code = "UNKNOWN_TOPIC"
	CodeTopicExists        Code = "TOPIC_EXISTS"
	CodeInvalidTopicName   Code = "INVALID_TOPIC_NAME"
	CodeUnknownQueue       Code = "UNKNOWN_QUEUE"
	CodeOffsetTooLow       Code = "OFFSET_TOO_LOW"
	CodeOffsetTooHigh      Code = "OFFSET_TOO_HIGH"
	CodeMessageTooLarge    Code = "MESSAGE_TOO_LARGE"
	CodeInvalidBatch       Code = "INVALID_BATCH"
	CodeCorruptBatch       Code = "CORRUPT_BATCH"
	CodeUnknownProducer    Code = "UNKNOWN_PRODUCER"
	CodeProducerFenced     Code = "PRODUCER_FENCED"
	CodeOutOfOrderSequence Code = "OUT_OF_ORDER_SEQUENCE"
	CodeSequenceConflict   Code = "SEQUENCE_CONFLICT"
	CodeUnknownMember      Code = "UNKNOWN_MEMBER"
	CodeTransferFailed     Code = "TRANSFER_FAILED"
	CodeDataDamaged        Code = "DATA_DAMAGED"
	CodeDataLost           Code = "DATA_LOST"
	CodeLimitExceeded      Code = "LIMIT_EXCEEDED"
	CodeInternal           Code = "INTERNAL"
)

// codeInfo is what a code means.
type codeInfo struct {
	code   Code
	status codes.Code
	// indefinite is set when what was asked for may have happened all the same.
	indefinite bool
	// retryAfter is how long to wait before another try helps; 0: retrying as it
	// is does not help, or the error itself says when.
	retryAfter time.Duration
	means      string
	todo       string
}

// codeTable is the one table of errors: code ⇄ gRPC status. docs/errors.md is
// compared with it in a test.
var codeTable = [...]codeInfo{
	{CodeNotLeader, codes.Unavailable, false, 10 * time.Millisecond, "This broker does not lead, and the request is one that only the leader takes.", "Ask the broker in leader_addr. Clients of ours do it by themselves."},
	{CodeNoLeader, codes.Unavailable, false, 100 * time.Millisecond, "No leader was found within the hold timeout: an election is going on, or fewer than a majority of the members can reach each other.", "Retry. If it lasts, look at `broker admin status`: a majority of the members must be up, with the data directories that they had; a new group begins when all its members are up."},
	{CodeLeaderNotReady, codes.Unavailable, false, 10 * time.Millisecond, "The leader has been elected but has not yet applied everything up to its own term.", "Retry."},
	{CodeLeaderTransferring, codes.Unavailable, false, 10 * time.Millisecond, "The leader is handing the leadership over and takes nothing new.", "Retry; a new leader serves within milliseconds."},
	{CodeLeadershipLost, codes.Unavailable, true, 10 * time.Millisecond, "The leadership ended after the request was taken and before a majority was known to hold it.", "Send it again with the same producer id and sequence: an idempotent producer does, and nothing is stored twice."},
	{CodeQuorumAckTimeout, codes.DeadlineExceeded, true, 100 * time.Millisecond, "No majority acknowledged within the ack timeout, or the caller's deadline passed first.", "As for LEADERSHIP_LOST. If it lasts, look for slow disks or missing members."},
	{CodeLeaderPendingFull, codes.ResourceExhausted, false, 50 * time.Millisecond, "The leader has as much in flight as limits.max_pending_proposals and limits.max_pending_bytes allow. The message says what is slow, and on which member.", "Send less at a time, or wait retry_after_ms."},
	{CodeDiskFull, codes.ResourceExhausted, false, time.Second, "The leader's disk is full, or so full that it has stopped taking what would make its ledger grow, and no other member with space could take the leadership. Pulls, elections and deletes go on.", "Free or add space on the member that the message names: docs/runbooks/disk-full.md. Writing goes on by itself then."},
	{CodeShuttingDown, codes.Unavailable, false, 50 * time.Millisecond, "The broker is stopping and took nothing of this request. What it had taken is answered LEADERSHIP_LOST instead.", "Ask another broker."},
	{CodeUnknownTopic, codes.NotFound, false, 0, "There is no topic of this name.", "Check the name, or create it: `broker admin topic create NAME --queues N`."},
	{CodeTopicExists, codes.AlreadyExists, false, 0, "A topic of this name exists already.", "Use it, or choose another name."},
	{CodeInvalidTopicName, codes.InvalidArgument, false, 0, "The name is not 1 to 127 of a-z A-Z 0-9 . _ - or is \".\" or \"..\".", "Choose another name."},
	{CodeUnknownQueue, codes.NotFound, false, 0, "There is no such queue: the number is too high, or its topic was deleted.", "Describe the topic again and use the queues that it has now."},
	{CodeOffsetTooLow, codes.OutOfRange, false, 0, "The offset is below the queue's first one: those messages are no longer kept.", "Go on from first_offset if a gap is acceptable."},
	{CodeOffsetTooHigh, codes.OutOfRange, false, 0, "The offset is above the queue's end: no message has it yet.", "Go on from end_offset; an offset beyond it means that someone counted wrongly."},
	{CodeMessageTooLarge, codes.InvalidArgument, false, 0, "A record batch is above limits.max_batch_bytes.", "Send smaller messages, or raise the limit on every broker."},
	{CodeInvalidBatch, codes.InvalidArgument, false, 0, "The bytes are not a record batch as docs/format/batch.md draws it.", "Fix the client."},
	{CodeCorruptBatch, codes.DataLoss, false, 0, "A record batch does not match its CRC-32C: it was damaged on its way or in the client's memory, and nothing of it was stored.", "Send it again from the original. If it repeats, suspect memory or network hardware."},
	{CodeUnknownProducer, codes.FailedPrecondition, false, 0, "The producer id was never registered here.", "Register anew."},
	{CodeProducerFenced, codes.FailedPrecondition, false, 0, "Another producer of the same name has registered since; this one's epoch is over.", "Stop this producer, or register anew if it is the one to go on."},
	{CodeOutOfOrderSequence, codes.FailedPrecondition, false, 0, "A batch's sequence does not follow the last one stored for this producer and queue: an earlier batch is missing.", "Send the batches in flight again in their order."},
	{CodeSequenceConflict, codes.FailedPrecondition, false, 0, "Another batch was stored under this producer's sequence.", "Fix the client: two batches were given one sequence."},
	{CodeUnknownMember, codes.NotFound, false, 0, "There is no member of this id in the cluster.", "See `broker admin status` for the ids."},
	{CodeTransferFailed, codes.Aborted, false, 0, "The leadership was not handed over: the member is not reachable, too far behind or not fit.", "See `broker admin status` for its lag, and try again when it has caught up."},
	{CodeDataDamaged, codes.Unavailable, false, 200 * time.Millisecond, "The messages at these offsets are damaged on the leader's disk and are being fetched from another member. Those around them are readable.", "Retry. If it lasts, look at `broker admin status` and docs/runbooks/damaged-disk.md."},
	{CodeDataLost, codes.DataLoss, false, 0, "The messages at these offsets are damaged on the disk of every member. Those around them are readable.", "Follow docs/runbooks/damaged-disk.md. To go on without them, read from the offset that the message names."},
	{CodeLimitExceeded, codes.ResourceExhausted, false, 100 * time.Millisecond, "The request is above one of the broker's limits, which the message names.", "Ask for less, or raise the limit."},
	{CodeInternal, codes.Internal, true, 0, "Something went wrong that has no code of its own; the broker's log says more.", "Report it, with the log line."},
}

var codeInfos = func() map[Code]codeInfo {
	m := make(map[Code]codeInfo, len(codeTable))
	for _, info := range codeTable {
		m[info.code] = info
	}
	return m
}()

// info returns what the code means; an unknown code means INTERNAL.
func (c Code) info() codeInfo {
	if info, ok := codeInfos[c]; ok {
		return info
	}
	return codeInfos[CodeInternal]
}

// Error is an error with a stable code, on its way to a client.
type Error struct {
	Code    Code
	Message string
	// Indefinite is set when what was asked for may have happened all the same.
	Indefinite bool
	// RetryAfter is how long to wait before another try; 0: the code's own time.
	RetryAfter time.Duration

	cause error
}

// errorf builds an Error with its code's own outcome.
func errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Indefinite: code.info().indefinite}
}

// wrap notes what led to the error; it is logged and never sent.
func (e *Error) wrap(cause error) *Error {
	e.cause = cause
	return e
}

// Error returns the message with its code.
func (e *Error) Error() string { return fmt.Sprintf("%s (%s)", e.Message, e.Code) }

// Unwrap returns what led to the error.
func (e *Error) Unwrap() error { return e.cause }

func (e *Error) retryAfter() time.Duration {
	if e.RetryAfter > 0 {
		return e.RetryAfter
	}
	return e.Code.info().retryAfter
}
