package broker

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRate(t *testing.T) {
	for text, want := range map[string]Rate{"off": RateOff, "0": RateOff, "8MiB": Rate(8 * mebibyte), " Off ": RateOff} {
		var r Rate
		require.NoError(t, r.UnmarshalText([]byte(text)))
		require.Equal(t, want, r, text)
		again, err := r.MarshalText()
		require.NoError(t, err)
		var back Rate
		require.NoError(t, back.UnmarshalText(again))
		require.Equal(t, r, back)
	}
	var r Rate
	require.ErrorContains(t, r.UnmarshalText([]byte("fast")), "or off")
	require.NoError(t, Config{Storage: StorageConfig{ScrubRate: RateOff}}.Validate())
	require.ErrorContains(t, Config{Storage: StorageConfig{ScrubRate: 1}}.Validate(), "storage.scrub_rate")
}
