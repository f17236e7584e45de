package dledger

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// metrics of one Server. docs/metrics.md lists them.
type metrics struct {
	role          *prometheus.GaugeVec
	hasLeader     prometheus.Gauge
	mayVote       prometheus.Gauge
	term          prometheus.Gauge
	index         *prometheus.GaugeVec
	peerLag       *prometheus.GaugeVec
	peerUp        *prometheus.GaugeVec
	pushedBytes   *prometheus.CounterVec
	leaderChanges *prometheus.CounterVec
	elections     *prometheus.CounterVec
	failover      *prometheus.HistogramVec
	commitSeconds prometheus.Histogram
	proposals     *prometheus.CounterVec
	divergence    *prometheus.GaugeVec
	dropped       *prometheus.CounterVec
	refused       prometheus.Counter
	prepareErrors prometheus.Counter
	lost          prometheus.Gauge
	lentBytes     *prometheus.CounterVec
	members       *prometheus.GaugeVec
	outcast       prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		role:          gaugeVec("broker_ledger_role", "1 for the role that this member has in its group, 0 for the others.", "role"),
		hasLeader:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "broker_ledger_has_leader", Help: "1 while this member knows a leader."}),
		mayVote:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "broker_ledger_may_vote", Help: "1 while this member may vote; 0: its data directory is new, or its ledger damaged."}),
		term:          prometheus.NewGauge(prometheus.GaugeOpts{Name: "broker_ledger_term", Help: "The newest term that this member has entered."}),
		index:         gaugeVec("broker_ledger_index", "Indexes of this member's ledger: begin, end, durable, committed, applied.", "kind"),
		peerLag:       gaugeVec("broker_ledger_peer_lag_entries", "How many entries a peer is known to lack on its disk. Written by the leader.", "peer"),
		peerUp:        gaugeVec("broker_ledger_peer_up", "1 while the push stream to a peer is open.", "peer"),
		pushedBytes:   counterVec("broker_ledger_pushed_bytes_total", "Bytes of entries that were sent to a peer.", "peer"),
		leaderChanges: counterVec("broker_ledger_leader_changes_total", "How often this member saw the leader change or go, by reason.", "reason"),
		elections:     counterVec("broker_ledger_elections_total", "Elections that this member stood in, by result (won, lost).", "result"),
		failover: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "broker_ledger_failover_seconds", Help: "Duration of the phases of a failover (detect, elect, commit, serve). Written by the new leader.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"phase"}),
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "broker_ledger_commit_seconds", Help: "From the append of a proposal on the leader until a quorum holds it.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		proposals:     counterVec("broker_ledger_proposals_total", "Proposals by result (committed, rejected, lost).", "result"),
		divergence:    gaugeVec("broker_ledger_divergence", "1 if the committed history of a peer is known to differ. Must be 0.", "peer"),
		dropped:       counterVec("broker_ledger_messages_dropped_total", "Votes, heartbeats and transfers to a peer that were not answered, by reason (control: no room, late, failed).", "peer", "reason"),
		refused:       prometheus.NewCounter(prometheus.CounterOpts{Name: "broker_ledger_requests_refused_total", Help: "Requests on the peer listener that were not meant for this member or came from no peer."}),
		prepareErrors: prometheus.NewCounter(prometheus.CounterOpts{Name: "broker_ledger_prepare_errors_total", Help: "How often the next segment of the commit log could not be prepared."}),
		lost:          prometheus.NewGauge(prometheus.GaugeOpts{Name: "broker_ledger_lost_entries", Help: "Entries of which no member has a good copy. Must be 0."}),
		members:       gaugeVec("broker_ledger_members", "Members of the group as this one knows it, by seat (voter, learner).", "seat"),
		outcast:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "broker_ledger_outcast", Help: "1 while this member is not, or seems not to be, in the group; its log and status say why."}),
		lentBytes:     counterVec("broker_ledger_lent_bytes_total", "Bytes of entries that were lent to a peer whose disk had lost them.", "peer"),
	}
	if reg != nil {
		reg.MustRegister(m.role, m.hasLeader, m.mayVote, m.term, m.index, m.peerLag, m.peerUp, m.pushedBytes, m.leaderChanges, m.elections,
			m.failover, m.commitSeconds, m.proposals, m.divergence, m.dropped, m.refused, m.prepareErrors, m.lost, m.lentBytes, m.members, m.outcast)
	}
	return m
}

// peerCame and peerWent begin and end the series of a peer.
func (m *metrics) peerCame(id member.ID) {
	m.divergence.WithLabelValues(string(id)).Set(0)
	m.peerUp.WithLabelValues(string(id)).Set(0)
}

func (m *metrics) peerWent(id member.ID) {
	of := prometheus.Labels{"peer": string(id)}
	for _, v := range []interface {
		DeletePartialMatch(labels prometheus.Labels) int
	}{m.peerLag, m.peerUp, m.pushedBytes, m.divergence, m.dropped, m.lentBytes} {
		v.DeletePartialMatch(of)
	}
}

func gaugeVec(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}

func counterVec(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// observe copies a status into the gauges.
func (m *metrics) observe(st *Status, s *Server) {
	for _, r := range []member.Role{member.Leader, member.Follower, member.Candidate} {
		m.role.WithLabelValues(roleLabel(r)).Set(oneIf(st.Role == r))
	}
	m.hasLeader.Set(oneIf(st.Leader != ""))
	m.mayVote.Set(oneIf(st.MayVote))
	m.term.Set(float64(st.Term))
	voters := st.Members.CountVoters()
	m.members.WithLabelValues("voter").Set(float64(voters))
	m.members.WithLabelValues("learner").Set(float64(len(st.Members) - voters))
	m.outcast.Set(oneIf(st.Outcast != ""))
	end, _ := s.ledger.End()
	durable, _ := s.ledger.Durable()
	for kind, i := range map[string]commitlog.Index{
		"begin": s.ledger.Begin(), "end": end, "durable": durable,
		"committed": s.commit.load(), "applied": commitlog.Index(s.applied.Load()),
	} {
		m.index.WithLabelValues(kind).Set(float64(i))
	}
	for _, p := range st.Peers {
		lag := commitlog.Index(0)
		if st.Role == member.Leader {
			lag = max(0, end-p.Match)
		}
		m.peerLag.WithLabelValues(string(p.ID)).Set(float64(lag))
	}
}

// roleChanged counts what a change of role means.
func (m *metrics) roleChanged(before, after member.RoleChange) {
	if before.Leader != after.Leader {
		m.leaderChanges.WithLabelValues(string(after.Reason)).Inc()
	}
	switch {
	case after.Role == member.Leader:
		m.elections.WithLabelValues("won").Inc()
	case before.Role == member.Candidate && after.Role == member.Follower && after.Leader != "":
		m.elections.WithLabelValues("lost").Inc()
	}
}

func (m *metrics) failoverPhase(phase string, d time.Duration) {
	m.failover.WithLabelValues(phase).Observe(d.Seconds())
}

func roleLabel(r member.Role) string {
	switch r {
	case member.Leader:
		return "leader"
	case member.Follower:
		return "follower"
	case member.Candidate:
		return "candidate"
	}
	return "none"
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
