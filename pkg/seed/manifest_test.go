package seed

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func sample() *Manifest {
	return &Manifest{
		ClusterID: "c 1", Group: "default", Begin: 731, PrevTerm: 3, PrevChain: 0x5f0c, Applied: 1500, AppliedTerm: 4, StateHash: 0xffffffff,
		Files: []File{{"MANIFEST-000001", 5, 1}, {"marker.manifest.000001.MANIFEST-000001", 0, 0}},
	}
}

func TestManifest(t *testing.T) {
	m := sample()
	require.Equal(t, "format 1\ncluster \"c 1\"\ngroup \"default\"\nbegin 731\nprev_term 3\nprev_chain 00005f0c\n"+
		"applied 1500\napplied_term 4\nstate_hash ffffffff\nfiles 2\nMANIFEST-000001 5 00000001\n"+
		"marker.manifest.000001.MANIFEST-000001 0 00000000\ncrc32c 3a875191\n", string(m.Encode()))
	got, err := DecodeManifest(m.Encode())
	require.NoError(t, err)
	require.Equal(t, m, got)
	require.Equal(t, m.ID(), got.ID())
	require.EqualValues(t, 5, m.Bytes())
	got.Files[0].CRC++
	require.NotEqual(t, m.ID(), got.ID())
}

// The format of before groups could change is read and written as it was.
func TestManifestWithMembers(t *testing.T) {
	m := sample()
	m.Members = []byte("format 1\ncluster \"c\"\x00\n")
	require.Contains(t, string(m.Encode()), "format 2\n")
	require.Contains(t, string(m.Encode()), "\nmembers \"format 1\\ncluster \\\"c\\\"\\x00\\n\"\nfiles 2\n")
	got, err := DecodeManifest(m.Encode())
	require.NoError(t, err)
	require.Equal(t, m, got)
	raw := m.Encode()
	for i := range raw {
		raw[i] ^= 4
		_, err := DecodeManifest(raw)
		require.ErrorIs(t, err, ErrManifest)
		raw[i] ^= 4
		_, err = DecodeManifest(raw[:i])
		require.ErrorIs(t, err, ErrManifest)
	}
}

func TestManifestIsRefused(t *testing.T) {
	raw := sample().Encode()
	for i := range raw {
		for _, bit := range []int{0, 3, 7} {
			raw[i] ^= 1 << bit
			_, err := DecodeManifest(raw)
			require.ErrorIs(t, err, ErrManifest, "bit %d of byte %d", bit, i)
			raw[i] ^= 1 << bit
		}
		_, err := DecodeManifest(raw[:i])
		require.ErrorIs(t, err, ErrManifest)
	}
	for what, change := range map[string]func(*Manifest){
		"from the beginning": func(m *Manifest) { m.Begin = 0 },
		"a gap":              func(m *Manifest) { m.Applied = m.Begin - 2 },
		"terms":              func(m *Manifest) { m.AppliedTerm = 2 },
		"nobody's":           func(m *Manifest) { m.ClusterID = "" },
		"no files":           func(m *Manifest) { m.Files = nil },
		"up":                 func(m *Manifest) { m.Files[0].Name = "../x" },
		"here":               func(m *Manifest) { m.Files[0].Name = "." },
		"hidden":             func(m *Manifest) { m.Files[0].Name = ".x" },
		"elsewhere":          func(m *Manifest) { m.Files[0].Name = "/etc/passwd" },
		"twice":              func(m *Manifest) { m.Files[0].Name = m.Files[1].Name },
		"negative":           func(m *Manifest) { m.Files[0].Size = -1 },
		"nothing":            func(m *Manifest) { m.Files[0].Name = "" },
	} {
		m := sample()
		change(m)
		_, err := DecodeManifest(m.Encode())
		require.ErrorIs(t, err, ErrManifest, what)
	}
}

// FuzzManifest: whatever the bytes, there is no panic, and what is read is written
// again as it was.
func FuzzManifest(f *testing.F) {
	f.Add(sample().Encode())
	f.Add([]byte("format 1\n"))
	m := sample()
	m.Members = []byte("x")
	f.Add(m.Encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := DecodeManifest(raw)
		if err == nil {
			require.Equal(t, string(raw), string(m.Encode()))
		}
	})
}
