package history

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Kind says what a client did.
type Kind string

// The kinds of operations.
const (
	// Send publishes one message.
	Send Kind = "send"
	// Pull takes messages of one queue.
	Pull Kind = "pull"
	// Commit stores the progress of a consumer group in a queue.
	Commit Kind = "commit"
	// Progress asks how far a consumer group is in a queue.
	Progress Kind = "progress"
	// Drain reads a queue out of one member's own copy at the end of a run. One copy
	// may be spread over many lines.
	Drain Kind = "drain"
	// Heal says that all faults are over, at its Complete.
	Heal Kind = "heal"
)

// Outcome says what a client knows of what it asked for.
type Outcome string

// The outcomes.
const (
	// OK: it happened.
	OK Outcome = "ok"
	// Fail: it certainly did not happen.
	Fail Outcome = "fail"
	// Info: it may have happened, once.
	Info Outcome = "info"
)

// Unknown stands in a number of an Operation that the client was not told.
const Unknown int64 = -1

// Message is one message that came out of a queue.
type Message struct {
	Offset int64
	Value  string
}

// MarshalJSON writes [offset, "value"].
func (m Message) MarshalJSON() ([]byte, error) { return json.Marshal([2]any{m.Offset, m.Value}) }

// UnmarshalJSON reads [offset, "value"].
func (m *Message) UnmarshalJSON(b []byte) error {
	var pair []json.RawMessage
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return fmt.Errorf("a message is [offset, value], not %d elements", len(pair))
	}
	if err := json.Unmarshal(pair[0], &m.Offset); err != nil {
		return err
	}
	return json.Unmarshal(pair[1], &m.Value)
}

// Operation is one line of a history.
type Operation struct {
	// Client names who did it. What one name sends to a queue is sent in the order of
	// Sequence, or of Invoke where that is unknown; what one name pulls, in that of Invoke.
	Client string
	Op     Kind
	Topic  string
	Queue  int
	// Invoke and Complete are ns on one monotonic clock of one machine, from 0. An
	// operation that had no answer is Info, with any Complete not before Invoke.
	Invoke, Complete int64
	Outcome          Outcome

	// Value of a Send is unique in the history.
	Value string
	// Producer, Epoch identify an idempotent producer, where the client knows them; Producer 0: not known.
	Producer uint64
	Epoch    uint32
	// Sequence numbers the sends of one client to one queue, or Unknown.
	Sequence int64
	// Offset of a Send: where the message was acknowledged to be. Of a Pull: what was
	// asked for. Of Commit and Progress: the offset stored or told. Or Unknown.
	Offset int64
	// Index and Term of the ledger's entry that holds a sent message, or Unknown.
	Index, Term int64
	// Seek of a Pull: the client itself chose another position than the one it had come to.
	Seek bool
	// Messages of a Pull or Drain, in the order in which they came.
	Messages []Message
	// Member whose copy a Drain reads, and the offsets that this copy says it holds:
	// First up to but not including End.
	Member     string
	First, End int64
	// Group is the consumer group of Commit and Progress.
	Group string
	// Reset of a Commit: the group was deliberately set back.
	Reset bool
	// Within of a Heal: from then on, everything acknowledged must be pulled within so
	// many ns of its acknowledgement. 0: that is not checked.
	Within int64
}

// line is an Operation as it stands in a file: numbers that are unknown are left out.
type line struct {
	Client   string    `json:"client,omitempty"`
	Op       Kind      `json:"op"`
	Topic    string    `json:"topic,omitempty"`
	Queue    int       `json:"queue,omitempty"`
	Value    string    `json:"value,omitempty"`
	Producer uint64    `json:"producer,omitempty"`
	Epoch    uint32    `json:"epoch,omitempty"`
	Sequence *int64    `json:"seq,omitempty"`
	Invoke   int64     `json:"invoke"`
	Complete int64     `json:"complete"`
	Outcome  Outcome   `json:"outcome"`
	Offset   *int64    `json:"offset,omitempty"`
	Index    *int64    `json:"index,omitempty"`
	Term     *int64    `json:"term,omitempty"`
	Seek     bool      `json:"seek,omitempty"`
	Messages []Message `json:"messages,omitempty"`
	Member   string    `json:"member,omitempty"`
	First    int64     `json:"first,omitempty"`
	End      int64     `json:"end,omitempty"`
	Group    string    `json:"group,omitempty"`
	Reset    bool      `json:"reset,omitempty"`
	Within   int64     `json:"within,omitempty"`
}

