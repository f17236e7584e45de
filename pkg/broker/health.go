package broker

import "fmt"

// health is the answer to a probe.
type health struct {
	OK      bool          `json:"ok"`
	Reasons []healthCheck `json:"checks"`
}

// healthCheck is one of the questions behind the answer.
type healthCheck struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

func (h health) word() string {
	if h.OK {
		return "ok"
	}
	for _, c := range h.Reasons {
		if !c.OK {
			return "not ok: " + c.Name + ": " + c.Detail
		}
	}
	return "not ok"
}

// checks is the health that several checks add up to.
func checks(all ...healthCheck) health {
	h := health{OK: true, Reasons: all}
	for _, c := range all {
		h.OK = h.OK && c.OK
	}
	return h
}

// live says whether the process does its work at all. It never depends on other
// members: restarting this one would not bring them back.
func (b *Broker) live() health {
	return checks(healthCheck{"running", b.phase() != phaseStopped, b.phase().String()}, b.dispatchCheck())
}

// started says whether data directory, ledger and state are open.
func (b *Broker) started() health {
	return checks(healthCheck{"started", b.phase() >= phaseRunning, b.phase().String()})
}

// ledgerCheck tells of entries that the disk has lost. It never fails: what is
// around them is served, and a broker that passes requests on is of use.
func (b *Broker) ledgerCheck() healthCheck {
	suspect := b.ledger.Status().Suspect
	if len(suspect) == 0 {
		return healthCheck{"ledger", true, "no damage known"}
	}
	return healthCheck{"ledger", true, fmt.Sprintf("SUSPECT: %d damaged ranges, the first one: %v", len(suspect), suspect[0])}
}

// stateCheck tells why the state cannot be carried on. It never fails: a broker that
// passes requests on is of use.
func (b *Broker) stateCheck() healthCheck {
	need := b.need.now.Load()
	switch {
	case need == nil:
		return healthCheck{"state", true, "follows the ledger"}
	case need.nobody.Err() != nil:
		return healthCheck{"state", true, "STUCK: " + need.why + "; no other member has a state that covers it: see docs/runbooks/damaged-disk.md"}
	}
	return healthCheck{"state", true, "STUCK: " + need.why + "; another member's state is fetched"}
}

// groupCheck fails while this broker is not a member of the group.
func (b *Broker) groupCheck() healthCheck {
	st := b.ledger.Status()
	if st.Outcast == "" {
		return healthCheck{"member", true, st.Seat}
	}
	return healthCheck{"member", false, st.Outcast}
}

// ready says whether clients should be sent here: a follower is ready too, since
// it passes requests on.
func (b *Broker) ready() health {
	view, lag := b.view(), b.applyLag()
	leader := healthCheck{"leader", view.leader != "", fmt.Sprintf("%s leads term %d", view.leader, view.term)}
	if !leader.OK {
		leader.Detail = "knows no leader: " + b.explain()
	}
	applied := healthCheck{
		"applied", lag <= b.cfg.Limits.ReadyMaxLag,
		fmt.Sprintf("%d committed entries wait to be applied, at most %d allowed", lag, b.cfg.Limits.ReadyMaxLag),
	}
	return checks(healthCheck{"running", b.phase() == phaseRunning, b.phase().String()}, b.groupCheck(), leader, applied, b.diskCheck(), b.ledgerCheck(), b.stateCheck())
}
