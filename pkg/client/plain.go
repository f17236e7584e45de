package client

import (
	"strconv"
	"strings"
)

// plain takes from gRPC's text about a connection that could not be made, or broke, what wraps
// the reason, and says what to do where that can be told.
func plain(text string) string {
	_, quoted, found := strings.Cut(text, "connection error: desc = ")
	if !found {
		return text
	}
	reason, err := strconv.Unquote(quoted)
	if err != nil {
		return text // not as gRPC writes it
	}
	switch {
	case strings.Contains(reason, "looked like an HTTP/1.1 header"):
		return "this is an HTTP port: use the port for clients"
	case strings.Contains(reason, "first record does not look like a TLS handshake"):
		return "it speaks plain text: leave out TLS (--tls)"
	}
	reason = strings.TrimPrefix(reason, "transport: ")
	return strings.TrimPrefix(reason, "Error while dialing: ")
}
