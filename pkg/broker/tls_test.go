package broker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// authority is a CA of a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.write("ca.crt", "CERTIFICATE", der)
	return a
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	tmp := path + ".tmp"
	require.NoError(a.t, os.WriteFile(tmp, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	require.NoError(a.t, os.Rename(tmp, path))
	return path
}

// issue writes a certificate for a name, and its key.
func (a *authority) issue(name string, serial int64) ListenerTLS {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Duration(serial) * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	require.NoError(a.t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(a.t, err)
	return ListenerTLS{
		Key:  a.write(name+".key", "EC PRIVATE KEY", keyDER),
		Cert: a.write(name+".crt", "CERTIFICATE", der),
		CA:   filepath.Join(a.dir, "ca.crt"),
	}
}

// config is a client's TLS configuration; without files it has no certificate.
func (a *authority) config(files *ListenerTLS) *tls.Config {
	a.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	cfg := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	if files != nil {
		cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		require.NoError(a.t, err)
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg
}

// dialTLS connects gRPC to an address.
func dialTLS(t *testing.T, addr string, cfg *tls.Config) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestMutualTLSEverywhere(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	clientFiles := ca.issue("client", 10)
	c := startCluster(t, 3, func(c *Config) {
		id := c.Node.ID
		c.TLS = TLSConfig{Client: ca.issue(id, 20), Peer: ca.issue(id, 20), HTTP: ca.issue(id, 20)}
		c.TLS.HTTP.ClientAuth = ClientAuthOptional
	})
	leader, followers := c.leader()
	ask := func(cfg *tls.Config) error {
		conn := dialTLS(t, followers[0].b.Addrs().Client, cfg)
		_, err := brokerv1.NewAdminServiceClient(conn).ListTopics(leader.ctx(), &brokerv1.ListTopicsRequest{}) // forwarded
		return err
	}
	require.NoError(t, ask(ca.config(&clientFiles)))
	require.Equal(t, codes.Unavailable, status.Code(ask(ca.config(nil))), "no certificate")
	wrong := stranger.issue("client", 10)
	require.Equal(t, codes.Unavailable, status.Code(ask(ca.config(&wrong))), "a certificate of another CA")
	old := ca.config(&clientFiles)
	old.MaxVersion = tls.VersionTLS12
	require.Equal(t, codes.Unavailable, status.Code(ask(old)), "TLS 1.2")

	tr := &http.Transport{TLSClientConfig: ca.config(nil), DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr}).Get("https://" + leader.b.Addrs().HTTP + "/livez")
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
}

func TestPeersProveWhoTheyAre(t *testing.T) {
	ca := newAuthority(t)
	c := startCluster(t, 3, func(c *Config) { c.TLS.Peer = ca.issue(c.Node.ID, 20) })
	leader, followers := c.leader()
	heartBeat := func(files *ListenerTLS, from string) error {
		cfg := ca.config(files)
		cfg.ServerName = leader.cfg.Node.ID
		conn := dialTLS(t, leader.b.Addrs().Peer, cfg)
		_, err := dledgerv1.NewDLedgerServiceClient(conn).HeartBeat(leader.ctx(), &dledgerv1.HeartBeatRequest{
			Header: &dledgerv1.Header{ClusterId: "ledgermq", Group: group, From: from, To: leader.cfg.Node.ID},
		})
		return err
	}
	outsider, insider := ca.issue("n9", 20), followers[0].cfg.TLS.Peer
	require.NoError(t, heartBeat(&outsider, "n9"), "one that is being added must be heard; the ledger judges it")
	require.Equal(t, codes.PermissionDenied, status.Code(heartBeat(&outsider, "n2")), "another's name")
	files := ca.config(&outsider)
	files.ServerName = leader.cfg.Node.ID
	_, err := brokerv1.NewAdminServiceClient(dialTLS(t, leader.b.Addrs().Peer, files)).ListTopics(leader.ctx(), &brokerv1.ListTopicsRequest{})
	require.Equal(t, codes.PermissionDenied, status.Code(err), "only members pass on what clients ask for")
	require.Equal(t, codes.Unavailable, status.Code(heartBeat(nil, "n2")), "no certificate")
	err = heartBeat(&insider, followers[1].cfg.Node.ID)
	require.Equal(t, codes.PermissionDenied, status.Code(err))
	require.ErrorContains(t, err, `request of "`+followers[1].cfg.Node.ID+`" came with the certificate of ["`+followers[0].cfg.Node.ID+`"]`)
	require.Equal(t, leader.b.view().term, followers[1].b.view().term)
}

func TestCertificatesAreReloaded(t *testing.T) {
	ca := newAuthority(t)
	files := ca.issue("n1", 20)
	files.ClientAuth = ClientAuthNone
	n := startSingle(t, func(c *Config) {
		c.TLS.Client = files
		c.TLS.Reload = time.Millisecond
	})
	serial := func() int64 {
		conn, err := tls.Dial("tcp", n.b.Addrs().Client, ca.config(nil))
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	require.EqualValues(t, 20, serial())
	before := testutil.ToFloat64(n.b.metrics.certExpiry.WithLabelValues("client"))

	// A key without its certificate is not used, and nobody is turned away.
	require.NoError(t, os.WriteFile(files.Key, []byte("half written"), 0o600))
	require.EqualValues(t, 20, serial())
	ca.issue("n1", 40)
	require.Eventually(t, func() bool { return serial() == 40 }, patience, time.Millisecond)
	require.Greater(t, testutil.ToFloat64(n.b.metrics.certExpiry.WithLabelValues("client")), before)
}

func TestCertificatesThatCannotBeUsed(t *testing.T) {
	ca := newAuthority(t)
	good := ca.issue("n1", 20)
	for want, files := range map[string]ListenerTLS{
		"tls.client.cert: stat nowhere: no such file":              {Cert: "nowhere", Key: good.Key},
		"tls.client.key: stat nowhere: no such file":               {Cert: good.Cert, Key: "nowhere"},
		"tls.client.ca: stat nowhere: no such file":                {Cert: good.Cert, Key: good.Key, CA: "nowhere"},
		"may read\ntls.client.key: stat nothing: no such file":     {Cert: "nowhere", Key: "nothing"},
		"tls.client.key: read " + ca.dir + ": is a directory":      {Cert: good.Cert, Key: ca.dir},
		"tls.client: certificate " + good.CA:                       {Cert: good.CA, Key: good.Key},
		"tls.client.ca: " + good.Key + " holds no PEM certificate": {Cert: good.Cert, Key: good.Key, CA: good.Key},
	} {
		cfg := testConfig(t, "n1")
		cfg.TLS.Client = files
		require.NoError(t, cfg.Validate(), "the files are not read: whoever prints a configuration need not have them")
		require.ErrorContains(t, cfg.Check(), want)
		_, err := New(cfg)
		require.ErrorContains(t, err, want)
		require.ErrorIs(t, err, ErrConfig)
	}
	cfg := testConfig(t, "n1")
	cfg.TLS.Client = good
	require.NoError(t, cfg.Check())
}
