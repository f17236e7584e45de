package state

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"sync"
)

// GroupAssignment says how the queues of a consumer group are given to its members.
type GroupAssignment uint8

// The kinds of assignment.
const (
	AssignSticky    GroupAssignment = 1
	AssignStatic    GroupAssignment = 2
	AssignBroadcast GroupAssignment = 3
	// AssignWork gives no queues out: messages are received and acknowledged one by one.
	AssignWork GroupAssignment = 4
)

// Group is a consumer group. A Group that a Store handed out never changes.
type Group struct {
	// ID is the ledger index of the entry that made the group, plus one.
	ID         uint64
	Name       string
	Assignment GroupAssignment
	Paused     bool
	// Generation grows with every grant and reset; the epochs of queues are taken from it.
	Generation    uint64
	CreatedUnixMs int64
	// Work is set on a work-queue group.
	Work *WorkPolicy
}

// Progress is how far a consumer group is in a queue.
type Progress struct {
	// Offset is the next message that the group wants; NoOffset: it never said.
	Offset Offset
	// Epoch must come with a commit; 0: the queue was never granted.
	Epoch uint64
	// Owner was granted the queue and is not known to be gone: OwnerNobody, OwnerUnnamed or
	// the number of a member's name.
	Owner uint64
	// CommittedUnixMs is the leader's clock at the newest commit that moved Offset; 0: none did.
	CommittedUnixMs int64
}

// Owners of a queue that are no member's number.
const (
	OwnerNobody  = 0
	OwnerUnnamed = 1 // the grant does not say who
)

// QueueProgress is a group's progress in one queue.
type QueueProgress struct {
	Queue QueueID
	Progress
}

// groupTable is the consumer groups. Apply is the only writer, so it reads without the
// lock; everyone else takes it.
type groupTable struct {
	mu struct {
		sync.RWMutex
		byName  map[string]*groupState
		byID    map[uint64]*groupState
		records int // of progress, over all groups
		tries   int // of work-queue groups, likewise
	}

	// Of the Apply that runs.
	dirty     map[progressKey]struct{}
	dirtyWork map[progressKey]struct{}
}

type groupState struct {
	group    *Group // replaced, never changed
	progress map[QueueID]Progress
	work     map[QueueID]*work // of a work-queue group
}

type progressKey struct {
	group uint64
	queue QueueID
}

func newGroupTable() *groupTable {
	t := &groupTable{dirty: make(map[progressKey]struct{}), dirtyWork: make(map[progressKey]struct{})}
	t.mu.byName, t.mu.byID = make(map[string]*groupState), make(map[uint64]*groupState)
	return t
}

// find returns the state of a group, for Apply.
func (t *groupTable) find(id uint64) *groupState { return t.mu.byID[id] }

func (t *groupTable) add(g *Group) *groupState {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := &groupState{group: g, progress: make(map[QueueID]Progress)}
	t.mu.byName[g.Name], t.mu.byID[g.ID] = st, st
	return st
}

// replace puts a changed copy of a group in the place of the group.
func (t *groupTable) replace(st *groupState, change func(*Group)) *Group {
	changed := *st.group
	change(&changed)
	t.mu.Lock()
	defer t.mu.Unlock()
	st.group = &changed
	return st.group
}

func (t *groupTable) remove(st *groupState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.mu.byName, st.group.Name)
	delete(t.mu.byID, st.group.ID)
	t.mu.records -= len(st.progress)
	for q := range st.work {
		t.forgetWork(st, q)
	}
}

// set changes the progress of a group in a queue.
func (t *groupTable) set(st *groupState, q QueueID, p Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := st.progress[q]; !known {
		t.mu.records++
	}
	st.progress[q] = p
}

// dropQueues forgets all progress in some queues and calls dropped for each record.
func (t *groupTable) dropQueues(queues []QueueID, dropped func(group uint64, q QueueID)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, st := range t.mu.byID {
		for _, q := range st.among(queues) {
			delete(st.progress, q)
			t.forgetWork(st, q)
			t.mu.records--
			dropped(id, q)
		}
	}
}

// among returns those of the queues in which the group has progress. It looks at the
// fewer of the two: there may be many groups, and topics with many queues.
func (st *groupState) among(queues []QueueID) []QueueID {
	var found []QueueID
	if len(queues) <= len(st.progress) {
		for _, q := range queues {
			if _, ok := st.progress[q]; ok {
				found = append(found, q)
			}
		}
		return found
	}
	for q := range st.progress {
		if slices.Contains(queues, q) {
			found = append(found, q)
		}
	}
	return found
}

// of returns the progress in a queue; one that the group never had is NoOffset.
func (st *groupState) of(q QueueID) (Progress, bool) {
	p, ok := st.progress[q]
	if !ok {
		p.Offset = NoOffset
	}
	return p, ok
}

// Group returns the consumer group with that name.
func (s *Store) Group(name string) (*Group, bool) {
	t := s.work.groups
	t.mu.RLock()
	defer t.mu.RUnlock()
	if st := t.mu.byName[name]; st != nil {
		return st.group, true
	}
	return nil, false
}