func known(n int64) *int64 {
	if n == Unknown {
		return nil
	}
	return &n
}

func orUnknown(n *int64) int64 {
	if n == nil {
		return Unknown
	}
	return *n
}

func (o *Operation) line() line {
	return line{
		Client: o.Client, Op: o.Op, Topic: o.Topic, Queue: o.Queue, Value: o.Value, Producer: o.Producer, Epoch: o.Epoch,
		Sequence: known(o.Sequence), Invoke: o.Invoke, Complete: o.Complete, Outcome: o.Outcome, Offset: known(o.Offset),
		Index: known(o.Index), Term: known(o.Term), Seek: o.Seek, Messages: o.Messages, Member: o.Member,
		First: o.First, End: o.End, Group: o.Group, Reset: o.Reset, Within: o.Within,
	}
}

func (l *line) operation() Operation {
	return Operation{
		Client: l.Client, Op: l.Op, Topic: l.Topic, Queue: l.Queue, Value: l.Value, Producer: l.Producer, Epoch: l.Epoch,
		Sequence: orUnknown(l.Sequence), Invoke: l.Invoke, Complete: l.Complete, Outcome: l.Outcome, Offset: orUnknown(l.Offset),
		Index: orUnknown(l.Index), Term: orUnknown(l.Term), Seek: l.Seek, Messages: l.Messages, Member: l.Member,
		First: l.First, End: l.End, Group: l.Group, Reset: l.Reset, Within: l.Within,
	}
}

// validate refuses what no client can have seen: such a history proves nothing.
func (o *Operation) validate() error {
	switch {
	case o.Outcome != OK && o.Outcome != Fail && o.Outcome != Info:
		return fmt.Errorf("outcome %q is none of ok, fail, info", o.Outcome)
	case o.Invoke < 0 || o.Complete < o.Invoke:
		return fmt.Errorf("completed at %d, invoked at %d", o.Complete, o.Invoke)
	case o.Queue < 0 || o.Offset < Unknown || o.Index < Unknown || o.Term < Unknown || o.Sequence < Unknown || o.Within < 0:
		return errors.New("a number is negative")
	case o.Op != Heal && (o.Client == "" || o.Topic == ""):
		return errors.New("client or topic is missing")
	case len(o.Messages) > 0 && (o.Outcome != OK || o.Op != Pull && o.Op != Drain):
		return errors.New("only a pull or a drain that went well has messages")
	}
	return o.validateKind()
}

func (o *Operation) validateKind() error {
	switch o.Op {
	case Send:
		if o.Value == "" {
			return errors.New("a send has no value")
		}
	case Pull:
		for _, m := range o.Messages {
			if m.Offset < 0 {
				return fmt.Errorf("message at offset %d", m.Offset)
			}
		}
	case Drain:
		if o.Member == "" || o.First < 0 || o.End < o.First {
			return errors.New("a drain names a member and the range that it holds")
		}
		for _, m := range o.Messages {
			if m.Offset < o.First || m.Offset >= o.End {
				return fmt.Errorf("drained offset %d lies outside of %d to %d", m.Offset, o.First, o.End)
			}
		}
	case Commit, Progress:
		if o.Group == "" || o.Offset == Unknown && (o.Op == Commit || o.Outcome == OK) {
			return fmt.Errorf("a %s names a group and an offset", o.Op)
		}
	case Heal:
	default:
		return fmt.Errorf("op %q is none of send, pull, commit, progress, drain, heal", o.Op)
	}
	return nil
}
