package broker

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDurationText(t *testing.T) {
	for ms, want := range map[int64]string{
		0: "0s", 10: "10ms", 1000: "1s", 300_000: "5m", 3_600_000: "1h", 5_400_000: "1h30m", 3_601_000: "1h0m1s",
		-3_600_000: "-1h", 2_880_000_000: "800h", math.MaxInt64: "2562047h47m16.854s",
	} {
		require.Equal(t, want, durationText(ms))
	}
}
