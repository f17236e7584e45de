package client

import (
	"context"
	"time"

	"google.golang.org/grpc"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// SetKeyIndex begins an index of a topic's keys and ids, which knows what is published
// from now on, or drops it. Error: ErrUnknownTopic.
func (a *Admin) SetKeyIndex(ctx context.Context, topic string, on bool) error {
	return a.c.invoke(ctx, harmless, func(ctx context.Context, cc grpc.ClientConnInterface) error {
		_, err := brokerv1.NewQueryServiceClient(cc).SetKeyIndex(ctx, &brokerv1.SetKeyIndexRequest{Topic: topic, On: on})
		return err
	})
}

// Search says which messages of a topic are wanted: those with a key, or those with an
// id that their sender gave them.
type Search struct {
	Topic string
	// Key, if it is not nil. Else ID.
	Key []byte
	ID  string
	// From and To are the times at which they were stored, From included; zero: no limit.
	From, To time.Time
	// Limit is how many messages are wanted at most; 0: 100.
	Limit int
}

// FoundMessage is where a message is.
type FoundMessage struct {
	Queue       int
	Offset      int64
	LedgerIndex int64
	AppendTime  time.Time
}

// Found is what a search came to.
type Found struct {
	// Messages stand in the order of queues and offsets.
	Messages []FoundMessage
	// Scanned is how many messages the brokers went through because no index knew of
	// them, Looked how many because an index said that they may be the ones.
	Scanned, Looked int64
	// More is set when the limit ended the search.
	More bool
}

// Find finds messages by key or id. With an index (CreateIndexedTopic, SetKeyIndex) that
// takes milliseconds; without one the brokers go through all messages of the time asked
// for, some tens of MiB per request, until ctx is done. Errors: ErrUnknownTopic.
func (a *Admin) Find(ctx context.Context, search Search) (*Found, error) {
	limit := search.Limit
	if limit == 0 {
		limit = 100
	}
	if limit < 0 || search.Key == nil && search.ID == "" || search.Key != nil && search.ID != "" {
		return nil, errorf(CodeInvalidConfig, "a search needs a key or an id, and a limit that is not negative")
	}
	request := &brokerv1.FindMessagesRequest{Topic: search.Topic, Wanted: &brokerv1.FindMessagesRequest_Key{Key: search.Key}}
	if search.Key == nil {
		request.Wanted = &brokerv1.FindMessagesRequest_MessageId{MessageId: search.ID}
	}
	if err := a.between(ctx, search, request); err != nil {
		return nil, err
	}
	found := &Found{}
	for len(found.Messages) < limit {
		request.Limit = uint32(min(limit-len(found.Messages), 1_000))
		resp, err := a.findSome(ctx, request)
		if err != nil {
			return nil, err
		}
		found.add(resp)
		if request.From = resp.GetNext(); len(request.From) == 0 {
			return found, nil
		}
	}
	found.More = true
	return found, nil
}

// between turns the times of a search into offsets.
func (a *Admin) between(ctx context.Context, search Search, request *brokerv1.FindMessagesRequest) error {
	if !search.From.IsZero() {
		found, err := a.FindOffsets(ctx, search.Topic, search.From)
		if err != nil {
			return err
		}
		for _, f := range found {
			request.From = append(request.From, &brokerv1.QueueAt{Queue: uint32(f.Queue), Offset: f.Offset})
		}
	}
	to := search.To
	if to.IsZero() {
		to = time.UnixMilli(1 << 53) // their ends
	}
	found, err := a.FindOffsets(ctx, search.Topic, to)
	for _, f := range found {
		request.To = append(request.To, &brokerv1.QueueAt{Queue: uint32(f.Queue), Offset: f.Offset})
	}
	return err
}

// findSome is one request; each has its own time.
func (a *Admin) findSome(ctx context.Context, request *brokerv1.FindMessagesRequest) (resp *brokerv1.FindMessagesResponse, err error) {
	err = a.c.invoke(ctx, reading, func(ctx context.Context, cc grpc.ClientConnInterface) error {
		var err error
		resp, err = brokerv1.NewQueryServiceClient(cc).FindMessages(ctx, request)
		return err
	})
	return resp, err
}

func (f *Found) add(resp *brokerv1.FindMessagesResponse) {
	for _, m := range resp.GetMessages() {
		f.Messages = append(f.Messages, FoundMessage{
			Queue: int(m.GetQueue()), Offset: m.GetOffset(), LedgerIndex: m.GetLedgerIndex(), AppendTime: time.UnixMilli(m.GetAppendTimeUnixMs()),
		})
	}
	f.Scanned += resp.GetScanned()
	f.Looked += resp.GetLooked()
}
