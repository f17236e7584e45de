package workload

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/history"
)

// Member is a place in a consumer group that members take one after the other.
type Member struct {
	*Scene
	// Who names it in the history, with the number of its life.
	Who          string
	Group, Topic string
	// CommitEach is after how many messages it commits; default 25.
	CommitEach int
	// CrashOne is of how many lives one ends without a word to the group; 0: none. Its
	// queues are given away when the group has missed it, 15 s later.
	CrashOne int
	Rng      *rand.Rand

	life int
}

// Work reads until stop is done.
func (m *Member) Work(stop context.Context) error {
	return m.work(stop, m.Who, func(c *client.Client) error {
		m.life++
		one := &membership{Member: m, c: c, name: fmt.Sprintf("%s.%d", m.Who, m.life), finished: map[int]int64{}, since: map[int]int64{}, fresh: map[int]bool{}}
		return one.live(stop)
	})
}

// membership is one life of a member.
type membership struct {
	*Member
	c    *client.Client
	name string
	g    *client.GroupConsumer
	// before and now are when Next was called, last time and this time: an assignment that
	// this call follows came after the call before had looked for one.
	before, now int64
	finished    map[int]int64 // by queue: to be committed
	since       map[int]int64 // by queue: before it was given
	fresh       map[int]bool  // queues that were given, or set, since the last message of them
}

func (m *membership) live(stop context.Context) (err error) {
	m.now = m.Recorder.Now()
	m.g, err = m.c.GroupConsumer(stop, client.GroupConfig{
		Group: m.Group, Topic: m.Topic, Member: m.name, Manual: true, CommitEvery: time.Hour,
		OnAssigned: func(queues []int) {
			for _, q := range queues {
				m.since[q], m.fresh[q] = m.before, true
				delete(m.finished, q)
			}
		},
		OnRevoked: func([]int) { // what is finished is committed after this, unseen
			m.commits(m.Recorder.Now(), m.finished, errors.New("nobody knows"))
		},
	})
	if err != nil {
		return err
	}
	life, cancel := m.Scene.life(stop, m.Rng)
	defer cancel()
	if err := m.read(life); err != nil {
		return err
	}
	if m.CrashOne > 0 && stop.Err() == nil && m.Rng.IntN(m.CrashOne) == 0 {
		m.count("crashed members")
		return nil // the connection is closed
	}
	leave, cancel := context.WithTimeout(context.WithoutCancel(stop), 30*time.Second)
	defer cancel()
	if err := m.g.Close(leave); err != nil {
		m.failed(m.name, "leave", err)
	}
	return nil
}

// read takes messages until life is over.
func (m *membership) read(life context.Context) error {
	each := m.CommitEach
	if each == 0 {
		each = 25
	}
	for n := 1; life.Err() == nil; n++ {
		m.before, m.now = m.now, m.Recorder.Now()
		idle, cancel := context.WithTimeout(life, 200*time.Millisecond)
		message, err := m.g.Next(idle)
		cancel()
		switch {
		case err == nil:
			if err := m.saw(&message); err != nil {
				return err
			}
		case errors.Is(err, context.DeadlineExceeded), life.Err() != nil:
		case m.Purges && errors.Is(err, client.ErrOffsetTooLow):
			if err := m.catchUp(life); err != nil {
				return err
			}
			continue
		default:
			return err
		}
		if n%each == 0 || err != nil {
			m.commit(life)
		}
	}
	return nil
}

// saw notes a delivery.
func (m *membership) saw(message *client.Message) error {
	q := *message.Queue
	o := m.operation(history.Pull, m.name, m.Topic, q)
	o.Group, o.Since, o.Invoke, o.Complete = m.Group, m.since[q], m.now, m.Recorder.Now()
	o.Offset, o.Seek = message.Offset, m.fresh[q]
	o.Messages = []history.Message{{Offset: message.Offset, Value: ValueOf(*message)}}
	delete(m.fresh, q)
	if err := m.write(o); err != nil {
		return err
	}
	m.g.Finish(message)
	m.finished[q] = message.Offset + 1
	return nil
}

// catchUp goes on at the first offsets that there still are.
func (m *membership) catchUp(ctx context.Context) error {
	topic, err := m.c.Admin().DescribeTopic(ctx, m.Topic)
	if err != nil {
		return err
	}
	for _, q := range m.g.Queues() {
		if at, err := m.g.Position(q); err != nil || at >= topic.Queues[q].First {
			continue
		}
		if err := m.g.Seek(q, topic.Queues[q].First); err != nil {
			return err
		}
		m.fresh[q] = true
	}
	return nil
}

// commit stores what is finished.
func (m *membership) commit(ctx context.Context) {
	if len(m.finished) == 0 {
		return
	}
	invoke := m.Recorder.Now()
	err := m.g.Commit(ctx)
	if err != nil && ctx.Err() == nil {
		m.failed(m.name, "commit", err)
	}
	m.commits(invoke, m.finished, err)
	if err == nil {
		clear(m.finished)
	}
}

// commits notes commits. Of a queue that was lost meanwhile they were not taken, which
// nobody says.
func (m *membership) commits(invoke int64, finished map[int]int64, err error) {
	for q, offset := range maps.All(finished) {
		grant, gone := m.g.Grant(q)
		if gone != nil {
			continue
		}
		o := m.operation(history.Commit, m.name, m.Topic, q)
		o.Group, o.Offset, o.Grant, o.Invoke, o.Complete = m.Group, offset, grant.Epoch, invoke, m.Recorder.Now()
		if o.Outcome = outcome(err); err == nil && grant.Committed < offset || err != nil {
			o.Outcome = history.Info
		}
		if err := m.write(o); err != nil {
			m.Recorder.Problem("%v", err)
		}
	}
}
