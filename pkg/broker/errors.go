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
	CodeOutOfOrderSequence Code = "OUT_OF_ORDER_SEQUENCE"
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
	CodeTopicDeleted       Code = "TOPIC_DELETED"
	CodeTopicNotDeleted    Code = "TOPIC_NOT_DELETED"
	CodeInvalidTopicChange Code = "INVALID_TOPIC_CHANGE"
	CodeTypeMismatch       Code = "MESSAGE_TYPE_MISMATCH"
	CodeTooManyOpen        Code = "TOO_MANY_TRANSACTIONS"
	CodeUnknownTransaction Code = "UNKNOWN_TRANSACTION"
	CodeTransactionEnded   Code = "TRANSACTION_ENDED"

	CodeUnknownTransactionGroup Code = "UNKNOWN_TRANSACTION_GROUP"
	CodeInvalidTopicSettings    Code = "INVALID_TOPIC_SETTINGS"
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
	{CodeTooManyTopics, codes.ResourceExhausted, false, 0, "The group has as many topics as limits.max_topics allows.", "Delete topics that nobody needs, or raise the limit on every broker."},
	{CodeTooManyQueues, codes.ResourceExhausted, false, 0, "The group would have more queues than limits.max_queues allows.", "Delete topics that nobody needs, ask for fewer queues, or raise the limit on every broker."},
	{CodeInvalidTopicName, codes.InvalidArgument, false, 0, "The name is not 1 to 127 of a-z A-Z 0-9 . _ - or is \".\" or \"..\".", "Choose another name."},
	{CodeTopicDeleted, codes.FailedPrecondition, false, 0, "The topic is deleted, and its name is taken until its grace is over: the message says until when it can be had back.", "`broker admin topic undelete NAME` gives it back with its messages; `broker admin topic delete NAME --now` frees the name."},
	{CodeTopicNotDeleted, codes.FailedPrecondition, false, 0, "The topic is not deleted.", "Nothing: it is there."},
	{CodeInvalidTopicSettings, codes.InvalidArgument, false, 0, "A setting of the topic is out of its bounds, which the message names.", "Correct it: docs/topics.md."},
	{CodeInvalidTopicChange, codes.FailedPrecondition, false, 0, "The topic cannot be changed so: it would have fewer queues, or its messages would contradict its type.", "Queues only grow. For another type than MIXED, trim the topic empty first, or make another topic."},
	{CodeTypeMismatch, codes.FailedPrecondition, false, 0, "The topic takes messages of another type. The message says what it takes and what came.", "Send what it takes (FIFO wants a message group, DELAY a delivery time, TRANSACTION half messages), or use another topic: docs/topics.md."},
	{CodeUnknownQueue, codes.NotFound, false, 0, "There is no such queue: the number is too high, or its topic was deleted.", "Describe the topic again and use the queues that it has now."},
	{CodeOffsetTooLow, codes.OutOfRange, false, 0, "The offset is below the queue's first one: those messages are no longer kept.", "Go on from first_offset if a gap is acceptable."},
	{CodeOffsetTooHigh, codes.OutOfRange, false, 0, "The offset is above the queue's end: no message has it yet.", "Go on from end_offset; an offset beyond it means that someone counted wrongly."},
	{CodeMessageTooLarge, codes.InvalidArgument, false, 0, "A record batch is above limits.max_batch_bytes, above its topic's max_message_bytes, or above 16 MiB less 4 KiB when it is unpacked.", "Send smaller messages, or raise the limit: on every broker, or of the topic."},
	{CodeInvalidBatch, codes.InvalidArgument, false, 0, "The bytes are not a record batch as docs/format/batch.md draws it.", "Fix the client."},
	{CodeCorruptBatch, codes.DataLoss, false, 0, "A record batch does not match its CRC-32C: it was damaged on its way or in the client's memory, and nothing of it was stored.", "Send it again from the original. If it repeats, suspect memory or network hardware."},
	{CodeUnknownProducer, codes.FailedPrecondition, false, 0, "The producer id was never registered here, or it has expired: it was not used for producers.expire_after, or for an hour when there are nearly as many as limits.max_producers.", "Register anew. The client library does, where nothing of the old identity may be stored."},
	{CodeProducerFenced, codes.FailedPrecondition, false, 0, "Another producer of the same name has registered since; this one's epoch is over.", "Stop this producer, or register anew if it is the one to go on."},
	{CodeOutOfOrderSequence, codes.FailedPrecondition, false, 0, "A batch's sequence does not follow the last one stored for this producer and queue: an earlier batch is missing.", "Send the batches in flight again in their order."},
	{CodeSequenceConflict, codes.FailedPrecondition, false, 0, "Another batch was stored under this producer's sequence.", "Fix the client: two batches were given one sequence."},
	{CodeTooManyProducers, codes.ResourceExhausted, false, time.Second, "The group has as many producers as limits.max_producers allows, or remembers batches of theirs in as many queues as limits.max_producer_queues allows. The message says which.", "Close producers that nobody needs and wait: those without a name expire after an hour or two then. Or raise the limit on every broker. A name that is registered can be registered again."},
	{CodeUnknownMember, codes.NotFound, false, 0, "There is no member of this id in the cluster.", "See `broker admin status` for the ids."},
	{CodeMembersChanging, codes.Unavailable, false, 100 * time.Millisecond, "Another change of the group is not committed yet: members come and go one at a time.", "Retry. If it lasts, look at `broker admin member list`."},
	{CodeNotCaughtUp, codes.FailedPrecondition, false, 500 * time.Millisecond, "The learner cannot be a voter yet: the leader has not heard it lately, it lacks too many entries, or its data directory is new and not proven.", "Wait until `broker admin member list` shows no lag, and promote it then; `broker admin member add --promote` does both."},
	{CodeQuorumAtRisk, codes.FailedPrecondition, false, 0, "After the change too few of the voters would be up for anything to be committed.", "Bring the members that are down back first, or remove one of those instead."},
	{CodeInvalidMember, codes.InvalidArgument, false, 0, "No such change of the group is possible: the member is there already, under another address or as a voter; it is the last voter; the group would be too large; or its id or address is not one.", "See `broker admin member list`. The message says what is wrong."},
	{CodeTransferFailed, codes.Aborted, false, 0, "The leadership was not handed over: the member is not reachable, too far behind or not fit.", "See `broker admin status` for its lag, and try again when it has caught up."},
	{CodeDataDamaged, codes.Unavailable, false, 200 * time.Millisecond, "The messages at these offsets are damaged on the leader's disk and are being fetched from another member. Those around them are readable.", "Retry. If it lasts, look at `broker admin status` and docs/runbooks/damaged-disk.md."},
	{CodeDataLost, codes.DataLoss, false, 0, "The messages at these offsets are damaged on the disk of every member. Those around them are readable.", "Follow docs/runbooks/damaged-disk.md. To go on without them, read from the offset that the message names."},
	{CodeDeliveryTooFar, codes.InvalidArgument, false, 0, "The delivery time of a message is more than 366 days ahead of the leader's clock.", "Choose an earlier time, or keep the message elsewhere until then."},
	{CodeTooManyDelayed, codes.ResourceExhausted, false, time.Second, "As many batches wait for their delivery time as limits.max_delayed allows, or 1,000,000.", "Wait until some are delivered, recall some, or raise the limit on every broker. Messages of one delivery time may share a batch."},
	{CodeNotWaiting, codes.FailedPrecondition, false, 0, "The message does not wait any more: it was delivered, it was recalled, or its topic was deleted.", "Nothing can be recalled any more; a consumer may have it."},
	{CodeTooManyOpen, codes.ResourceExhausted, false, time.Second, "As many transactions are open as limits.max_transactions allows, or 100,000.", "End some, wait until some are rolled back for their age, or raise the limit on every broker."},
	{CodeUnknownTransaction, codes.NotFound, false, 0, "No transaction of this handle is open, and none of the last 65,536 that ended had it; or its topic was deleted.", "Begin a new one if its messages are still to be sent."},
	{CodeTransactionEnded, codes.FailedPrecondition, false, 0, "The transaction has ended the other way: somebody else of its group did it, or it was rolled back for its age. The message says which.", "Go by what the message says; make transactions.expire_after longer if it was too short."},
	{CodeUnknownTransactionGroup, codes.FailedPrecondition, false, 0, "The transaction group was never registered here.", "Register it; the client library does."},
	{CodeInvalidHandle, codes.InvalidArgument, false, 0, "The handle is not one that an acknowledgement gave out.", "Use the handle as it came."},
	{CodeInvalidFilter, codes.InvalidArgument, false, 0, "The filter cannot be read, or is above a limit. The message names the column.", "Correct it: docs/filters.md has the language and its limits."},
	{CodeFilterTooCostly, codes.ResourceExhausted, false, 0, "A message would take more steps than one may to find out whether it matches the filter.", "Use a simpler filter, or go on behind the offset that the message names."},
	{CodeLimitExceeded, codes.ResourceExhausted, false, 0, "The request is above one of the broker's limits, which the message names. With retry_after it is what is there at the moment that is too much.", "Ask for less, or raise the limit; with retry_after: try again then."},
	{CodeInvalidGroupName, codes.InvalidArgument, false, 0, "The name of the consumer group is not 1 to 127 of a-z A-Z 0-9 . _ - or is \".\" or \"..\".", "Choose another name."},
	{CodeUnknownGroup, codes.NotFound, false, 0, "There is no consumer group of this name.", "Check the name: `broker admin group list`. A group comes to be when its first consumer joins."},
	{CodeGroupExists, codes.AlreadyExists, false, 0, "A consumer group of this name exists already.", "Use it, or choose another name."},
	{CodeGroupNotEmpty, codes.FailedPrecondition, false, 0, "The consumer group has members, or its consumers hold messages that are not done.", "Stop its consumers first, or say that it is to be done all the same."},
	{CodeGroupMismatch, codes.FailedPrecondition, false, 0, "The request does not fit the consumer group: its queues are given out in another way, it is a broadcast group, which keeps no progress, or a work-queue group, whose messages are received and acknowledged one by one, or is none.", "See `broker admin group describe`."},
	{CodeUnknownSession, codes.NotFound, false, 0, "The leader does not know the session of this consumer: it was silent for too long, or another broker leads now.", "Join again, with the queues that are owned. Clients of ours do it by themselves."},
	{CodeStaleGeneration, codes.FailedPrecondition, false, 0, "The queue was given to another consumer, or its group was reset, since this one was given it: the commit would undo what happened meanwhile.", "Drop what was fetched of the queue and follow the newest assignment. Clients of ours do it by themselves."},
	{CodeReceiptExpired, codes.FailedPrecondition, false, 0, "The receipt of a message is not valid any more: its lease ended and the message was given to another consumer, or is done, or its group was reset.", "Drop the message: whoever has it now says what becomes of it. Receive with a longer invisible time, or extend it while working."},
	{CodeTooManyInFlight, codes.ResourceExhausted, false, 100 * time.Millisecond, "There are messages, but the group's consumers hold as many as they may, or wait for as many.", "Acknowledge what is finished. A message group with thousands of messages behind one that fails holds up its queue, too."},
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

// fullf says that a limit is reached by what is there at the moment, so that the same
// request may go through a little later.
func fullf(format string, args ...any) *Error {
	e := errorf(CodeLimitExceeded, format, args...)
	e.RetryAfter = 100 * time.Millisecond
	return e
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
