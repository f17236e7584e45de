package seed

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"regexp"
	"strconv"
	"strings"
)

// The formats: 2 has the members, 1 is of brokers whose groups could not change.
const (
	manifestFormat       = "2"
	manifestWithoutGroup = "1"
)

// Limits of what a manifest may say. A member that reads one has them too.
const (
	maxFiles    = 1 << 20
	maxNameSize = 255
	maxMembers  = 8 << 20 // bytes
)

var (
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
	namePattern = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)
)

// ErrManifest is what every refusal of a manifest is.
var ErrManifest = errors.New("seed manifest refused")

// File is one file of a checkpoint.
type File struct {
	Name string // without a directory
	Size int64  // bytes
	CRC  uint32 // CRC-32C of all of them
}

// Manifest says what a seed is: where the ledger goes on, and the files of the
// state that stands for what is before. docs/format/seed.md draws its bytes.
type Manifest struct {
	ClusterID, Group string
	// Begin is the first entry that the ledger will hold; PrevTerm and PrevChain are
	// the term and the chain CRC of the entry before it.
	Begin     int64
	PrevTerm  int64
	PrevChain uint32
	// Applied is the last entry that the state covers, Begin-1 or later, with its
	// term; StateHash is the state's rolling hash there.
	Applied     int64
	AppliedTerm int64
	StateHash   uint32
	// Members is what the new member must be told of the group (docs/format/members.md);
	// empty in format 1. What is in it is not this package's business.
	Members []byte
	Files   []File
}

// Bytes is how many bytes all files have.
func (m *Manifest) Bytes() (n int64) {
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// ID names the seed: two manifests with one id are the same.
func (m *Manifest) ID() string {
	sum := sha256.Sum256(m.Encode())
	return hex.EncodeToString(sum[:16])
}

// Encode writes the manifest as lines, the last one a CRC-32C over those before.
func (m *Manifest) Encode() []byte {
	format, members := manifestFormat, fmt.Appendf(nil, "members %q\n", m.Members)
	if len(m.Members) == 0 {
		format, members = manifestWithoutGroup, nil
	}
	b := fmt.Appendf(nil, "format %s\ncluster %q\ngroup %q\nbegin %d\nprev_term %d\nprev_chain %08x\napplied %d\napplied_term %d\nstate_hash %08x\n%sfiles %d\n",
		format, m.ClusterID, m.Group, m.Begin, m.PrevTerm, m.PrevChain, m.Applied, m.AppliedTerm, m.StateHash, members, len(m.Files))
	for _, f := range m.Files {
		b = fmt.Appendf(b, "%s %d %08x\n", f.Name, f.Size, f.CRC)
	}
	return fmt.Appendf(b, "crc32c %08x\n", crc32.Checksum(b, castagnoli))
}

// StateOnly says whether the seed's ledger begins right behind its state: there is
// nothing in it but the state.
func (m *Manifest) StateOnly() bool { return m.Begin == m.Applied+1 }

// DecodeManifest reads what Encode wrote, and nothing else. Its error is an
// ErrManifest.
func DecodeManifest(raw []byte) (*Manifest, error) {
	m, err := decodeManifest(string(raw))
	if err == nil {
		err = m.check()
	}
	if err == nil && string(m.Encode()) != string(raw) {
		err = errors.New("checksum mismatch, or not the one way to write it")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	return m, nil
}

func decodeManifest(raw string) (*Manifest, error) {
	m := &Manifest{}
	var format string
	var count int
	head, rest := cutLines(raw, 9)
	_, err := fmt.Sscanf(head, "format %s\ncluster %q\ngroup %q\nbegin %d\nprev_term %d\nprev_chain %x\napplied %d\napplied_term %d\nstate_hash %x\n",
		&format, &m.ClusterID, &m.Group, &m.Begin, &m.PrevTerm, &m.PrevChain, &m.Applied, &m.AppliedTerm, &m.StateHash)
	switch {
	case err != nil:
		return nil, fmt.Errorf("not a manifest: %w", err)
	case format == manifestFormat:
		if m.Members, rest, err = decodeMembers(rest); err != nil {
			return nil, err
		}
	case format != manifestWithoutGroup:
		return nil, fmt.Errorf("format %s, this broker reads %s and %s", format, manifestWithoutGroup, manifestFormat)
	}
	head, rest = cutLines(rest, 1)
	if _, err := fmt.Sscanf(head, "files %d\n", &count); err != nil || count < 0 || count > maxFiles {
		return nil, fmt.Errorf("number of files %.80q: %w", head, err)
	}
	for range count {
		line, more, _ := strings.Cut(rest, "\n")
		f, err := decodeFile(line)
		if err != nil {
			return nil, err
		}
		m.Files, rest = append(m.Files, f), more
	}
	return m, nil
}

// cutLines takes the first n lines of a text.
func cutLines(text string, n int) (head, rest string) {
	lines := strings.SplitAfterN(text, "\n", n+1)
	if len(lines) <= n {
		return text, ""
	}
	return strings.Join(lines[:n], ""), lines[n]
}

func decodeMembers(text string) (members []byte, rest string, err error) {
	line, rest := cutLines(text, 1)
	quoted, found := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "members ")
	raw, err := strconv.Unquote(quoted)
	if !found || err != nil || raw == "" || len(raw) > maxMembers {
		return nil, "", fmt.Errorf("members line %.80q", line)
	}
	return []byte(raw), rest, nil
}

func decodeFile(line string) (f File, err error) {
	words := strings.Split(line, " ")
	if len(words) != 3 {
		return f, fmt.Errorf("file line %.80q", line)
	}
	f.Name = words[0]
	if f.Size, err = strconv.ParseInt(words[1], 10, 64); err != nil {
		return f, fmt.Errorf("file line %.80q", line)
	}
	crc, err := strconv.ParseUint(words[2], 16, 32)
	if err != nil {
		return f, fmt.Errorf("file line %.80q", line)
	}
	f.CRC = uint32(crc)
	return f, nil
}

// check refuses what no broker offers: above all names that lead elsewhere.
func (m *Manifest) check() error {
	switch {
	case m.ClusterID == "" || m.Group == "":
		return errors.New("it does not say whose it is")
	case m.Begin < 1 || m.PrevTerm < 1:
		return fmt.Errorf("the ledger begins at %d after term %d", m.Begin, m.PrevTerm)
	case m.Applied < m.Begin-1 || m.AppliedTerm < m.PrevTerm:
		return fmt.Errorf("the state ends at entry %d of term %d, the ledger begins at %d after term %d", m.Applied, m.AppliedTerm, m.Begin, m.PrevTerm)
	case len(m.Files) == 0:
		return errors.New("it has no files")
	}
	seen := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		if !namePattern.MatchString(f.Name) || len(f.Name) > maxNameSize || seen[f.Name] {
			return fmt.Errorf("file name %.80q", f.Name)
		}
		if f.Size < 0 {
			return fmt.Errorf("file %s of %d bytes", f.Name, f.Size)
		}
		seen[f.Name] = true
	}
	return nil
}

// file finds a file by its name.
func (m *Manifest) file(name string) (File, bool) {
	for _, f := range m.Files {
		if f.Name == name {
			return f, true
		}
	}
	return File{}, false
}
