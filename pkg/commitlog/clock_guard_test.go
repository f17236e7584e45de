package commitlog_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

func TestClockGuard(t *testing.T) {
	wall := time.Unix(1_700_000_000, 0)
	mono := time.Duration(0)
	g := commitlog.ClockGuard{Settles: 10 * time.Minute}
	look := func(wallStep, monoStep time.Duration) (bool, time.Duration) {
		wall, mono = wall.Add(wallStep), mono+monoStep
		return g.Look(wall, mono)
	}
	for _, step := range []struct {
		what       string
		wall, mono time.Duration
		steady     bool
		jumped     time.Duration
	}{
		{"at start nothing is known", 0, 0, false, 0},
		{"it has to prove itself", 9 * time.Minute, 9 * time.Minute, false, 0},
		{"and does", time.Minute, time.Minute, true, 0},
		{"a correction of less than an hour", 59 * time.Minute, 0, true, 0},
		{"a long while between two looks is no jump", 100 * time.Hour, 100 * time.Hour, true, 0},
		{"backwards makes nothing older", -100 * time.Hour, time.Second, true, 0},
		{"ahead", time.Hour + time.Minute, 59 * time.Second, false, time.Hour + time.Second},
		{"not yet", 9 * time.Minute, 9 * time.Minute, false, 0},
		{"again", 48 * time.Hour, 0, false, 48 * time.Hour},
		{"the wait begins anew", 9 * time.Minute, 9 * time.Minute, false, 0},
		{"until it is over", time.Minute, time.Minute, true, 0},
	} {
		steady, jumped := look(step.wall, step.mono)
		require.Equal(t, step.steady, steady, step.what)
		require.Equal(t, step.jumped, jumped, step.what)
	}
}
