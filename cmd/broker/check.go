package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/broker/config"
	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/broker"
)

// newCheck is what a container's health check calls: an image made of nothing
// but the binaries has no curl.
func newCheck(streams cli.Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Ask a broker whether it is ready or alive (exit 0 or 1)",
	}
	addCommands(
		cmd,
		newProbe(streams, "ready", "/readyz", "Ask whether it knows a leader and has caught up"),
		newProbe(streams, "live", "/livez", "Ask whether its main loops run"),
	)
	return cmd
}

func newProbe(streams cli.Streams, name, path, short string) *cobra.Command {
	var addr string
	var timeout time.Duration
	var trust cli.TLSFlags
	cmd := &cobra.Command{
		Use:   name,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			tlsConfig, err := trust.Config()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			text, err := probe(ctx, addr, path, tlsConfig)
			if err != nil {
				return &cli.Error{Exit: cli.ExitFailed, Code: "NOT_" + strings.ToUpper(name), Err: err}
			}
			_, err = fmt.Fprintln(streams.Out, text)
			return err
		},
	}
	cmd.Flags().StringVar(&addr, "http-addr", defaultProbeAddr(), "where the broker serves health")
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Second, "how long to wait for an answer")
	trust.Register(cmd.Flags())
	return cmd
}

// defaultProbeAddr is where a broker with this environment serves health.
func defaultProbeAddr() string {
	if addr := os.Getenv(config.EnvPrefix + "LISTEN_HTTP"); addr != "" {
		return strings.Replace(addr, "0.0.0.0:", "127.0.0.1:", 1)
	}
	return broker.DefaultConfig().Listen.HTTP
}

// politeConn reads nothing before something was written: a port of another kind may speak first,
// and what an HTTP client makes of that depends on when it comes.
type politeConn struct {
	net.Conn
	spoken chan struct{} // closed by the first Write, or by Close
	once   sync.Once
}

func dialPolitely(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &politeConn{Conn: conn, spoken: make(chan struct{})}, nil
}

// Write writes, and lets reading begin.
func (c *politeConn) Write(b []byte) (int, error) {
	defer c.once.Do(func() { close(c.spoken) })
	return c.Conn.Write(b)
}

// Read reads once something was written.
func (c *politeConn) Read(b []byte) (int, error) {
	<-c.spoken
	return c.Conn.Read(b)
}

// Close closes, and ends a Read.
func (c *politeConn) Close() error {
	defer c.once.Do(func() { close(c.spoken) })
	return c.Conn.Close()
}

// probeError says what to do about another port, or about --tls, where that can be told.
func probeError(addr string, err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "malformed HTTP"):
		return fmt.Errorf("%s is no HTTP port: give the one of listen.http as --http-addr", addr)
	case strings.Contains(text, "first record does not look like a TLS handshake"), strings.Contains(text, "HTTP response to HTTPS client"):
		return fmt.Errorf("%s speaks plain text: leave out --tls", addr)
	}
	return err
}

func probe(ctx context.Context, addr, path string, tlsConfig *tls.Config) (string, error) {
	scheme := "http"
	if tlsConfig != nil {
		scheme = "https"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+addr+path, http.NoBody)
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig, DisableKeepAlives: true, DialContext: dialPolitely}}
	response, err := client.Do(request)
	if err != nil {
		return "", probeError(addr, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return "", fmt.Errorf("%s%s: %w", addr, path, err)
	}
	text := strings.TrimSpace(string(body))
	if response.StatusCode != http.StatusOK {
		return "", errors.New(addr + path + ": " + response.Status + ": " + text)
	}
	return text, nil
}
