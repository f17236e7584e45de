package chaos

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/test/workload"
)

// bystanders are the clients of other kinds of messages than plain ones: delayed ones that
// are recalled now and then, transactions, and the consumer groups of both. They stand
// beside the producers and consumers of the topic that everything else is about.
type bystanders struct {
	scene      *workload.Scene // nil: there are none
	topics     []string
	sources    errgroup.Group
	members    errgroup.Group
	stop, halt context.CancelFunc // of the sources, of the members
	transactor *workload.Transactor
}

// invite makes their topics.
func (r *run) invite() {
	r.scene = workload.NewScene(workload.Config{
		Dial: r.dial, Recorder: r.record, Note: r.note, Lives: [2]time.Duration{3 * time.Second, 12 * time.Second}, Purges: r.retention,
	})
	r.topics = []string{"delayed", "transactional"}
	for _, name := range r.topics {
		_, err := r.client.Admin().CreateTopic(r.t.Context(), name, queues)
		must(r.t, err)
	}
}

// start sets them to work.
func (b *bystanders) start(r *run) {
	if b.scene == nil {
		return
	}
	var sources, members context.Context
	sources, b.stop = context.WithCancel(r.t.Context())
	members, b.halt = context.WithCancel(r.t.Context())
	decisions := workload.NewDecisions()
	for i := range 2 {
		source := func(who, topic string, rate int) workload.Source {
			return workload.Source{Scene: b.scene, Who: fmt.Sprint(who, i), Topic: topic, Queues: queues, Rate: rate, Rng: r.random(uint64(400 + 10*len(topic) + i))}
		}
		d := &workload.Delayed{Source: source("d", "delayed", 50), Delay: 5 * time.Second}
		b.transactor = &workload.Transactor{Source: source("x", "transactional", 30), Decisions: decisions, Group: "shop"}
		x := b.transactor
		b.sources.Go(func() error { return d.Work(sources) })
		b.sources.Go(func() error { return x.Work(sources) })
		for k, topic := range b.topics {
			m := &workload.Member{Scene: b.scene, Who: fmt.Sprint(topic, i), Group: topic, Topic: topic, Rng: r.random(uint64(500 + 10*k + i))}
			b.members.Go(func() error { return m.Work(members) })
		}
	}
}

// finish lets their work come to its end, when nothing is broken any more.
func (b *bystanders) finish(r *run) {
	if b.scene == nil {
		return
	}
	b.stop()
	must(r.t, b.sources.Wait())
	must(r.t, b.transactor.Finish(r.t.Context()))
	for wait := b.scene.Waits(); wait > 0; wait = b.scene.Waits() {
		r.nemesis.idle(wait)
	}
	overdue := time.Now().Add(healTime)
	for behind := b.behind(r); behind != ""; behind = b.behind(r) {
		if time.Now().After(overdue) {
			r.t.Errorf("%v after the last fault: %s", healTime, behind)
			break
		}
		r.nemesis.idle(100 * time.Millisecond)
	}
	b.halt()
	must(r.t, b.members.Wait())
	r.note("delayed, transactional and groups: %v", b.scene.Counts())
}

// behind says what the groups have not been given. Where old messages are purged that is
// what their progress says, for what went before they came cannot be waited for.
func (b *bystanders) behind(r *run) string {
	if !r.retention {
		if some, n := b.scene.Missing(); n > 0 {
			return fmt.Sprintf("%d messages were not delivered to a consumer group, such as %v", n, some)
		}
		return ""
	}
	for _, topic := range b.topics {
		d, err := r.client.Admin().DescribeGroup(r.t.Context(), topic)
		if err != nil {
			return fmt.Sprintf("group %s cannot be described: %v", topic, err)
		}
		for _, q := range d.QueueList {
			if q.Offset < q.End {
				return fmt.Sprintf("group %s is at %d of %d in queue %d", topic, q.Offset, q.End, q.Queue)
			}
		}
	}
	return ""
}
