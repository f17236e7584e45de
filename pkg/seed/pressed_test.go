package seed

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A member that asks for its seed again and again and never reads it does not hold
// the ledger for ever, and nobody does when there is no space.
func TestOffersThatAreNotRead(t *testing.T) {
	s := newSource(t)
	m, err := s.Offer(t.Context(), "n2", "")
	require.NoError(t, err)
	for range 3 {
		s.now = s.now.Add(30 * time.Second)
		_, err = s.Offer(t.Context(), "n2", m.ID())
		require.NoError(t, err)
	}
	n, err := s.Expire()
	require.NoError(t, err)
	require.Equal(t, 1, n, "to ask is not to read")

	s = newSource(t)
	_, err = s.Offer(t.Context(), "n2", "")
	require.NoError(t, err)
	require.EqualValues(t, 100, s.Allow(1000, false))
	require.EqualValues(t, 1000, s.Allow(1000, true))
}
