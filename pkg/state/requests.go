package state

import (
	"encoding/binary"
	"fmt"
	"strconv"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

// requests remembers the outcomes of the last commands that came with a request
// id, so that a client's retry finds what its first try did.
type requests struct {
	outcomes map[string]Outcome // by request
	order    []requestAt        // oldest first, from head on
	head     int
}

type requestAt struct {
	index   Index
	request string
}

func (r *requests) len() int { return len(r.order) - r.head }

// find returns the outcome of the request's first try.
func (r *requests) find(request string) (Outcome, bool) {
	o, ok := r.outcomes[request]
	if !ok {
		return Outcome{}, false
	}
	o.Duplicate = true
	o.Message = ""
	if o.Code != CodeOK {
		o.Message = "an earlier try of the same request ended like this"
	}
	return o, true
}

// add remembers an outcome and says which older one is forgotten for it.
func (r *requests) add(index Index, request string, o Outcome) (forgotten Index, full bool) {
	if r.outcomes == nil {
		r.outcomes = make(map[string]Outcome)
	}
	o.TopicGone, o.Group, o.Progress, o.Digest = false, nil, nil, 0 // not stored: a restart must make no difference
	r.outcomes[request] = o
	r.order = append(r.order, requestAt{index, request})
	if r.len() <= RequestMemory {
		return 0, false
	}
	oldest := r.order[r.head]
	delete(r.outcomes, oldest.request)
	r.order[r.head] = requestAt{}
	r.head++
	if r.head == RequestMemory {
		r.order = append([]requestAt(nil), r.order[r.head:]...)
		r.head = 0
	}
	return oldest.index, true
}

// groupRequestOf is requestOf for the commands of consumer groups. A reset does not name
// its offsets: a retry that moves by so many messages would find others.
func groupRequestOf(command *recordv1.Command) string {
	id := command.GetRequestId()
	switch kind := command.GetKind().(type) {
	case *recordv1.Command_CreateGroup:
		if validTopicName(kind.CreateGroup.GetName()) {
			return fmt.Sprintf("create-group %s %s %s", kind.CreateGroup.GetName(), assignmentOf(kind.CreateGroup), id)
		}
	case *recordv1.Command_DeleteGroup:
		if validTopicName(kind.DeleteGroup.GetName()) {
			return fmt.Sprintf("delete-group %s %s", kind.DeleteGroup.GetName(), id)
		}
	case *recordv1.Command_PauseGroup:
		if validTopicName(kind.PauseGroup.GetName()) {
			return fmt.Sprintf("pause-group %s %t %s", kind.PauseGroup.GetName(), kind.PauseGroup.GetPaused(), id)
		}
	case *recordv1.Command_ResetProgress:
		return fmt.Sprintf("reset-group %d %s", kind.ResetProgress.GetGroupId(), id)
	}
	return ""
}

// assignmentOf is the assignment of a group that is to be made, with its policy if it has one.
func assignmentOf(c *recordv1.CreateGroup) string {
	text := strconv.FormatUint(uint64(c.GetAssignment()), 10)
	if p := c.GetWork(); p != nil {
		text += fmt.Sprintf(" %d %d %d %t", p.GetMaxAttempts(), p.GetBackoffMinMs(), p.GetBackoffMaxMs(), p.GetFifo())
	}
	return text
}

// appendRequest encodes all but the message: texts may differ between builds, the
// state may not.
func appendRequest(b []byte, request string, o Outcome) []byte {
	b = append(b, valueVersion)
	b = appendText(b, request)
	b = appendText(b, o.Code)
	b = binary.AppendUvarint(b, o.ProducerID)
	b = binary.AppendUvarint(b, uint64(o.Epoch))
	if o.Topic == nil {
		return append(b, 0)
	}
	b = append(b, 1)
	b = appendText(b, o.Topic.Name)
	return o.Topic.append(b)
}

func parseRequest(b []byte) (request string, o Outcome, err error) {
	r := valueReader{b: b}
	r.version()
	request = r.text()
	o = Outcome{BaseOffset: NoOffset, Code: r.text(), ProducerID: r.uvarint(), Epoch: r.uint32()}
	if r.uvarint() == 0 {
		return request, o, r.end()
	}
	name := r.text()
	if r.bad {
		return "", Outcome{}, errValue
	}
	o.Topic, err = parseTopic(name, r.b)
	return request, o, err
}
