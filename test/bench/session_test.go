package bench

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/test/bench/figures"
	"github.com/ledgermq/ledgermq/test/cluster"
)

// repetition is what later workloads are compared with: figures of the same minutes.
type repetition struct {
	bare    map[int]float64 // messages a second of the bare path, by size
	publish map[int]float64 // of publishing
	disk    float64         // bytes a second of synced sequential writes
	stream  float64         // bytes a second of a gRPC stream
	sync    float64         // p50 of a synced block, ms
}

// session is one workload while it runs.
type session struct {
	t        *testing.T
	ctx      context.Context // ends when the workload has taken far too long
	workload string
	rep      *repetition
	report   *figures.Report

	c      *cluster.Cluster
	client *client.Client
	procs  processes
	keyed  int64 // messages that got a key of their own
}

// start makes a cluster and a client, which end with the workload.
func (s *session) start(cfg cluster.Config) {
	s.t.Helper()
	s.c = cluster.Start(s.t, cfg)
	s.client = s.dial()
	s.findLeader()
}

// findLeader learns who leads, for what is measured from now on.
func (s *session) findLeader() *cluster.Node {
	s.t.Helper()
	leader := s.c.Leader()
	s.procs = processes{leader: leader.Pid(), metrics: "http://" + leader.HTTP + "/metrics"}
	for _, n := range s.c.Nodes() {
		if n != leader && n.Running() {
			s.procs.followers = append(s.procs.followers, n.Pid())
		}
	}
	return leader
}

// dial makes a client that ends with the workload.
func (s *session) dial() *client.Client {
	s.t.Helper()
	c, err := client.Dial(s.ctx, client.Config{Seeds: strings.Split(s.c.Servers(), ",")})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, c.Close()) })
	return c
}

// topic creates a topic and returns its name.
func (s *session) topic(name string, queues int) string {
	s.t.Helper()
	_, err := s.client.Admin().CreateTopic(s.ctx, name, queues)
	require.NoError(s.t, err)
	return name
}

func (s *session) producer(topic string) *client.Producer {
	s.t.Helper()
	p, err := s.client.Producer(s.ctx, client.ProducerConfig{Topic: topic})
	require.NoError(s.t, err)
	return p
}

func (s *session) consumer(topic string, from client.StartAt) *client.Consumer {
	s.t.Helper()
	c, err := s.client.Consumer(s.ctx, client.ConsumerConfig{Topic: topic, From: from})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, c.Close()) })
	return c
}

// result adds a result to the report.
func (s *session) result(variant string, size int) *figures.Result {
	r := figures.NewResult(s.workload, variant, size)
	s.report.Results = append(s.report.Results, r)
	return r
}

// measure runs a part of a workload and adds what it used.
func (s *session) measure(variant string, size int, run func(*figures.Result)) *figures.Result {
	s.t.Helper()
	r := figures.NewResult(s.workload, variant, size)
	resetPeaks(s.procs)
	before := s.look()
	run(r)
	s.used(r, before)
	s.report.Results = append(s.report.Results, r)
	s.t.Logf("%s %s: %s msg/s, p50 / p99 %s / %s ms", variant, figures.Bytes(size), figures.Number(r.Metrics[figures.MsgsPerS]),
		figures.Number(r.Metrics[figures.P50MS]), figures.Number(r.Metrics[figures.P99MS]))
	return r
}

// ofLimits relates a rate that nothing but the machine held back to the machine's
// limits of the same repetition.
func (s *session) ofLimits(r *figures.Result) *figures.Result {
	m := r.Metrics
	ratio(m, figures.OfBare, m[figures.MsgsPerS], s.rep.bare[r.Size])
	ratio(m, figures.OfDisk, m[figures.Written]*m[figures.MsgsPerS], s.rep.disk)
	return s.ofStream(r)
}

// ofStream is the same for what only reads.
func (s *session) ofStream(r *figures.Result) *figures.Result {
	ratio(r.Metrics, figures.OfStream, r.Metrics[figures.MBPerS]*1e6, s.rep.stream)
	return r
}

func ratio(m map[string]float64, name string, part, whole float64) {
	if part > 0 && whole > 0 {
		m[name] = part / whole
	}
}
