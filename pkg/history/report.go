package history

import "fmt"

// Class names a kind of anomaly.
type Class string

// The classes, each with the rule that it breaks (docs/format/history.md).
const (
	// InconsistentOffset: one offset of a queue was acknowledged or read with two values.
	InconsistentOffset Class = "inconsistent-offset"
	// Duplicate: one value was read at two offsets.
	Duplicate Class = "duplicate"
	// Misplaced: an acknowledged value was read, but not at the offset of its acknowledgement.
	Misplaced Class = "misplaced"
	// LostPrefix, LostMiddle, LostPostfix: an acknowledged value is not there; below,
	// between or above the acknowledged ones that are.
	LostPrefix  Class = "lost-prefix"
	LostMiddle  Class = "lost-middle"
	LostPostfix Class = "lost-postfix"
	// Vanished: a value whose outcome is not known was read and later is not there.
	Vanished Class = "vanished"
	// Aborted: a value was read whose send certainly failed.
	Aborted Class = "aborted"
	// Phantom: a value was read that nobody had sent to this queue by then.
	Phantom Class = "phantom"
	// Skip, StepBack: a consumer's next message is not the next offset.
	Skip     Class = "skip"
	StepBack Class = "step-back"
	// ProducerOrder: values of one producer are not stored in the order of its sends.
	ProducerOrder Class = "producer-order"
	// RealTime: a send that began after another's acknowledgement has the lower offset.
	RealTime Class = "real-time"
	// ProgressBack: a consumer group's progress was told lower than it had been known to be.
	ProgressBack Class = "progress-back"
	// ProgressPhantom: a consumer group's progress was told that nobody had stored.
	ProgressPhantom Class = "progress-phantom"
	// DrainGap: a member's copy has a hole.
	DrainGap Class = "drain-gap"
	// DrainDiffers: two members' copies differ in a value or in their range.
	DrainDiffers Class = "drain-differs"
	// SequenceConflict: one (producer, epoch, sequence) of a queue was acknowledged twice.
	SequenceConflict Class = "sequence-conflict"
	// Unseen: an acknowledged value was not pulled in time after the faults were over.
	Unseen Class = "unseen"
	// CommittedAgain: a member of a group was given what was committed before it began.
	CommittedAgain Class = "committed-again"
	// TwoOwners: two clients committed under one grant of a queue.
	TwoOwners Class = "two-owners"
	// GroupMissed: a group is past a message that none of its members was given.
	GroupMissed Class = "group-missed"
	// Early: a delayed value was read before its time.
	Early Class = "early"
	// Recalled: a value was read whose recall had been answered.
	Recalled Class = "recalled"
	// HalfVisible: a value was read whose transaction nobody had committed by then.
	HalfVisible Class = "half-visible"
	// RolledBack: a value was read whose transaction was rolled back.
	RolledBack Class = "rolled-back"
	// TwoEnds: one transaction was committed and rolled back.
	TwoEnds Class = "two-ends"
	// Torn: some messages of a transaction are there and others are not.
	Torn Class = "torn"
	// AckedAgain: a message was received whose acknowledgement had been answered.
	AckedAgain Class = "acked-again"
	// WorkLost: a group is past a message that is neither acknowledged nor a dead letter.
	WorkLost Class = "work-lost"
	// AttemptsBack: a message was received with fewer attempts than before.
	AttemptsBack Class = "attempts-back"
	// FifoOrder: a message was received before an earlier one of its message group was done with.
	FifoOrder Class = "fifo-order"
)

// Classes lists all classes in the order in which they are printed.
func Classes() []Class {
	return []Class{
		LostPrefix, LostMiddle, LostPostfix, Vanished, Duplicate, SequenceConflict, ProducerOrder, RealTime, Skip, StepBack,
		Phantom, Aborted, InconsistentOffset, Misplaced, DrainGap, DrainDiffers, ProgressBack, ProgressPhantom, Unseen,
		CommittedAgain, TwoOwners, GroupMissed, Early, Recalled, HalfVisible, RolledBack, TwoEnds, Torn,
		AckedAgain, WorkLost, AttemptsBack, FifoOrder,
	}
}

