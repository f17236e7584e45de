package dledger

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// testRecord has everything that a members file can hold.
func testRecord() membersRecord {
	three := member.Members{{ID: "n1", Address: "h1:1"}, {ID: "n2", Address: "h2:1"}, {ID: "n3", Address: "[::1]:1"}}
	return membersRecord{
		owner: testOwner, generation: "1-abc",
		changes: []member.Change{
			{At: member.NoIndex, Members: three[:1]},
			{At: 17, Term: 4, Members: append(three[:1:1], member.Seat{ID: "n4", Learner: true, Address: "a \"b\"\n c:1"})},
		},
		recoveries: []Recovery{{
			Generation: "1-abc", Time: time.UnixMilli(1_700_000_000_123).UTC(), Member: "n1", Before: three, After: three[:1],
			Reason: "two disks\nburnt", End: 16, EndTerm: 3, Applied: 12,
		}},
	}
}

func TestMembersRecordGolden(t *testing.T) {
	record := testRecord()
	want := `format 1
cluster "test"
group "g0"
member "n1"
generation "1-abc"
recoveries 1
recovery "1-abc" 1700000000123 "n1" 16 3 12 3 1 "two disks\nburnt"
voter "n1" "h1:1"
voter "n2" "h2:1"
voter "n3" "[::1]:1"
voter "n1" "h1:1"
changes 2
change -1 0 1
voter "n1" "h1:1"
change 17 4 2
voter "n1" "h1:1"
learner "n4" "a \"b\"\n c:1"
`
	raw := record.encode()
	body, crc, _ := strings.Cut(string(raw), "crc32c ")
	require.Equal(t, want, body, "the format is fixed: docs/format/members.md")
	require.Equal(t, "f0791a91\n", crc)
	got, err := decodeMembersRecord(raw)
	require.NoError(t, err)
	require.Equal(t, record, got)
}

// The word that a member was given up is of format 2; a broker that does not know it must
// not start on it.
func TestMembersRecordGivenUp(t *testing.T) {
	record := testRecord()
	record.givenUp = "n1 refuses it: \"2-def\"\nfor ever"
	raw := record.encode()
	require.Contains(t, string(raw), "format 2\n")
	require.Contains(t, string(raw), "generation \"1-abc\"\ngiven-up \"n1 refuses it: \\\"2-def\\\"\\nfor ever\"\nrecoveries 1\n")
	got, err := decodeMembersRecord(raw)
	require.NoError(t, err)
	require.Equal(t, record, got)
	_, err = decodeMembersRecord(bytes.Replace(raw, []byte("format 2"), []byte("format 1"), 1))
	require.ErrorIs(t, err, errMembersFile)
	_, err = decodeMembersRecord(bytes.Replace(raw, []byte("format 2"), []byte("format 3"), 1))
	require.ErrorContains(t, err, "format 3, this broker reads 1 and 2")
}

// Nothing but a whole record is read: any byte changed or cut off is noticed.
func TestMembersRecordDamage(t *testing.T) {
	raw := testRecord().encode()
	for i := range raw {
		_, err := decodeMembersRecord(raw[:i])
		require.ErrorIs(t, err, errMembersFile, "cut at %d", i)
		for bit := range 8 {
			bad := bytes.Clone(raw)
			bad[i] ^= 1 << bit
			_, err := decodeMembersRecord(bad)
			require.ErrorIs(t, err, errMembersFile, "bit %d of byte %d", bit, i)
		}
	}
	_, err := decodeMembersRecord(append(raw, '\n'))
	require.ErrorIs(t, err, errMembersFile)
}

