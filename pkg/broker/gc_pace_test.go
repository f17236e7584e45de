package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestGarbageBesideLiveMemoryIsBounded(t *testing.T) {
	for _, tc := range []struct {
		live    Size
		percent int
	}{{0, 100}, {10 * mebibyte, 100}, {96 * mebibyte, 100}, {192 * mebibyte, 50}, {300 * mebibyte, 32}, {4 * gibibyte, 20}} {
		require.Equal(t, tc.percent, gcPercent(uint64(tc.live)), "%s live", tc.live)
	}
}

func TestGCPaceFollowsLiveMemory(t *testing.T) {
	var live uint64
	var set []int
	p := &gcPace{now: 100, set: func(percent int) { set = append(set, percent) }, live: func() uint64 { return live }}
	now := time.Now()
	look := func(bytes Size) {
		live, now = uint64(bytes), now.Add(gcLook)
		p.look(now)
		p.look(now.Add(gcLook / 2)) // too soon
	}
	look(50 * mebibyte)
	require.Empty(t, set)
	look(192 * mebibyte)
	look(195 * mebibyte)
	require.Equal(t, []int{50}, set, "not for little")
	look(300 * mebibyte)
	look(90 * mebibyte)
	look(90 * mebibyte)
	require.Equal(t, []int{50, 32, 100}, set)
	require.Positive(t, liveMemory())

	t.Setenv("GOGC", "200")
	require.Nil(t, newGCPace())
	newGCPace().look(now)
}
