package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDefaultsAreValid(t *testing.T) {
	require.NoError(t, DefaultConfig().Validate())
	require.NoError(t, Config{}.Validate())
}

func TestOpenAddressesNeedTLS(t *testing.T) {
	for name, set := range map[string]func(*Config, string){
		"client": func(c *Config, a string) { c.Listen.Client = a },
		"peer":   func(c *Config, a string) { c.Listen.Peer = a },
		"http":   func(c *Config, a string) { c.Listen.HTTP = a },
	} {
		for _, addr := range []string{":9", "0.0.0.0:9", "[::]:9", "10.0.0.1:9", "mq1:9"} {
			var c Config
			set(&c, addr)
			require.EqualError(t, c.Validate(), "listen."+name+` "`+addr+`" is not a loopback address and tls.`+name+
				" has no certificate: anyone who reaches it could read and write everything; set tls."+name+".cert and tls."+name+
				".key, listen on 127.0.0.1, or accept plain text with --insecure")
			c.Insecure = true
			require.NoError(t, c.Validate())
		}
		for _, addr := range []string{"127.0.0.1:0", "127.1.2.3:1", "[::1]:1", "localhost:1"} {
			var c Config
			set(&c, addr)
			require.NoError(t, c.Validate())
		}
	}
	c := Config{Listen: ListenConfig{Client: ":1"}, TLS: TLSConfig{Client: ListenerTLS{Cert: "a", Key: "b"}}}
	require.NoError(t, c.Validate())
}

func TestFaultsAreNamed(t *testing.T) {
	for want, c := range map[string]Config{
		"node.id":                             {Node: NodeConfig{ID: "a b"}},
		"cluster.id":                          {Cluster: ClusterConfig{ID: "ü"}},
		"cluster.join needs cluster.peers":    {Cluster: ClusterConfig{Join: true}},
		"names only this broker":              {Cluster: ClusterConfig{Join: true, Peers: map[string]string{"n1": "a:1"}}},
		"exclude each other":                  {Cluster: ClusterConfig{Join: true, Bootstrap: true, Peers: map[string]string{"n2": "a:1"}}},
		`cluster.addresses: n2="a"`:           {Cluster: ClusterConfig{Addresses: map[string]string{"n2": "a"}}},
		`cluster.peers has no "n1"`:           {Cluster: ClusterConfig{Peers: map[string]string{"n2": "a:1"}}},
		"is not HOST:PORT":                    {Cluster: ClusterConfig{Peers: map[string]string{"n1": "a"}}},
		"n1 and n2 have the same address a:1": {Cluster: ClusterConfig{Peers: map[string]string{"n1": "a:1", "n2": "a:1"}}, Insecure: true},
		"raft.heartbeat is 1ms":               {Raft: RaftConfig{Heartbeat: time.Millisecond}},
		"raft.max_heartbeat_leak (the election timeout in heartbeats) is 4: use 5 to 1000": {Raft: RaftConfig{MaxHeartbeatLeak: 4}},
		"raft.max_vote_interval":                             {Raft: RaftConfig{MinVoteInterval: 100 * time.Millisecond}},
		"raft.preferred_leader":                              {Raft: RaftConfig{PreferredLeader: "n9"}, Cluster: ClusterConfig{Peers: map[string]string{"n1": "127.0.0.1:1"}}},
		"limits.max_batch_bytes is 16MiB: use 1KiB to 15MiB": {Limits: LimitsConfig{MaxBatchBytes: 16 * mebibyte}},
		"durability.ack":                                     {Durability: DurabilityConfig{Ack: "maybe"}},
		"cert and key go together":                           {TLS: TLSConfig{HTTP: ListenerTLS{Cert: "a"}}},
		"tls.peer: set ca as well":                           {TLS: TLSConfig{Peer: ListenerTLS{Cert: "a", Key: "b"}}},
		"peers always use required":                          {TLS: TLSConfig{Peer: ListenerTLS{Cert: "a", Key: "b", CA: "c", ClientAuth: ClientAuthOptional}}},
		"tls.client.client_auth required needs ca":           {TLS: TLSConfig{Client: ListenerTLS{Cert: "a", Key: "b", ClientAuth: ClientAuthRequired}}},
		"log.level":        {Log: LogConfig{Level: "loud"}},
		"advertise.client": {Advertise: AdvertiseConfig{Client: "nowhere"}},
	} {
		require.ErrorContains(t, c.Validate(), want)
	}
}

func TestListenersDoNotMeet(t *testing.T) {
	for want, listen := range map[string]ListenConfig{
		`listen.client "127.0.0.1:8911" and listen.http "127.0.0.1:8911" are one address: give each a port of its own`: {Client: "127.0.0.1:8911"},
		`listen.client ":9" and listen.peer "127.0.0.1:9"`:                                                             {Client: ":9", Peer: "127.0.0.1:9"},
		`listen.peer "[::1]:9" and listen.http "0.0.0.0:9"`:                                                            {Peer: "[::1]:9", HTTP: "0.0.0.0:9"},
	} {
		require.ErrorContains(t, Config{Listen: listen, Insecure: true}.Validate(), want)
	}
	require.NoError(t, Config{Listen: ListenConfig{Client: "127.0.0.1:0", Peer: "127.0.0.1:0", HTTP: "127.0.0.1:0"}}.Validate(), "the system chooses")
	require.NoError(t, Config{Listen: ListenConfig{Client: "127.0.0.1:9", Peer: "127.0.0.2:9"}}.Validate())
}

func TestPeerListensWhereItsPeersLook(t *testing.T) {
	c := Config{Node: NodeConfig{ID: "n2"}, Cluster: ClusterConfig{Peers: map[string]string{"n1": "127.0.0.1:1", "n2": "127.0.0.1:2"}}}
	require.Equal(t, "127.0.0.1:2", c.withDefaults().Listen.Peer)
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"4096": 4096, "4KiB": 4096, " 1.5 GiB": 3 << 29, "2MB": 2_000_000, "7b": 7, "0": 0} {
		var s Size
		require.NoError(t, s.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, s, text)
		back, err := s.MarshalText()
		require.NoError(t, err)
		var again Size
		require.NoError(t, again.UnmarshalText(back))
		require.Equal(t, s, again)
	}
	for _, text := range []string{"", "x", "-1", "4 bananas", "9999999TiB", "NaN"} {
		var s Size
		require.ErrorContains(t, s.UnmarshalText([]byte(text)), "is not a size", text)
	}
}
