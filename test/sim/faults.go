package sim

import "time"

// fault is a kind of trouble.
type fault int

const (
	faultCrash fault = iota
	faultPower
	faultPause
	faultHalves
	faultIsolateLeader
	faultOneWay
	faultBridge
	faultRing
	faultReset
	faultStorm
	faultClog
	faultSlowDisk
	faultTransfer
	faultUnfit
	faultWipe
	faultRot
	faultDiskError
	faultFullDisk
	faultWallClock
	faultRolling
	faultKinds
)

// trouble causes one fault of those that the profile allows, and plans the next.
func (s *Sim) trouble() {
	if s.calm {
		return
	}
	s.after(s.spread(s.profile.faultEvery), s.trouble)
	var allowed []fault
	for k, on := range s.profile.faults {
		if on {
			allowed = append(allowed, fault(k))
		}
	}
	if len(allowed) == 0 {
		return
	}
	s.cause(pick(s.rng, allowed...))
}

func (s *Sim) cause(f fault) {
	n := s.nodes[s.rng.IntN(len(s.nodes))]
	s.note(n, "fault", int64(f), 0)
	switch f {
	case faultCrash:
		if lead := s.leader(); lead != nil && s.chance(0.4) {
			n = lead
		}
		if s.chance(0.5) {
			n.ambush = pick(s.rng, atAppend, atBallot, atTruncate)
		} else {
			s.crash(n, s.chance(0.5))
		}
	case faultPower:
		if lead := s.leader(); lead != nil && s.chance(0.5) {
			lead.ambush = atAck
		} else {
			s.powerCut()
		}
	case faultPause:
		s.pause(n)
	case faultReset:
		if o := s.other(n); o != nil {
			s.count[Resets]++
			s.net.reset(n.i, o.i)
		}
	case faultStorm:
		s.storm()
	case faultClog:
		if o := s.other(n); o != nil {
			l := s.net.link(n.i, o.i)
			l.clog = s.upTo(2 * time.Second)
			s.undo(s.spread(3*time.Second), func() { l.clog = 0 })
		}
	case faultSlowDisk:
		s.count[SlowDisks]++
		n.diskSlow = pick(s.rng, 20*time.Millisecond, 200*time.Millisecond, 1500*time.Millisecond)
		s.undo(s.spread(4*time.Second), func() { n.diskSlow = 0 })
	case faultTransfer:
		s.transfer(n)
	case faultUnfit:
		s.unfit(n)
	case faultWipe:
		s.wipeOne(n)
	case faultRot:
		s.rotOne(n)
	case faultDiskError:
		n.disk.eio = true
	case faultFullDisk:
		s.fillDisk(n)
	case faultWallClock:
		s.setClock(n)
	case faultRolling:
		s.roll(0)
	default:
		s.partition(f)
	}
}

// crash kills n, or cuts its power: then its peers see no reset connection, and
// less of what it had not synced survives. It starts again after a while.
func (s *Sim) crash(n *node, power bool) {
	if !n.up {
		return
	}
	s.count[Crashes]++
	kept := len(n.disk.unsynced)
	if power && s.chance(0.5) {
		kept = 0
	} else if kept > 0 {
		kept = s.rng.IntN(kept + 1)
	}
	s.crashKeeping(n, kept, pick(s.rng, 200*time.Millisecond, 2*time.Second, 6*time.Second))
	s.noticeCrash(n, power)
}

// crashKeeping takes n down with the first kept of its unsynced writes on disk,
// and starts it again after about that time.
func (s *Sim) crashKeeping(n *node, kept int, down time.Duration) {
	n.crash(kept)
	life := n.life
	s.after(20*time.Millisecond+s.spread(down), func() {
		if n.life == life {
			s.restart(n)
		}
	})
}

// noticeCrash lets the peers see their connections to n break.
func (s *Sim) noticeCrash(n *node, power bool) {
	for o := range s.size() {
		if o == n.i {
			continue
		}
		notice := s.upTo(5 * time.Millisecond)
		if power {
			notice = 2*time.Second + s.upTo(time.Second)
		}
		life := n.life
		s.after(notice, func() {
			if n.life == life && s.net.link(n.i, o).cuts == 0 {
				s.net.lose(n.i, o)
			}
		})
	}
}

func (s *Sim) restart(n *node) {
	if n.up {
		return
	}
	for o := range s.size() {
		if o != n.i {
			s.net.lose(n.i, o)
		}
	}
	n.start()
	life := n.life
	for o := range s.size() {
		if o != n.i {
			s.after(s.upTo(100*time.Millisecond), func() {
				if n.life == life {
					s.net.rejoin(n.i, o)
				}
			})
		}
	}
}

func (s *Sim) pause(n *node) {
	if lead := s.leader(); lead != nil && s.chance(0.4) {
		n = lead
	}
	if !n.up || n.paused {
		return
	}
	s.count[Pauses]++
	n.pause()
	life := n.life
	s.after(s.spread(pick(s.rng, 100*time.Millisecond, 700*time.Millisecond, 3*time.Second)), func() {
		if n.life == life && n.paused {
			n.resume()
		}
	})
}

// storm makes the whole network bad for a while.
func (s *Sim) storm() {
	s.weather.drop = pick(s.rng, 0.05, 0.2, 0.4)
	s.weather.tail = pick(s.rng, 0, 0.1, 0.3)
	s.weather.dup = pick(s.rng, 0, 0.2)
	s.undo(s.spread(3*time.Second), func() { s.weather = s.profile.weather })
}

// undo ends a fault of the chaos phase; what is still there at its end, heal undoes.
func (s *Sim) undo(after time.Duration, do func()) {
	s.after(after, func() {
		if !s.calm {
			do()
		}
	})
}

// heal ends all trouble.
func (s *Sim) heal() {
	s.calm = true
	if s.chronicle != nil {
		s.chronicle.healed = s.now
	}
	s.weather = weather{}
	s.net.heal()
	for _, n := range s.nodes {
		n.diskSlow = 0
		switch {
		case !n.up:
			s.restart(n)
		case n.paused:
			n.resume()
		}
		if n.up && !n.fit {
			s.setFit(n, true)
		}
	}
	s.healDisks()
	for _, n := range s.nodes {
		for o := range n.i {
			s.net.rejoin(n.i, o)
		}
	}
}
