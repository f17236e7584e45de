package client

import (
	"context"
	"time"

	"google.golang.org/grpc"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// Trace is all that the ledger and the leader know of a message.
type Trace struct {
	Topic string
	Queue int
	// Offset is -1 while the message waits, and when it was rolled back.
	Offset int64
	// Waiting is what it waits for; nil: it does not wait. RolledBack: its transaction was,
	// and nothing else is known of it.
	Waiting    *TracedWaiting
	RolledBack bool

	// What its sender said. Readable is false when its batch is damaged: then only this
	// part is missing.
	Readable     bool
	Key          []byte
	ID           string
	Tag          string
	MessageGroup string
	Timestamp    time.Time
	// ValueBytes is the size of its value, Size that of key, value and headers.
	ValueBytes, Size int64

	// Where its batch is stored: LedgerIndex and Term of the entry, when the leader took it,
	// how many bytes and messages it has, and which of them this one is, from 0.
	LedgerIndex     int64
	Term            int64
	AppendTime      time.Time
	BatchBytes      int64
	Records, Record int
	Compression     string
	// Carried says that the entry is a copy of the one that brought the message, made while
	// it waited.
	Carried bool
	// Copies are the members known to have it on disk. SegmentFirst and SegmentLast are the
	// entries of the leader's segment that has it; the last is -1 while the segment grows.
	Copies                    []string
	SegmentFirst, SegmentLast int64

	// Who sent it. Without ProducerID the producer was not idempotent.
	ProducerID   uint64
	ProducerName string
	Epoch        uint32
	Sequence     int64

	// Delivery is how it got its offset, if it had to wait for it; else nil.
	Delivery *TracedDelivery
	// Groups are the consumer groups that read its queue; GroupsLeftOff more are not listed.
	Groups        []TracedGroup
	GroupsLeftOff int
}

// TracedWaiting is what a message waits for: the time Due, or, if that is zero, the end of a
// transaction of a group.
type TracedWaiting struct {
	Due              time.Time
	TransactionGroup uint32
}

// TracedDelivery is the entry that gave a message its offset, because its time Due had
// come, or because it commits the transaction of a group (then Due is zero).
type TracedDelivery struct {
	LedgerIndex      int64
	Time             time.Time
	Due              time.Time
	TransactionGroup uint32
}

// TracedGroup is how a consumer group stands to a message.
type TracedGroup struct {
	Group string
	// Offset is the next message that it wants; -1: it never said. Past: it is beyond this
	// one, since Committed at the latest.
	Offset    int64
	Past      bool
	Committed time.Time
	// Owner has the queue now; empty: nobody.
	Owner  string
	Paused bool
	// Work is set for a work-queue group: Past says that this very message is done.
	Work bool
	// Attempts is how often the message was delivered in vain, VisibleAt when it may be
	// delivered again.
	Attempts  int
	VisibleAt time.Time
	// LeasedUntil is when the lease of the consumer that has it ends; zero: nobody has.
	LeasedUntil time.Time
}

// Trace tells what is known of a message. Errors: ErrUnknownTopic, ErrUnknownQueue,
// ErrOffsetTooLow, ErrOffsetTooHigh.
func (a *Admin) Trace(ctx context.Context, topic string, queue int, offset int64) (*Trace, error) {
	if queue < 0 || queue > 1<<30 {
		return nil, errorf(CodeUnknownQueue, "topic %q has no queue %d", topic, queue)
	}
	return a.trace(ctx, &brokerv1.TraceMessageRequest{Topic: topic, Queue: uint32(queue), Offset: offset})
}

// TraceHandle tells what is known of a message that waits for its delivery time or for the
// end of its transaction, or whose transaction has ended. Errors: ErrNotWaiting, ErrInvalidHandle.
func (a *Admin) TraceHandle(ctx context.Context, handle string) (*Trace, error) {
	if handle == "" {
		return nil, errorf(CodeInvalidHandle, "there is no handle")
	}
	return a.trace(ctx, &brokerv1.TraceMessageRequest{Handle: handle})
}

func (a *Admin) trace(ctx context.Context, request *brokerv1.TraceMessageRequest) (trace *Trace, err error) {
	err = a.c.invoke(ctx, reading, func(ctx context.Context, cc grpc.ClientConnInterface) error {
		resp, err := brokerv1.NewQueryServiceClient(cc).TraceMessage(ctx, request)
		trace = toTrace(resp)
		return err
	})
	return trace, err
}

func toTrace(r *brokerv1.TraceMessageResponse) *Trace {
	m, b := r.GetMessage(), r.GetBatch()
	t := &Trace{
		Topic: r.GetTopic(), Queue: int(r.GetQueue()), Offset: r.GetOffset(),
		Readable: m != nil, ID: m.GetMessageId(), Tag: m.GetTag(), MessageGroup: m.GetMessageGroup(), Timestamp: timeOf(m.GetTimestampUnixMs()),
		ValueBytes: m.GetValueBytes(), Size: m.GetSizeBytes(),
		LedgerIndex: b.GetLedgerIndex(), Term: b.GetTerm(), AppendTime: timeOf(b.GetAppendTimeUnixMs()), BatchBytes: b.GetBytes(),
		Records: int(b.GetRecords()), Record: int(b.GetRecord()), Compression: b.GetCompression(), Carried: b.GetCarried(),
		Copies: r.GetCopies(), SegmentFirst: r.GetSegmentFirst(), SegmentLast: r.GetSegmentLast(),
		ProducerID: b.GetProducerId(), ProducerName: b.GetProducerName(), Epoch: b.GetProducerEpoch(), Sequence: b.GetSequence(),
		GroupsLeftOff: int(r.GetGroupsLeftOff()), RolledBack: r.GetRolledBack(),
	}
	if w := r.GetWaiting(); w != nil {
		t.Waiting = &TracedWaiting{Due: timeOf(w.GetDueUnixMs()), TransactionGroup: w.GetTransactionGroup()}
	}
	if m.GetHasKey() {
		t.Key = append([]byte{}, m.GetKey()...)
	}
	if d := r.GetDelivery(); d != nil {
		t.Delivery = &TracedDelivery{
			LedgerIndex: d.GetLedgerIndex(), Time: timeOf(d.GetTimeUnixMs()), Due: timeOf(d.GetDueUnixMs()), TransactionGroup: d.GetTransactionGroup(),
		}
	}
	for _, g := range r.GetGroups() {
		t.Groups = append(t.Groups, TracedGroup{
			Group: g.GetGroup(), Offset: g.GetOffset(), Past: g.GetPast(), Committed: timeOf(g.GetCommittedUnixMs()), Owner: g.GetOwner(), Paused: g.GetPaused(),
			Work: g.GetWork(), Attempts: int(g.GetAttempts()), VisibleAt: timeOf(g.GetVisibleAtUnixMs()), LeasedUntil: timeOf(g.GetLeasedUntilUnixMs()),
		})
	}
	return t
}

// timeOf is zero for 0.
func timeOf(unixMs int64) time.Time {
	if unixMs == 0 {
		return time.Time{}
	}
	return time.UnixMilli(unixMs)
}
