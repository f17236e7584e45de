package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ledgermq/ledgermq/cmd/broker/config"
	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/broker"
)

// configEnv names the configuration file when --config does not.
const configEnv = config.EnvPrefix + "CONFIG"

// codeInvalid is for settings that are well formed each and make no sense
// together or are out of range.
const codeInvalid = "CONFIG_INVALID"

// settingFlags are the settings that have a flag of their own; every other one
// is given in the file or the environment.
var settingFlags = []struct{ flag, path, value, usage string }{
	{"id", "node.id", "ID", "member id of this broker"},
	{"peers", "cluster.peers", "ID=HOST:PORT,..", "peer address of every member, this one too (default: a group of its own)"},
	{"cluster-id", "cluster.id", "ID", "name of the cluster; members of another one are refused"},
	{"data", "node.data", "DIR", "where ledger and state are kept"},
	{"client-addr", "listen.client", "HOST:PORT", "address to serve clients on"},
	{"peer-addr", "listen.peer", "HOST:PORT", "address to serve other members on (default: this member's in --peers)"},
	{"http-addr", "listen.http", "HOST:PORT", "address to serve metrics and health on"},
	{"advertise-addr", "advertise.client", "HOST:PORT", "address that clients are sent to (default: the one listened on)"},
	{"durability", "durability.ack", "KIND", "what an acknowledgement proves: quorum-fsync or page-cache"},
	{"client-tls-cert", "tls.client.cert", "FILE", "certificate of the client listener"},
	{"client-tls-key", "tls.client.key", "FILE", "its key"},
	{"client-tls-ca", "tls.client.ca", "FILE", "authorities of the clients' certificates, which are then required"},
	{"peer-tls-cert", "tls.peer.cert", "FILE", "certificate for talking to other members"},
	{"peer-tls-key", "tls.peer.key", "FILE", "its key"},
	{"peer-tls-ca", "tls.peer.ca", "FILE", "authorities of the members' certificates"},
	{"http-tls-cert", "tls.http.cert", "FILE", "certificate of the metrics and health listener"},
	{"http-tls-key", "tls.http.key", "FILE", "its key"},
	{"log-level", "log.level", "LEVEL", "debug, info, warn or error"},
	{"log-format", "log.format", "FORMAT", "auto (text on a terminal, JSON elsewhere), text or json"},
}

// settingSwitches are those that are on or off.
var settingSwitches = []struct{ flag, path, usage string }{
	{"join", "cluster.join", "wait to be added to the group that --peers names (broker admin member add)"},
	{"bootstrap", "cluster.bootstrap", "let a majority of new members begin a group without the rest; only for its very first start"},
	{"insecure", "insecure", "allow plain text on addresses other than loopback"},
}

// configFlags are the flags of every command that needs a configuration.
type configFlags struct {
	file   string
	values map[string]*string // by flag
	flags  *pflag.FlagSet
}

func (f *configFlags) register(flags *pflag.FlagSet) {
	f.flags, f.values = flags, map[string]*string{}
	defaults := broker.DefaultConfig()
	settings := config.Of(&defaults)
	flags.SortFlags = false
	flags.StringVar(&f.file, "config", "", "configuration `FILE` (env "+configEnv+"); environment and flags stand above it")
	for _, s := range settingFlags {
		usage := fmt.Sprintf("%s `%s`", s.usage, s.value)
		usage = strings.TrimSuffix(usage, " `"+s.value+"`")
		if def := settings.Find(s.path).Value(); def != "" && !strings.Contains(usage, "default:") {
			usage += " (default " + def + ")"
		}
		f.values[s.flag] = new(string)
		flags.Var(&settingValue{text: f.values[s.flag], kind: s.value}, s.flag, usage)
	}
	for _, s := range settingSwitches {
		flags.Bool(s.flag, false, s.usage)
	}
}

// settingValue is a flag whose text is parsed later, when all sources are known.
type settingValue struct {
	text *string
	kind string
}

func (v *settingValue) String() string {
	if v.text == nil {
		return ""
	}
	return *v.text
}

func (v *settingValue) Set(s string) error { *v.text = s; return nil }
func (v *settingValue) Type() string       { return v.kind }

// load reads file, environment and flags, in rising order. What none of them
// says stays zero: its default is the broker's affair.
func (f *configFlags) load() (*broker.Config, *config.Settings, error) {
	cfg := &broker.Config{}
	settings := config.Of(cfg)
	if err := f.fill(settings); err != nil {
		return nil, nil, configError(err)
	}
	if err := cfg.Validate(); err != nil {
		return nil, nil, invalid(fmt.Errorf("%w: %w", broker.ErrConfig, err))
	}
	return cfg, settings, nil
}

// invalid puts the faults of a configuration on one line.
func invalid(err error) error {
	faults := strings.ReplaceAll(err.Error(), "\n", "; ")
	return &cli.Error{Exit: cli.ExitUsage, Code: codeInvalid, Err: errors.New(faults)}
}

func (f *configFlags) fill(settings *config.Settings) error {
	if file := cmp.Or(f.file, os.Getenv(configEnv)); file != "" {
		if err := settings.FromFile(file); err != nil {
			return err
		}
	}
	if err := settings.FromEnv(os.Environ(), []string{cli.ServerEnv, configEnv}); err != nil {
		return err
	}
	for _, s := range settingFlags {
		if f.flags.Changed(s.flag) {
			if err := settings.FromFlag(s.path, s.flag, *f.values[s.flag]); err != nil {
				return err
			}
		}
	}
	for _, s := range settingSwitches {
		if f.flags.Changed(s.flag) {
			if err := settings.FromFlag(s.path, s.flag, f.flags.Lookup(s.flag).Value.String()); err != nil {
				return err
			}
		}
	}
	return nil
}

func configError(err error) error {
	var fault *config.Error
	if errors.As(err, &fault) {
		return &cli.Error{Exit: cli.ExitUsage, Code: fault.Code, Err: fault}
	}
	return err
}

// withDefaults shows what the broker makes of a configuration, for printing.
func withDefaults(cfg *broker.Config) {
	defaults := broker.DefaultConfig()
	// These defaults follow other settings.
	defaults.Listen.Peer = cmp.Or(cfg.Cluster.Peers[cmp.Or(cfg.Node.ID, defaults.Node.ID)], defaults.Listen.Peer)
	defaults.Limits.MaxFrameBytes = max(2*cfg.Limits.MaxBatchBytes, defaults.Limits.MaxFrameBytes)
	for listener, def := range map[*broker.ListenerTLS]*broker.ListenerTLS{
		&cfg.TLS.Client: &defaults.TLS.Client, &cfg.TLS.Peer: &defaults.TLS.Peer, &cfg.TLS.HTTP: &defaults.TLS.HTTP,
	} {
		if listener.CA != "" {
			def.ClientAuth = broker.ClientAuthRequired
		}
	}
	fillZero(reflect.ValueOf(cfg).Elem(), reflect.ValueOf(defaults))
}

// fillZero copies to every field that is zero the field of the same name.
func fillZero(to, from reflect.Value) {
	for i := range to.NumField() {
		switch field := to.Field(i); {
		case field.Kind() == reflect.Struct:
			fillZero(field, from.Field(i))
		case field.IsZero() && field.CanSet():
			field.Set(from.Field(i))
		}
	}
}
