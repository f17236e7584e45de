package history

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
	// Recall drops a message that waits for its delivery time.
	Recall Kind = "recall"
	// End ends a transaction.
	End Kind = "end"
	// Receive takes messages of one queue for a consumer group, each for itself and for a
	// while, Ack says that such a message is done with, and Dead reads the group's dead letters.
	Receive Kind = "receive"
	Ack     Kind = "ack"
	Dead    Kind = "dead"
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
	// Number is the one under which the producer sent it in that epoch to that queue, from
	// 1; 0: not known, and Sequence stands for it.
	Number int64
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
	// Group is the consumer group of Commit, Progress, Receive, Ack and Dead, and of a Pull
	// by a member of one.
	Group string
	// Reset of a Commit: the group was deliberately set back.
	Reset bool
	// Within of a Heal: from then on, everything acknowledged must be pulled within so
	// many ns of its acknowledgement. 0: that is not checked.
	Within int64
	// Due of a Send is when the message may be delivered, on the same clock; 0: at once.
	Due int64
	// Transaction names the one that a Send is a half message of, or that an End ends.
	Transaction string
	// Commits of an End: by commit, not by rollback.
	Commits bool
	// Fifo is the message group of a Send: a work queue gives out its messages one by one.
	Fifo string
	// Since of a Pull by a member of a group is before the member was given the queue.
	Since int64
	// Grant of a Commit is the epoch under which the queue was given to the client; 0: not known.
	Grant uint64
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
	Number   int64     `json:"number,omitempty"`
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

	Due         int64  `json:"due,omitempty"`
	Transaction string `json:"transaction,omitempty"`
	Commits     bool   `json:"commits,omitempty"`
	Fifo        string `json:"fifo,omitempty"`
	Since       int64  `json:"since,omitempty"`
	Grant       uint64 `json:"grant,omitempty"`
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
		Client: o.Client, Op: o.Op, Topic: o.Topic, Queue: o.Queue, Value: o.Value, Producer: o.Producer, Epoch: o.Epoch, Number: o.Number,
		Sequence: known(o.Sequence), Invoke: o.Invoke, Complete: o.Complete, Outcome: o.Outcome, Offset: known(o.Offset),
		Index: known(o.Index), Term: known(o.Term), Seek: o.Seek, Messages: o.Messages, Member: o.Member,
		First: o.First, End: o.End, Group: o.Group, Reset: o.Reset, Within: o.Within,
		Due: o.Due, Transaction: o.Transaction, Commits: o.Commits, Fifo: o.Fifo, Since: o.Since, Grant: o.Grant,
	}
}

func (l *line) operation() Operation {
	return Operation{
		Client: l.Client, Op: l.Op, Topic: l.Topic, Queue: l.Queue, Value: l.Value, Producer: l.Producer, Epoch: l.Epoch, Number: l.Number,
		Sequence: orUnknown(l.Sequence), Invoke: l.Invoke, Complete: l.Complete, Outcome: l.Outcome, Offset: orUnknown(l.Offset),
		Index: orUnknown(l.Index), Term: orUnknown(l.Term), Seek: l.Seek, Messages: l.Messages, Member: l.Member,
		First: l.First, End: l.End, Group: l.Group, Reset: l.Reset, Within: l.Within,
		Due: l.Due, Transaction: l.Transaction, Commits: l.Commits, Fifo: l.Fifo, Since: l.Since, Grant: l.Grant,
	}
}
