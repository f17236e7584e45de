package commitlog

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// paced is a log of which a group becomes durable every millisecond, and readers that
// take as much as they are let.
type paced struct {
	pace
	now     time.Time
	readers bool
	group   int64                                // bytes
	lag     func(readRate float64) time.Duration // of a group, while so much is read

	next    time.Time // when the reader may go on
	pending bool
}

const pacedRead = coldReadBytes

// run lets d pass and returns how many bytes a second were read.
func (m *paced) run(d time.Duration) float64 {
	var read int64
	var recent [50]int64 // bytes in the last milliseconds
	for ms := 0; ms < int(d/time.Millisecond); ms++ {
		m.now = m.now.Add(time.Millisecond)
		recent[ms%len(recent)] = 0
		for m.readers {
			if !m.pending {
				m.next, m.pending = m.now.Add(m.wait(forClients, pacedRead, m.now)), true
			}
			if m.next.After(m.now) {
				break
			}
			if m.pending = false; recent[ms%len(recent)] > 1<<20 {
				break // no disk is faster than that
			}
			recent[ms%len(recent)] += pacedRead
			read += pacedRead
		}
		var sum int64
		for _, n := range recent {
			sum += n
		}
		if m.group > 0 {
			m.wrote(m.group, m.lag(float64(sum)/0.05), m.now)
		}
	}
	return float64(read) / d.Seconds()
}

const pacedAlone = 400 * time.Microsecond

// congested is a log whose groups take the longer the more is read beyond some rate.
func congested(from float64) func(float64) time.Duration {
	return func(rate float64) time.Duration {
		return pacedAlone + time.Duration(max(0, rate-from)/from*float64(4*time.Millisecond))
	}
}

func TestPaceIsUnlimitedWhileNothingIsWritten(t *testing.T) {
	m := &paced{now: time.Now(), readers: true}
	require.Greater(t, m.run(time.Second), float64(1<<30))
	m.group, m.lag = 20<<10, congested(200<<20)
	m.run(time.Second)
	m.group = 0
	m.run(2 * stillAfter)
	require.Greater(t, m.run(time.Second), float64(1<<30), "the writing is over")
}

func TestPaceFindsWhatDoesNotDisturb(t *testing.T) {
	for _, from := range []float64{150 << 20, 250 << 20, 400 << 20} {
		m := &paced{now: time.Now(), group: 20 << 10, lag: congested(from)}
		m.run(time.Second)
		require.InDelta(t, pacedAlone, m.alone, float64(10*time.Microsecond))
		m.readers = true
		m.run(4 * time.Second)
		rate := m.run(4 * time.Second)
		require.Greater(t, rate, 0.6*from, "it is not slower than need be")
		require.Less(t, rate, 1.15*from)
		require.InDelta(t, pacedAlone, m.alone, float64(50*time.Microsecond), "what readers do to a group is not what it takes alone")
	}
}

// Whoever is behind gets on, whatever the disk is like.
func TestPaceIsAboveWhatIsWritten(t *testing.T) {
	m := &paced{now: time.Now(), group: 4 << 10, lag: congested(1)} // any read disturbs
	m.run(time.Second)
	m.readers = true
	m.run(time.Second)
	require.InDelta(t, minPace, m.run(4*time.Second), minPace/10)
	m.group = 100 << 10 // 100 MB/s
	m.run(time.Second)
	require.Greater(t, m.run(4*time.Second), 0.95*minShare*100*1024*1000)
}

// A load that grows makes groups slower by itself, and is not taken for a disturbance
// for ever.
func TestPaceLearnsAnew(t *testing.T) {
	m := &paced{now: time.Now(), group: 20 << 10, lag: congested(200 << 20), readers: true}
	before := m.run(10 * time.Second)
	slow := congested(200 << 20)
	m.lag = func(rate float64) time.Duration { return 2 * slow(rate) }
	m.run(time.Second)
	require.Less(t, m.run(time.Second), 0.7*before, "it looks like one at first")
	m.run(time.Minute)
	require.Greater(t, m.run(10*time.Second), 0.6*before)
}

func TestPaceOfManyReadersIsBounded(t *testing.T) {
	p, now := pace{}, time.Now()
	for range 10 {
		now = now.Add(10 * time.Millisecond)
		p.wrote(1024, pacedAlone, now)
	}
	for range 1000 {
		require.LessOrEqual(t, p.wait(forClients, coldReadBytes, now), maxPaceWait)
	}
	require.Zero(t, p.wait(forClients, paceFrom-1, now), "small reads do not wait")
}

// A peer that catches up gets as much beside any number of consumers, however much any
// read disturbs, and more than what comes meanwhile; and so do they beside it.
func TestPaceOfTheGroupIsItsOwn(t *testing.T) {
	const written = 40 << 20
	for _, consumers := range []int{0, 3, 16, 200} {
		p, now := pace{}, time.Now()
		var read [readerKinds]int64
		next := make([]time.Time, consumers+1) // when a reader goes on; the last one is the peer
		for range 4000 {
			now = now.Add(time.Millisecond)
			for i := range next {
				who := forClients
				if i == consumers {
					who = forGroup
				}
				for !next[i].After(now) {
					next[i] = now.Add(p.wait(who, pacedRead, now) + 100*time.Microsecond)
					read[who] += pacedRead
				}
			}
			p.wrote(written/1000, 20*time.Millisecond, now)
		}
		require.Greater(t, read[forGroup]/4, int64(2*written+minPace/2), "%d consumers", consumers)
		if consumers > 0 {
			require.Greater(t, read[forClients]/4, int64(2*written+minPace/2), "%d consumers", consumers)
		}
	}
}

// Reads that do not wait are a load, too: how long groups take beside them is not what they
// take alone, and who waits gives way to them. A few are none.
func TestPaceHearsOfReadsThatDoNotWait(t *testing.T) {
	var p pace
	now := time.Now()
	run := func(n int64, lag time.Duration) {
		for range 4000 {
			now = now.Add(time.Millisecond)
			p.note(n, now)
			p.wrote(20<<10, lag, now)
		}
	}
	run(0, pacedAlone)
	require.Equal(t, pacedAlone, p.alone)
	p.rate = 1 << 30
	run(256<<10, 10*pacedAlone)
	require.Equal(t, pacedAlone, p.alone)
	require.LessOrEqual(t, p.rate, float64(256<<20))
	run(1<<10, 2*pacedAlone)
	require.InDelta(t, 2*pacedAlone, p.alone, float64(10*time.Microsecond))

	p = pace{}
	run(256<<10, pacedAlone)
	require.Equal(t, pacedAlone, p.alone, "it is the best that is known")
}
