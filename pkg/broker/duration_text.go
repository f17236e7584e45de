package broker

import (
	"math"
	"strings"
	"time"
)

// durationText is a time in milliseconds as people write it: 5m, not 300000 or 5m0s.
func durationText(ms int64) string {
	const most = math.MaxInt64 / int64(time.Millisecond)
	text := (time.Duration(min(max(ms, -most), most)) * time.Millisecond).String()
	if rest, even := strings.CutSuffix(text, "m0s"); even {
		text = rest + "m"
	}
	if rest, even := strings.CutSuffix(text, "h0m"); even {
		text = rest + "h"
	}
	return text
}
