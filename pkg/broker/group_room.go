package broker

import (
	consumers "github.com/ledgermq/ledgermq/pkg/group"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// groupRoom bounds consumer groups and their progress, by what the leader sees before it
// proposes. As topicRoom it has no part in applying, and may let a few more through.
type groupRoom struct {
	store          *state.Store
	groups, queues int
}

// create makes sure that there is room for one more group.
func (r *groupRoom) create(name string) error {
	if _, exists := r.store.Group(name); exists {
		return nil
	}
	if groups, _ := r.store.GroupCounts(); groups >= r.groups {
		return errorf(CodeLimitExceeded, "consumer group %q was not created: there are %d groups, and limits.max_groups is %d", name, groups, r.groups)
	}
	return nil
}

// grant makes sure that there is room for the progress in queues.
func (r *groupRoom) grant(id uint64, grants []consumers.Grant) error {
	queues := make([]state.QueueID, 0, len(grants))
	for _, g := range grants {
		queues = append(queues, state.QueueID(g.Queue))
	}
	return r.progress(id, queues)
}

// progress makes sure that there is room for a group's progress in queues.
func (r *groupRoom) progress(id uint64, queues []state.QueueID) error {
	_, records := r.store.GroupCounts()
	if records+len(queues) <= r.queues {
		return nil
	}
	fresh := 0
	for _, q := range queues {
		if p, _ := r.store.Progress(id, q); p.Epoch == 0 && p.Offset == state.NoOffset {
			fresh++
		}
	}
	if fresh > 0 && records+fresh > r.queues {
		return errorf(CodeLimitExceeded, "consumer groups have progress in %d queues, %d more would exceed limits.max_group_queues %d", records, fresh, r.queues)
	}
	return nil
}
