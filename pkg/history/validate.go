package history

import (
	"errors"
	"fmt"
)

// validate refuses what no client can have seen: such a history proves nothing.
func (o *Operation) validate() error {
	switch {
	case o.Outcome != OK && o.Outcome != Fail && o.Outcome != Info:
		return fmt.Errorf("outcome %q is none of ok, fail, info", o.Outcome)
	case o.Invoke < 0 || o.Complete < o.Invoke:
		return fmt.Errorf("completed at %d, invoked at %d", o.Complete, o.Invoke)
	case o.Queue < 0 || o.Offset < Unknown || o.Index < Unknown || o.Term < Unknown || o.Sequence < Unknown || o.Number < 0 || o.Within < 0 || o.Due < 0:
		return errors.New("a number is negative")
	case o.Since < 0 || o.Since > o.Invoke:
		return fmt.Errorf("invoked at %d, with a queue that the client was given after %d", o.Invoke, o.Since)
	case o.Op != Heal && (o.Client == "" || o.Topic == ""):
		return errors.New("client or topic is missing")
	case len(o.Messages) > 0 && (o.Outcome != OK || o.Op != Pull && o.Op != Drain && o.Op != Receive && o.Op != Dead):
		return errors.New("only a pull, receive, dead or drain that went well has messages")
	}
	for _, m := range o.Messages {
		if m.Offset < 0 || m.Attempt < 0 || m.Attempt > 0 && o.Op != Receive {
			return fmt.Errorf("message at offset %d with attempt %d; only a receive has attempts", m.Offset, m.Attempt)
		}
	}
	return o.validateKind()
}

func (o *Operation) validateKind() error {
	switch o.Op {
	case Send, Recall:
		if o.Value == "" {
			return fmt.Errorf("a %s has no value", o.Op)
		}
		if o.Due > 0 && o.Transaction != "" {
			return errors.New("a send has a delivery time and a transaction")
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
	case Commit, Progress, Ack:
		if o.Group == "" || o.Offset == Unknown && (o.Op != Progress || o.Outcome == OK) {
			return fmt.Errorf("a %s names a group and an offset", o.Op)
		}
	case Receive, Dead:
		if o.Group == "" {
			return fmt.Errorf("a %s names a group", o.Op)
		}
	case End:
		if o.Transaction == "" {
			return errors.New("an end names a transaction")
		}
	case Pull, Heal:
	default:
		return fmt.Errorf("op %q is none of send, pull, commit, progress, drain, heal, recall, end, receive, ack, dead", o.Op)
	}
	return nil
}
