package cli

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// ServerEnv names the environment variable that gives --server its default.
const ServerEnv = "LEDGERMQ_SERVER"

// DefaultServer is asked when neither --server nor the environment names one.
const DefaultServer = "127.0.0.1:10911"

// ServerFlags say where the cluster is: any of its brokers will do.
type ServerFlags struct {
	list []string
	TLS  TLSFlags
}

// Register adds --server and the TLS flags to a flag set.
func (f *ServerFlags) Register(fs *pflag.FlagSet) {
	fs.StringSliceVar(&f.list, "server", nil,
		"brokers to ask first, HOST:PORT[,…] (env "+ServerEnv+", default "+DefaultServer+")")
	f.TLS.Register(fs)
}

// Seeds returns the brokers to ask: from the flag, else the environment, else the default.
func (f *ServerFlags) Seeds() ([]string, error) {
	list := f.list
	if len(list) == 0 {
		if env := os.Getenv(ServerEnv); env != "" {
			list = strings.Split(env, ",")
		} else {
			list = []string{DefaultServer}
		}
	}
	seeds := make([]string, 0, len(list))
	for _, s := range list {
		s = strings.TrimSpace(s)
		if _, port, err := net.SplitHostPort(s); err != nil || port == "" {
			return nil, Usagef("server %q: want HOST:PORT", s)
		}
		seeds = append(seeds, s)
	}
	return seeds, nil
}

// Only refuses flags that were given though they do nothing without another one.
func Only(fs *pflag.FlagSet, with string, names ...string) error {
	if fs.Changed(with) {
		return nil
	}
	for _, name := range names {
		if fs.Changed(name) {
			return Usagef("--%s does nothing without --%s: give both or neither", name, with)
		}
	}
	return nil
}

// TLSFlags say whom a client trusts and what it shows. All empty means plain text.
type TLSFlags struct {
	Enabled bool
	CA      string
	Cert    string
	Key     string
}

// Register adds --tls, --tls-ca, --tls-cert and --tls-key to a flag set.
func (f *TLSFlags) Register(fs *pflag.FlagSet) {
	fs.BoolVar(&f.Enabled, "tls", false, "use TLS; implied by the other --tls flags")
	fs.StringVar(&f.CA, "tls-ca", "", "PEM `file` of the authorities to trust instead of the system's")
	fs.StringVar(&f.Cert, "tls-cert", "", "PEM `file` of the client certificate")
	fs.StringVar(&f.Key, "tls-key", "", "PEM `file` of the client certificate's key")
}

// Config reads the files. It returns nil when no TLS was asked for.
func (f *TLSFlags) Config() (*tls.Config, error) {
	if !f.Enabled && f.CA == "" && f.Cert == "" && f.Key == "" {
		return nil, nil
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, Usagef("--tls-cert and --tls-key belong together: give both or neither")
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, Exit(ExitUsage, fmt.Errorf("--tls-ca: %w", err))
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, Usagef("--tls-ca: %s holds no PEM certificate", f.CA)
		}
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, Exit(ExitUsage, fmt.Errorf("--tls-cert, --tls-key: %w", err))
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