// MaxExamples is how many anomalies of each class a Report describes.
const MaxExamples = 10

// Anomaly is one broken promise.
type Anomaly struct {
	Class  Class  `json:"class"`
	Topic  string `json:"topic"`
	Queue  int    `json:"queue"`
	Offset int64  `json:"offset"` // Unknown where it has none
	Value  string `json:"value,omitempty"`
	Detail string `json:"detail"`
}

// String tells where and what.
func (a Anomaly) String() string {
	return fmt.Sprintf("%s: %s/%d offset %d %s: %s", a.Class, a.Topic, a.Queue, a.Offset, a.Value, a.Detail)
}

// Report is what a Checker found.
type Report struct {
	// Sends by outcome.
	Acked  int `json:"acked"`
	Failed int `json:"failed"`
	Info   int `json:"info"`
	// InfoFound are sends of unknown outcome that were found stored.
	InfoFound int `json:"info_found"`
	// Pulled, Received and Drained count messages.
	Pulled   int `json:"pulled"`
	Received int `json:"received"`
	Drained  int `json:"drained"`
	// Delayed and Recalled are acknowledged sends with a delivery time, and those of them
	// whose recall was answered; Committed and RolledBack are transactions that surely ended so.
	Delayed    int `json:"delayed"`
	Recalled   int `json:"recalled"`
	Committed  int `json:"committed"`
	RolledBack int `json:"rolled_back"`
	// HandOvers counts how often a member of a consumer group began to read a queue after
	// another had, and Again the messages that members were given after a member of the
	// same group had been: what was given and not committed comes again at a hand-over.
	HandOvers int `json:"hand_overs"`
	Again     int `json:"again"`
	// Copies is the least number of members whose copy of a queue was compared; 0 when
	// some queue was not drained at all.
	Copies int `json:"copies"`
	// Unjudged are acknowledged values of which the history does not tell whether they
	// are there: nobody read so far. It is no anomaly, but it is no proof either.
	Unjudged int `json:"unjudged"`
	// Anomalies counts by class; classes without any are left out.
	Anomalies map[Class]int `json:"anomalies"`
	// Examples are at most MaxExamples of each class.
	Examples []Anomaly `json:"examples,omitempty"`
}

// Clean tells that there is no anomaly.
func (r *Report) Clean() bool { return len(r.Anomalies) == 0 }

// Sum adds the counts of some classes.
func (r *Report) Sum(classes ...Class) int {
	n := 0
	for _, c := range classes {
		n += r.Anomalies[c]
	}
	return n
}

// Lost counts acknowledged or delivered values that are not there, or that a group was not given.
func (r *Report) Lost() int {
	return r.Sum(LostPrefix, LostMiddle, LostPostfix, Vanished, GroupMissed, WorkLost)
}

// Doubled counts values and sequences that are there twice.
func (r *Report) Doubled() int { return r.Sum(Duplicate, SequenceConflict) }

// OutOfOrder counts values and deliveries that are not in their order.
func (r *Report) OutOfOrder() int {
	return r.Sum(ProducerOrder, RealTime, Skip, StepBack, FifoOrder)
}

// Phantoms counts values that should not be there.
func (r *Report) Phantoms() int {
	return r.Sum(Phantom, Aborted, Recalled, HalfVisible, RolledBack)
}

// Other counts everything else.
func (r *Report) Other() int {
	n := 0
	for _, count := range r.Anomalies {
		n += count
	}
	return n - r.Lost() - r.Doubled() - r.OutOfOrder() - r.Phantoms()
}

func (r *Report) add(a Anomaly) {
	r.Anomalies[a.Class]++
	if r.Anomalies[a.Class] <= MaxExamples {
		r.Examples = append(r.Examples, a)
	}
}
