package broker

import (
	"time"
)

// resumeCheck is how often a pull of a paused group looks whether it is still paused. It
// is woken when the group is resumed here; this is for a resumption whose outcome the
// leader did not learn.
const resumeCheck = time.Second

// readingGroup checks the group for which a pull reads. One that does not exist (any more)
// is none that is paused.
func readingGroup(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	return name, checkGroupName(name)
}

// paused says that the queue is read for a consumer group that is paused: then nothing of
// it is given out.
func (p *puller) paused(q queue) bool {
	if q.group == "" {
		return false
	}
	g, ok := p.store.Group(q.group)
	return ok && g.Paused
}

// resumeLook ticks while a group is paused. The zero value is ready.
type resumeLook struct{ ticker *time.Ticker }

func (l *resumeLook) due(paused bool) <-chan time.Time {
	if l.ticker == nil && paused {
		l.ticker = time.NewTicker(resumeCheck)
	}
	if l.ticker == nil {
		return nil
	}
	return l.ticker.C
}

func (l *resumeLook) stop() {
	if l.ticker != nil {
		l.ticker.Stop()
	}
}
