package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
)

// The protocols that listeners agree on with their callers.
const (
	http2 = "h2"
	http1 = "http/1.1"
)

// certificates is the identity of one listener, read from files and read again
// when they change. Handshakes under way keep what they began with.
type certificates struct {
	usage    string // client, peer or http
	cfg      ListenerTLS
	log      *slog.Logger
	onReload func(usage string, expiry time.Time)
	current  atomic.Pointer[material]
}

// loadCertificates reads the files for the first time; here a fault is an error.
func loadCertificates(usage string, cfg ListenerTLS, log *slog.Logger, onReload func(string, time.Time)) (*certificates, error) {
	c := &certificates{usage: usage, cfg: cfg, log: log, onReload: onReload}
	m, err := cfg.load(usage)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c.use(m)
	return c, nil
}

func (c *certificates) use(m *material) {
	c.current.Store(m)
	c.onReload(c.usage, m.cert.Leaf.NotAfter)
}

// reload looks at the files and takes what is new. Files that cannot be used, as
// when only one of two has been replaced yet, leave the old ones in force.
func (c *certificates) reload() {
	stamp, err := c.cfg.stamp(c.usage)
	if err == nil && stamp == c.current.Load().stamp {
		return
	}
	m, err := c.cfg.load(c.usage)
	if err != nil {
		c.log.Error("certificate not reloaded, the old one stays in use", "usage", c.usage, "error", err)
		return
	}
	c.use(m)
	c.log.Info("certificate reloaded", "usage", c.usage, "subject", m.cert.Leaf.Subject.String(), "expires", m.cert.Leaf.NotAfter)
}

// serverConfig is for a listener that clients or browsers call.
func (c *certificates) serverConfig(minVersion uint16, protocol string) *tls.Config {
	return &tls.Config{
		MinVersion: minVersion,
		NextProtos: []string{protocol},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			m := c.current.Load()
			return &tls.Config{
				MinVersion:   minVersion,
				Certificates: []tls.Certificate{m.cert},
				ClientCAs:    m.roots,
				ClientAuth:   c.cfg.ClientAuth.mode(),
				NextProtos:   []string{protocol},
			}, nil
		},
	}
}

func (a ClientAuth) mode() tls.ClientAuthType {
	switch a {
	case ClientAuthRequired:
		return tls.RequireAndVerifyClientCert
	case ClientAuthOptional:
		return tls.VerifyClientCertIfGiven
	case ClientAuthNone:
	}
	return tls.NoClientCert
}

// peerServerConfig is for the peer listener: whoever calls must hold a certificate
// of our CA. Which member it is for is looked at when the caller says who it is
// (checkSender), for members come and go: one that is being added speaks to this
// one, or is the leader, before this one has heard of it.
func (c *certificates) peerServerConfig() *tls.Config {
	cfg := c.serverConfig(tls.VersionTLS13, http2)
	inner := cfg.GetConfigForClient
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		cfg, err := inner(hello)
		if err != nil {
			return nil, err
		}
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
		return cfg, nil
	}
	return cfg
}

// namesOf are the members that the other side has proved to be.
func namesOf(state tls.ConnectionState) ([]string, error) {
	if len(state.PeerCertificates) == 0 {
		return nil, errors.New("no certificate was shown")
	}
	return state.PeerCertificates[0].DNSNames, nil
}

// peerCredentials are for dialling other members: each must show a certificate
// with its own id, whatever its address is.
type peerCredentials struct {
	certs *certificates
}

// config is for dialling the member id, which is the authority of the connection.
func (p *peerCredentials) config(id string) *tls.Config {
	m := p.certs.current.Load()
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{m.cert},
		RootCAs:      m.roots,
		ServerName:   id,
		NextProtos:   []string{http2},
	}
}

// ClientHandshake implements credentials.TransportCredentials with the
// certificates of this moment.
func (p *peerCredentials) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(p.config(authority)).ClientHandshake(ctx, authority, conn)
}

// ServerHandshake is not used: these credentials dial.
func (p *peerCredentials) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("peer credentials are for dialling only")
}

// Info names the protocol.
func (p *peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone returns p: it holds nothing that changes with a connection.
func (p *peerCredentials) Clone() credentials.TransportCredentials { return p }

// OverrideServerName is refused: the name is the member's id.
func (p *peerCredentials) OverrideServerName(string) error {
	return errors.New("a peer's server name is its member id")
}

// reloadCertificates looks at the files every interval until ctx is done.
func reloadCertificates(ctx context.Context, every time.Duration, all []*certificates) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			for _, c := range all {
				c.reload()
			}
		}
	}
}