func TestMembersRecordRefusesWhatCannotBe(t *testing.T) {
	for name, change := range map[string]func(*membersRecord){
		"order":     func(r *membersRecord) { r.changes[1].At = member.NoIndex },
		"terms":     func(r *membersRecord) { r.changes[0].Term = 9 },
		"nobody":    func(r *membersRecord) { r.changes[1].Members = member.Members{{ID: "n4", Learner: true}} },
		"unsorted":  func(r *membersRecord) { r.recoveries[0].Before[0].ID = "n9" },
		"unnamed":   func(r *membersRecord) { r.recoveries[0].Generation = "" },
		"long name": func(r *membersRecord) { r.changes[1].Members[1].Address = strings.Repeat("x", maxAddressBytes+1) },
	} {
		r := testRecord()
		change(&r)
		_, err := decodeMembersRecord(r.encode())
		require.ErrorIs(t, err, errMembersFile, name)
	}
}

// FuzzDecodeMembersRecord: whatever the bytes, there is no panic, and what is read is
// written as the same bytes.
func FuzzDecodeMembersRecord(f *testing.F) {
	f.Add(testRecord().encode())
	f.Add(membersRecord{owner: testOwner}.encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := decodeMembersRecord(raw); err == nil && !bytes.Equal(r.encode(), raw) {
			t.Fatalf("read %q, wrote %q", raw, r.encode())
		}
	})
}

func testMembership() *dledgerv1.Membership {
	r := testRecord()
	m := &dledgerv1.Membership{
		Seats: seatsToWire(r.group()), Op: dledgerv1.ChangeOp_CHANGE_OP_ADD_LEARNER, Id: "n4", Address: "h4:1", Generation: r.generation,
	}
	for _, v := range r.recoveries {
		m.Recoveries = append(m.Recoveries, recoveryToWire(v))
	}
	return m
}

func TestMembershipBody(t *testing.T) {
	body, err := encodeMembership(testMembership())
	require.NoError(t, err)
	got, err := decodeMembership(body)
	require.NoError(t, err)
	require.Equal(t, testRecord().group(), seatsFromWire(got.GetSeats()))
	require.Equal(t, testRecord().recoveries[0], recoveryFromWire(got.GetRecoveries()[0]))
	empty, err := encodeMembership(&dledgerv1.Membership{})
	require.NoError(t, err)
	for name, bad := range map[string][]byte{"nothing": nil, "no CRC": body[:3], "cut": body[:len(body)-1], "nobody": empty} {
		_, err := decodeMembership(bad)
		require.ErrorIs(t, err, errMembership, name)
	}
}

// FuzzDecodeMembership: whatever the bytes, there is no panic, and a group that is
// taken is one that can be.
func FuzzDecodeMembership(f *testing.F) {
	body, err := encodeMembership(testMembership())
	require.NoError(f, err)
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := decodeMembership(body)
		if err == nil && seatsFromWire(m.GetSeats()).Validate() != nil {
			t.Fatalf("took %v", m)
		}
	})
}

// The changes among the entries of a push are found, with their places.
func TestChangesAmongEntries(t *testing.T) {
	log, err := commitlog.Open(commitlog.Config{Dir: t.TempDir(), ClusterID: "test", Group: "g0", MemberID: "n1", SegmentBytes: 4 << 20})
	require.NoError(t, err)
	change, err := encodeMembership(testMembership())
	require.NoError(t, err)
	log.BecomeMaster(3)
	bodies := []commitlog.Body{{Type: commitlog.TypeNoop}, {Type: commitlog.TypeConfigChange, Bytes: change}, body("x")}
	require.NoError(t, log.AppendMaster(3, 0, bodies))
	frame, err := log.Read(0, 2, 1<<20)
	require.NoError(t, err)
	summary, err := commitlog.Verify(frame.Bytes)
	require.NoError(t, err)
	require.Equal(t, 1, summary.ConfigChanges)
	changes, newest, err := changesIn(frame.Bytes)
	require.NoError(t, err)
	require.Equal(t, []member.Change{{At: 1, Term: 3, Members: testRecord().group()}}, changes)
	require.Equal(t, "n4", newest.GetId())
	require.NoError(t, log.Close())
}
