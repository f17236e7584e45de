package client

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"nothing of gRPC's": "nothing of gRPC's",
		`connection error: desc = "transport: Error while dialing: dial tcp: lookup \"x\": no such host"`: `dial tcp: lookup "x": no such host`,
		`last connection error: connection error: desc = "error reading from server: EOF"`:                "error reading from server: EOF",
		`connection error: desc = "cut off`: `connection error: desc = "cut off`,
	} {
		if got := plain(text); got != want {
			t.Errorf("%s: got %s", text, got)
		}
	}
}

// TestWrongPort: what is wrong with the port or with --tls is told where it shows.
func TestWrongPort(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler()}
	var serving errgroup.Group
	serving.Go(func() error { return server.Serve(listener) })
	t.Cleanup(func() { _ = server.Close(); _ = serving.Wait() })
	for want, cfg := range map[string]*tls.Config{
		"this is an HTTP port: use the port for clients": nil,
		"it speaks plain text: leave out TLS (--tls)":    {},
	} {
		want = fmt.Sprintf("no broker reachable (%s: %s)", listener.Addr(), want)
		var err error
		for wait := 100 * time.Millisecond; wait < patience; wait *= 2 { // until it has tried
			_, err = Dial(t.Context(), Config{Seeds: []string{listener.Addr().String()}, TLS: cfg, DialTimeout: wait})
			if err == nil || !strings.Contains(err.Error(), "no answer") {
				break
			}
		}
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
