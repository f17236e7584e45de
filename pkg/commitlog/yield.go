package commitlog

import "time"

// yield waits until old entries may be read, as the pace wants it. Who asks for a single
// entry does not wait, however large it is: it is no reader of a backlog, and may be the
// state maintainer. The pace hears of it all the same.
func (l *Log) yield(p *readPlan, who reader) {
	wait := l.paceWait(p, who)
	if wait <= 0 {
		return
	}
	time.Sleep(wait)
	l.metrics.yielded.Add(wait.Seconds())
}

func (l *Log) paceWait(p *readPlan, who reader) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.maxBytes < paceFrom {
		l.mu.pace.note(p.bytes(), time.Now())
		return 0
	}
	return l.mu.pace.wait(who, p.bytes(), time.Now())
}

// waitsLocked notes since when something waits to be written.
func (l *Log) waitsLocked() {
	if l.mu.waitingSince.IsZero() {
		l.mu.waitingSince = time.Now()
	}
}

// wroteLocked tells the pace of a group that has become durable.
func (l *Log) wroteLocked(g *group, bytes int64) {
	if g.since.IsZero() { // truncated meanwhile, or divided
		return
	}
	now := time.Now()
	l.mu.pace.wrote(bytes, now.Sub(g.since), now)
}
