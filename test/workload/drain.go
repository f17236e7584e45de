package workload

import (
	"context"
	"fmt"
	"strings"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/history"
)

// drainChunk is how many messages stand in one line of a drain.
const drainChunk = 1000

// Drain reads one queue's copy from a member that leads, by its address, and returns what
// is to be written down if it still leads afterwards.
func Drain(ctx context.Context, now func() int64, member, addr, topic string, queue int) ([]history.Operation, error) {
	c, err := client.Dial(ctx, client.Config{Seeds: []string{addr}})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	in, err := c.Consumer(ctx, client.ConsumerConfig{Topic: topic, Queues: []int{queue}})
	if err != nil {
		return nil, err
	}
	ranges, err := in.Ranges(ctx)
	if err != nil {
		return nil, err
	}
	line := history.Operation{
		Op: history.Drain, Client: "drain", Topic: topic, Queue: queue, Outcome: history.OK, Member: member, First: ranges[0].First, End: ranges[0].End,
		Invoke: now(), Sequence: history.Unknown, Offset: history.Unknown, Index: history.Unknown, Term: history.Unknown,
	}
	var lines []history.Operation
	for at := line.First; at < line.End; {
		messages, err := in.Poll(ctx, drainChunk)
		if err != nil {
			return nil, fmt.Errorf("%s queue %d at offset %d of %d: %w", topic, queue, at, line.End, err)
		}
		o := line
		o.Complete = now()
		for _, m := range messages {
			if m.Offset < line.End {
				o.Messages = append(o.Messages, history.Message{Offset: m.Offset, Value: ValueOf(m)})
			}
			at = m.Offset + 1
		}
		lines = append(lines, o)
	}
	if lines == nil { // an empty copy is a copy
		line.Complete = now()
		lines = append(lines, line)
	}
	return lines, nil
}

// ValueOf takes the padding off a message.
func ValueOf(m client.Message) string {
	value, _, _ := strings.Cut(string(m.Value), " ")
	return value
}
