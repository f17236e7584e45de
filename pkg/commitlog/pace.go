package commitlog

import "time"

const (
	// paceFrom is from how many bytes on a read can be in anybody's way.
	paceFrom = extentBytes + 2*blockBytes + 1
	// lightLoad is as much as reads that do not wait may take, in bytes per second, while it is seen how
	// long a group takes without readers.
	lightLoad = 4 << 20
	// minPace is the least that the readers of each kind get together, in bytes per second,
	// and minShare how many times what is being written: part of what they read is what
	// has just come.
	minPace  = 64 << 20
	minShare = 4
	// paceWindow is how long groups are looked at before the pace changes, and
	// paceGroups how many of them at least.
	paceWindow = 25 * time.Millisecond
	paceGroups = 4
	// maxLagFactor is how many times as long as without readers a group may take.
	maxLagFactor = 1.4
	// lagSlack is what a group may take longer in any case: clocks and schedulers.
	lagSlack = 100 * time.Microsecond
	// slower and faster change the pace, once a window. It falls in a moment and doubles
	// within a second: while it is too fast producers wait.
	slower, faster = 0.8, 1.02
	// stillAfter is how long after the last group nothing is being written.
	stillAfter = 100 * time.Millisecond
	// lookEvery is how often readers stop for lookFor, to see how long groups take without.
	lookEvery, lookFor = 2 * time.Second, 60 * time.Millisecond
	// paceCredit is what a reader may make up for after it came too late.
	paceCredit = 5 * time.Millisecond
	// maxPaceWait bounds the wait of one read, however many others wait.
	maxPaceWait = 100 * time.Millisecond
)

// reader is for whom old entries are read. The ones do not wait for the others, so that
// however many consumers there are, peers catch up and entries are applied.
type reader int

const (
	forClients reader = iota
	forGroup          // peers and the state
	readerKinds
)

func (r reader) String() string { return [readerKinds]string{"clients", "group"}[r] }

// pace is how fast old entries are read beside what is being written. Producers wait for
// the one; whoever is behind has time. It looks at how long groups take from the first
// append until they are durable: a disk that is busy with reads shows in it, and so do
// processors that are busy with what was read. While that is as without readers the pace
// rises, else it falls, but never below a multiple of what is being written, so that
// whoever is behind catches up. Each kind of readers has it for itself, and its own queue. While nothing is written there is no limit.
//
// It is a function of what it is told, the time included.
type pace struct {
	rate    float64                // bytes per second, of each kind of readers; 0: minPace
	written float64                // bytes per second, in the last window
	alone   time.Duration          // how long a group takes without readers; 0: not known
	looked  time.Time              // when that was seen
	last    time.Time              // when the last group became durable
	free    [readerKinds]time.Time // when the next read may go

	window struct {
		began         time.Time
		groups        int
		lag           time.Duration // of all of them
		written, read int64         // bytes
		waited        int64         // bytes of those reads that keep to the pace
	}
}

// wrote tells of a group that became durable now, so long after its first append.
func (p *pace) wrote(bytes int64, lag time.Duration, now time.Time) {
	if now.Sub(p.last) > stillAfter {
		p.beginWindow(now.Add(-lag))
	}
	p.last = now
	w := &p.window
	w.groups, w.lag, w.written = w.groups+1, w.lag+lag, w.written+bytes
	if d := now.Sub(w.began); d >= paceWindow && w.groups >= paceGroups {
		p.judge(d, now)
		p.beginWindow(now)
	}
}

func (p *pace) beginWindow(now time.Time) {
	p.window.began = now
	w := &p.window
	w.groups, w.lag, w.written, w.read, w.waited = 0, 0, 0, 0, 0
}

// judge changes the pace after a window of length d.
func (p *pace) judge(d time.Duration, now time.Time) {
	w := &p.window
	lag := w.lag / time.Duration(w.groups)
	p.written = float64(w.written) / d.Seconds()
	read := float64(w.read) / d.Seconds()
	switch {
	case w.waited == 0 && p.alone == 0:
		p.alone, p.looked = lag, now
	case w.waited == 0 && read < lightLoad:
		p.alone, p.looked = p.alone+(lag-p.alone)/8, now
		p.alone = min(p.alone, (p.alone+lag)/2) // a bad moment is forgotten sooner than a good one
	case float64(lag) > maxLagFactor*float64(p.alone)+float64(lagSlack):
		p.rate = min(p.rate, read) * slower
	case read > p.rate/2: // else it is not the pace that holds readers back
		p.rate *= faster
	}
	p.rate = max(p.rate, minPace, minShare*p.written)
}

// note tells of a read of n bytes that does not wait.
func (p *pace) note(n int64, now time.Time) {
	if now.Sub(p.last) <= stillAfter {
		p.window.read += n
	}
}

// wait takes the time for reading n bytes and returns how far away it begins.
func (p *pace) wait(who reader, n int64, now time.Time) time.Duration {
	p.note(n, now)
	if n < paceFrom || now.Sub(p.last) > stillAfter {
		return 0
	}
	p.window.waited += n
	p.rate = max(p.rate, minPace)
	if now.Sub(p.looked) > lookEvery {
		p.looked = now
		for i := range p.free {
			p.free[i] = now.Add(lookFor)
		}
	}
	free := &p.free[who]
	if earliest := now.Add(-paceCredit); free.Before(earliest) {
		*free = earliest
	}
	d := free.Sub(now)
	if d > maxPaceWait {
		d, *free = maxPaceWait, now.Add(maxPaceWait)
	}
	*free = free.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
	return max(d, 0)
}
