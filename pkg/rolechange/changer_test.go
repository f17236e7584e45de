package rolechange

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// recorder notes what it is told. A non-nil block makes BecomeMaster wait for ctx.
type recorder struct {
	name  string
	out   *[]call
	block bool
	err   error

	onSlave func(member.Term)
}

type call struct {
	Handler string
	Change  Change
}

func (r *recorder) BecomeMaster(ctx context.Context, term member.Term) error {
	*r.out = append(*r.out, call{r.name, Change{Master, term}})
	if r.block {
		<-ctx.Done()
		return ctx.Err()
	}
	return r.err
}

func (r *recorder) BecomeSlave(_ context.Context, term member.Term) error {
	*r.out = append(*r.out, call{r.name, Change{Slave, term}})
	if r.onSlave != nil {
		r.onSlave(term)
	}
	return r.err
}

func quiet() Config {
	return Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Registerer: prometheus.NewRegistry()}
}

// run starts c in the bubble and returns how to stop it and learn what Run returned.
func run(t *testing.T, c *Changer) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

func TestHandlersRunInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []call
		c := New(quiet())
		c.AddHandler(&recorder{name: "a", out: &got})
		c.AddHandler(&recorder{name: "b", out: &got})
		stop := run(t, c)
		c.Notify(Change{Master, 3})
		synctest.Wait()
		c.Notify(Change{Slave, 4})
		synctest.Wait()
		require.NoError(t, stop())
		want := []call{
			{"a", Change{Master, 3}},
			{"b", Change{Master, 3}},
			{"b", Change{Slave, 4}},
			{"a", Change{Slave, 4}},
		}
		require.Empty(t, cmp.Diff(want, got))
	})
}

func TestLatestWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []call
		c := New(quiet())
		c.AddHandler(&recorder{name: "a", out: &got})
		for term := member.Term(1); term < 9; term++ {
			c.Notify(Change{Slave, term})
			c.Notify(Change{Master, term})
		}
		stop := run(t, c)
		synctest.Wait()
		require.NoError(t, stop())
		require.Equal(t, []call{{"a", Change{Master, 8}}}, got)
	})
}

func TestLateChangesAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []call
		c := New(quiet())
		c.AddHandler(&recorder{name: "a", out: &got})
		stop := run(t, c)
		c.Notify(Change{Slave, 7})
		synctest.Wait()
		c.Notify(Change{Master, 6})
		synctest.Wait() // it must have been dropped by now, not superseded later
		c.Notify(Change{Slave, 7})
		synctest.Wait()
		require.NoError(t, stop())
		require.Equal(t, []call{{"a", Change{Slave, 7}}}, got)
	})
}

func TestNewerChangeCancelsSlowHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []call
		c := New(quiet())
		c.AddHandler(&recorder{name: "slow", out: &got, block: true})
		c.AddHandler(&recorder{name: "next", out: &got})
		stop := run(t, c)
		c.Notify(Change{Master, 2})
		synctest.Wait()
		start := time.Now()
		c.Notify(Change{Slave, 3})
		synctest.Wait()
		require.Zero(t, time.Since(start))
		require.NoError(t, stop())
		want := []call{{"slow", Change{Master, 2}}, {"next", Change{Slave, 3}}, {"slow", Change{Slave, 3}}}
		require.Equal(t, want, got)
	})
}

func TestSlaveStaysSlave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []call
		c := New(quiet())
		c.AddHandler(&recorder{name: "a", out: &got})
		stop := run(t, c)
		for term := member.Term(1); term < 4; term++ {
			c.Notify(Change{Slave, term})
			synctest.Wait()
		}
		require.NoError(t, stop())
		require.Equal(t, []call{{"a", Change{Slave, 1}}}, got)
	})
}

func TestStepDownWithinTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []call
		c := New(quiet())
		c.AddHandler(&recorder{name: "a", out: &got})
		stop := run(t, c)
		c.Notify(Change{Master, 5})
		synctest.Wait()
		c.Notify(Change{Slave, 5})
		synctest.Wait()
		require.NoError(t, stop())
		require.Equal(t, []call{{"a", Change{Master, 5}}, {"a", Change{Slave, 5}}}, got)
	})
}

func TestHandlerErrorEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []call
		bad := errors.New("no timers")
		c := New(quiet())
		c.AddHandler(&recorder{name: "a", out: &got, err: bad})
		done := make(chan error, 1)
		go func() { done <- c.Run(t.Context()) }()
		c.Notify(Change{Master, 4})
		err := <-done
		require.ErrorIs(t, err, bad)
		require.EqualError(t, err, "become MASTER in term 4: no timers")
	})
}

func TestOf(t *testing.T) {
	require.Equal(t, Change{Master, 3}, Of(member.RoleChange{Role: member.Leader, Term: 3}))
	require.Equal(t, Change{Slave, 4}, Of(member.RoleChange{Role: member.Follower, Term: 4}))
	require.Equal(t, Change{Slave, 4}, Of(member.RoleChange{Role: member.Candidate, Term: 4}))
}

func TestSupersededSlaveIsRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []call
		c := New(quiet())
		c.AddHandler(&recorder{name: "a", out: &got})
		c.AddHandler(&recorder{name: "b", out: &got, onSlave: func(term member.Term) {
			if term == 2 {
				c.Notify(Change{Slave, 3})
			}
		}})
		stop := run(t, c)
		c.Notify(Change{Slave, 2})
		synctest.Wait()
		require.NoError(t, stop())
		want := []call{{"b", Change{Slave, 2}}, {"b", Change{Slave, 3}}, {"a", Change{Slave, 3}}}
		require.Equal(t, want, got)
	})
}
