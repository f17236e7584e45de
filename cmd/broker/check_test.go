package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/cmd/internal/clitest"
)

// TestCheckOfAnotherPort: what is wrong with the address or with --tls is told in words.
func TestCheckOfAnotherPort(t *testing.T) {
	s := clitest.StartServer(t, nil, nil)
	for _, tc := range []struct {
		want string
		args []string
	}{
		{s.Addr + " is no HTTP port: give the one of listen.http", []string{"--http-addr", s.Addr}},
		{s.Addr + " speaks plain text: leave out --tls", []string{"--http-addr", s.Addr, "--tls"}},
		{s.Broker.Addrs().HTTP + " speaks plain text: leave out --tls", []string{"--http-addr", s.Broker.Addrs().HTTP, "--tls"}},
	} {
		_, errs, code := run(t, append([]string{"check", "ready", "--timeout", "60s"}, tc.args...)...)
		require.Equal(t, cli.ExitFailed, code)
		require.Contains(t, errs, tc.want)
	}
}