// GroupByID returns the consumer group with that id.
func (s *Store) GroupByID(id uint64) (*Group, bool) {
	t := s.work.groups
	t.mu.RLock()
	defer t.mu.RUnlock()
	if st := t.mu.byID[id]; st != nil {
		return st.group, true
	}
	return nil, false
}

// Groups returns all consumer groups by name.
func (s *Store) Groups() []*Group {
	t := s.work.groups
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make([]*Group, 0, len(t.mu.byName))
	for _, st := range t.mu.byName {
		all = append(all, st.group)
	}
	slices.SortFunc(all, func(a, b *Group) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Progress returns how far a group is in a queue; ok is false if there is no such group.
func (s *Store) Progress(group uint64, q QueueID) (p Progress, ok bool) {
	t := s.work.groups
	t.mu.RLock()
	defer t.mu.RUnlock()
	st := t.mu.byID[group]
	if st == nil {
		return Progress{Offset: NoOffset}, false
	}
	p, _ = st.of(q)
	return p, true
}

// GroupsOf names the groups that have progress in some of the queues.
func (s *Store) GroupsOf(queues []QueueID) []string {
	t := s.work.groups
	t.mu.RLock()
	defer t.mu.RUnlock()
	var names []string
	for name, st := range t.mu.byName {
		if slices.ContainsFunc(queues, func(q QueueID) bool { _, ok := st.progress[q]; return ok }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// GroupProgress returns the progress of a group in all queues where it has any, by queue.
func (s *Store) GroupProgress(group uint64) []QueueProgress {
	t := s.work.groups
	t.mu.RLock()
	defer t.mu.RUnlock()
	st := t.mu.byID[group]
	if st == nil {
		return nil
	}
	all := make([]QueueProgress, 0, len(st.progress))
	for q, p := range maps.All(st.progress) {
		all = append(all, QueueProgress{q, p})
	}
	slices.SortFunc(all, func(a, b QueueProgress) int { return cmp.Compare(a.Queue, b.Queue) })
	return all
}

// GroupCounts is how many consumer groups there are, and in how many queues, group by
// group, they have progress.
func (s *Store) GroupCounts() (groups, records int) {
	t := s.work.groups
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.mu.byID), t.mu.records
}

func (g *Group) append(b []byte) []byte {
	version := byte(valueVersion)
	if g.Work != nil {
		version = groupVersionWork
	}
	b = append(b, version)
	b = binary.AppendUvarint(b, g.ID)
	b = append(b, byte(g.Assignment), boolByte(g.Paused))
	b = binary.AppendUvarint(b, g.Generation)
	b = binary.AppendVarint(b, g.CreatedUnixMs)
	if w := g.Work; w != nil {
		b = binary.AppendUvarint(b, uint64(w.MaxAttempts))
		b = binary.AppendVarint(b, w.BackoffMinMs)
		b = binary.AppendVarint(b, w.BackoffMaxMs)
		b = append(b, boolByte(w.FIFO))
	}
	return b
}

// groupVersionWork is the version of the value of a work-queue group.
const groupVersionWork = 2

func parseGroup(name string, b []byte) (*Group, error) {
	r := valueReader{b: b}
	work := len(b) > 0 && b[0] == groupVersionWork
	if work {
		r.b = b[1:]
	} else {
		r.version()
	}
	g := &Group{
		Name: name, ID: r.uvarint(), Assignment: GroupAssignment(r.uvarint()), Paused: r.bool(),
		Generation: r.uvarint(), CreatedUnixMs: r.varint(),
	}
	if work {
		g.Work = &WorkPolicy{MaxAttempts: int(r.uint32()), BackoffMinMs: r.varint(), BackoffMaxMs: r.varint(), FIFO: r.bool()}
	}
	if g.ID == 0 || g.Assignment < AssignSticky || g.Assignment > AssignWork || work != (g.Assignment == AssignWork) {
		return nil, errValue
	}
	return g, r.end()
}

// progressVersionOwner is the version of progress whose owner has a number.
const progressVersionOwner = 2

func (p Progress) append(b []byte) []byte {
	named := p.Owner > OwnerUnnamed
	version := byte(valueVersion)
	if named {
		version = progressVersionOwner
	}
	b = append(b, version)
	b = binary.AppendUvarint(b, uint64(p.Offset-NoOffset))
	b = binary.AppendUvarint(b, p.Epoch)
	if named {
		b = binary.LittleEndian.AppendUint64(b, p.Owner)
	} else {
		b = append(b, boolByte(p.Owner != OwnerNobody))
	}
	return binary.AppendVarint(b, p.CommittedUnixMs)
}

func parseProgress(b []byte) (Progress, error) {
	r := valueReader{b: b}
	named := len(b) > 0 && b[0] == progressVersionOwner
	if named {
		r.b = b[1:]
	} else {
		r.version()
	}
	p := Progress{Offset: Offset(r.int64()) + NoOffset, Epoch: r.uvarint()}
	if named {
		p.Owner = r.fixed64()
		r.bad = r.bad || p.Owner <= OwnerUnnamed
	} else if r.bool() {
		p.Owner = OwnerUnnamed
	}
	p.CommittedUnixMs = r.varint()
	return p, r.end()
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (r *valueReader) bool() bool {
	v := r.uvarint()
	r.bad = r.bad || v > 1
	return v == 1
}
