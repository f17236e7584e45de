package dledger

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRedialerSpacesAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		begin := time.Now()
		r := newRedialer(func(context.Context, string) (net.Conn, error) {
			at = append(at, time.Since(begin))
			return nil, errors.New("refused")
		})
		for range 8 {
			_, err := r.dial(t.Context(), "x")
			require.Error(t, err)
		}
		ms := time.Millisecond
		require.Equal(t, []time.Duration{0, 50 * ms, 150 * ms, 350 * ms, 750 * ms, 1550 * ms, 2550 * ms, 3550 * ms}, at)

		go r.soon()
		before := time.Now()
		_, _ = r.dial(t.Context(), "x")
		require.Zero(t, time.Since(before), "a sign of life ends the wait")
		<-time.After(redialQuiet + 1)
		before = time.Now()
		_, _ = r.dial(t.Context(), "x")
		require.Zero(t, time.Since(before), "so does a long peace")

		ctx, cancel := context.WithTimeout(t.Context(), ms)
		defer cancel()
		_, err := r.dial(ctx, "x")
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}
