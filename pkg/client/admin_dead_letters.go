package client

import (
	"context"
	"time"

	"google.golang.org/grpc"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// CreateWorkGroup makes a work-queue group. Error: ErrGroupExists.
func (a *Admin) CreateWorkGroup(ctx context.Context, name string, policy WorkPolicy) error {
	req := &brokerv1.CreateGroupRequest{
		Name: name, Assignment: brokerv1.GroupAssignment_GROUP_ASSIGNMENT_WORK, Work: policy.withDefaults().proto(), RequestId: newRequestID(),
	}
	return a.groupCall(ctx, harmless, func(ctx context.Context, s brokerv1.GroupServiceClient) error {
		_, err := s.CreateGroup(ctx, req)
		return err
	})
}

// DeadLetter is a message that a work-queue group was given in vain too often. Its headers
// dlq.topic, dlq.queue, dlq.offset, dlq.group, dlq.attempts, dlq.reason and dlq.time say
// where it comes from; its Offset is that among the dead letters.
type DeadLetter struct {
	Message
	// Redriven is set when it was put back before.
	Redriven bool
}

// Origin is where the message was: its topic, and queue and offset as text.
func (d *DeadLetter) Origin() (topic, queue, offset string) {
	return d.Header("dlq.topic"), d.Header("dlq.queue"), d.Header("dlq.offset")
}

// Header returns the value of a header, empty if there is none.
func (d *DeadLetter) Header(key string) string {
	for _, h := range d.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// DeadLetterPage is some dead letters of a group.
type DeadLetterPage struct {
	Letters []DeadLetter
	// Next is where the next page begins, End behind the last dead letter.
	Next, End int64
}

// DeadLetters reads up to limit (at most 1,024) dead letters of a group from an offset on;
// with redriven also those that were put back. A group that never had any has none.
func (a *Admin) DeadLetters(ctx context.Context, group string, from int64, limit int, redriven bool) (page DeadLetterPage, err error) {
	req := &brokerv1.ListDeadLettersRequest{Group: group, Offset: from, Limit: int32(min(limit, maxReceive)), Redriven: redriven}
	err = a.workCall(ctx, reading, func(ctx context.Context, s brokerv1.WorkServiceClient) error {
		resp, err := s.ListDeadLetters(ctx, req)
		page = DeadLetterPage{Next: resp.GetNextOffset(), End: resp.GetEndOffset()}
		for _, l := range resp.GetLetters() {
			page.Letters = append(page.Letters, DeadLetter{Message: fromWork("%DLQ%"+group, l.GetMessage()), Redriven: l.GetRedriven()})
		}
		return err
	})
	return page, err
}

// Redriven is what became of a dead letter that was to be put back.
type Redriven struct {
	// Offset is that of the dead letter, Topic and Queue where it goes.
	Offset int64
	Topic  string
	Queue  int
	// NewOffset is that of the message in its queue; -1: see the rest.
	NewOffset int64
	// Before is set when it had been put back before.
	Before bool
	// Err is why it was not; nil: it was, or would be.
	Err error
}

// RedriveDeadLetters puts dead letters (at most 256) back at the end of the queues that they
// came from; with dryRun it says what that would do. Each is put back once, however often
// that is asked for, and whoever leads: one that was is told as Before.
func (a *Admin) RedriveDeadLetters(ctx context.Context, group string, offsets []int64, dryRun bool) (results []Redriven, err error) {
	req := &brokerv1.RedriveDeadLettersRequest{Group: group, Offsets: offsets, DryRun: dryRun}
	err = a.workCall(ctx, harmlessOr(dryRun), func(ctx context.Context, s brokerv1.WorkServiceClient) error {
		resp, err := s.RedriveDeadLetters(ctx, req)
		results = nil
		for _, r := range resp.GetResults() {
			out := Redriven{Offset: r.GetOffset(), Topic: r.GetTopic(), Queue: int(r.GetQueue()), NewOffset: r.GetNewOffset(), Before: r.GetBefore()}
			if e := fromDetail(r.GetError()); e != nil {
				out.Err = e
			}
			results = append(results, out)
		}
		return err
	})
	return results, err
}

func (a *Admin) workCall(ctx context.Context, again repeat, do func(context.Context, brokerv1.WorkServiceClient) error) error {
	return a.c.invoke(ctx, again, func(ctx context.Context, cc grpc.ClientConnInterface) error {
		return do(ctx, brokerv1.NewWorkServiceClient(cc))
	})
}

// DeadAt is when the message became a dead letter; zero if it does not say.
func (d *DeadLetter) DeadAt() time.Time {
	at, err := time.Parse(time.RFC3339Nano, d.Header("dlq.time"))
	if err != nil {
		return time.Time{}
	}
	return at
}
