package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// material is one state of a listener's files. It does not change.
type material struct {
	cert  tls.Certificate
	roots *x509.CertPool // nil: no CA configured
	stamp string         // sizes and times of the files
}

// load reads the files of the listener that usage names.
func (t ListenerTLS) load(usage string) (*material, error) {
	stamp, err := t.stamp(usage)
	if err != nil {
		return nil, err
	}
	cert, certErr := readPEM(usage, "cert", t.Cert)
	key, keyErr := readPEM(usage, "key", t.Key)
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, err
	}
	m := &material{stamp: stamp}
	if m.cert, err = tls.X509KeyPair(cert, key); err != nil {
		return nil, fmt.Errorf("tls.%s: certificate %s with key %s: %w", usage, t.Cert, t.Key, err)
	}
	if t.CA == "" {
		return m, nil
	}
	ca, err := readPEM(usage, "ca", t.CA)
	if err != nil {
		return nil, err
	}
	m.roots = x509.NewCertPool()
	if !m.roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("tls.%s.ca: %s holds no PEM certificate", usage, t.CA)
	}
	return m, nil
}

func readPEM(usage, key, path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, unusableFile(usage, key, err)
	}
	return content, nil
}

func unusableFile(usage, key string, err error) error {
	return fmt.Errorf("tls.%s.%s: %w: name a PEM file that this process may read", usage, key, err)
}

// stamp changes when one of the files does. A symbolic link is followed: that is
// how Kubernetes swaps secrets. Its error names every file that is not there.
func (t ListenerTLS) stamp(usage string) (string, error) {
	var stamp string
	var faults []error
	for _, f := range []struct{ key, path string }{{"cert", t.Cert}, {"key", t.Key}, {"ca", t.CA}} {
		if f.path == "" {
			continue
		}
		info, err := os.Stat(f.path)
		if err != nil {
			faults = append(faults, unusableFile(usage, f.key, err))
			continue
		}
		stamp += fmt.Sprintf("%d@%d;", info.Size(), info.ModTime().UnixNano())
	}
	return stamp, errors.Join(faults...)
}

// checkFiles reads the files of every listener and uses none.
func (t TLSConfig) checkFiles() error {
	var faults []error
	for _, l := range []struct {
		usage string
		cfg   ListenerTLS
	}{{"client", t.Client}, {"peer", t.Peer}, {"http", t.HTTP}} {
		if !l.cfg.enabled() {
			continue
		}
		_, err := l.cfg.load(l.usage)
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}
