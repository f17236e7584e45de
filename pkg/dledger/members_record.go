package dledger

import (
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// The versions of the members file. docs/format/members.md draws them. One that holds
// nothing that the older version cannot say is written in that.
const (
	membersFormat        = "1"
	membersFormatGivenUp = "2"
)

// maxGivenUpBytes bounds what is kept of the word that a member was given up.
const maxGivenUpBytes = 2000

// maxChanges bounds the changes in a members file: one that is settled and those
// after it, of which one at a time is made.
const maxChanges = 64

// membersRecord is what a member must not forget of its group.
type membersRecord struct {
	owner      ballotOwner
	generation string
	// givenUp is the word of a peer that a recovery of the group has left this member
	// behind; empty: none has said so. It is final for this directory.
	givenUp string
	// changes as member.Update.Changes has handed them out; the first is certain.
	changes    []member.Change
	recoveries []Recovery // oldest first
}

// group is the newest group that the record knows.
func (r membersRecord) group() member.Members {
	if n := len(r.changes); n > 0 {
		return r.changes[n-1].Members
	}
	return nil
}

// encode writes the record as lines, the last one a CRC-32C over those before it.
func (r membersRecord) encode() []byte {
	format := membersFormat
	if r.givenUp != "" {
		format = membersFormatGivenUp
	}
	b := fmt.Appendf(nil, "format %s\ncluster %q\ngroup %q\nmember %q\ngeneration %q\n", format, r.owner.clusterID, r.owner.group, r.owner.id, r.generation)
	if r.givenUp != "" {
		b = fmt.Appendf(b, "given-up %q\n", r.givenUp)
	}
	b = fmt.Appendf(b, "recoveries %d\n", len(r.recoveries))
	for _, v := range r.recoveries {
		b = fmt.Appendf(b, "recovery %q %d %q %d %d %d %d %d %q\n", v.Generation, v.Time.UnixMilli(), v.Member,
			v.End, v.EndTerm, v.Applied, len(v.Before), len(v.After), v.Reason)
		b = appendSeats(appendSeats(b, v.Before), v.After)
	}
	b = fmt.Appendf(b, "changes %d\n", len(r.changes))
	for _, c := range r.changes {
		b = fmt.Appendf(b, "change %d %d %d\n", c.At, c.Term, len(c.Members))
		b = appendSeats(b, c.Members)
	}
	return fmt.Appendf(b, "crc32c %08x\n", crc32.Checksum(b, castagnoli))
}

func appendSeats(b []byte, ms member.Members) []byte {
	for _, s := range ms {
		kind := "voter"
		if s.Learner {
			kind = "learner"
		}
		b = fmt.Appendf(b, "%s %q %q\n", kind, s.ID, s.Address)
	}
	return b
}

// errMembersFile is what every refusal of a members file's content is.
var errMembersFile = errors.New("members file is damaged")

// decodeMembersRecord reads what encode wrote, and nothing else.
func decodeMembersRecord(raw []byte) (membersRecord, error) {
	d := &lines{rest: string(raw)}
	r := d.record()
	if d.err == nil && string(r.encode()) != string(raw) {
		d.err = errors.New("checksum mismatch, or not the one way to write it")
	}
	if d.err == nil {
		d.err = r.check()
	}
	if d.err != nil {
		return membersRecord{}, fmt.Errorf("%w: %w", errMembersFile, d.err)
	}
	return r, nil
}

func (r membersRecord) check() error {
	var errs []error
	for _, v := range r.recoveries {
		errs = append(errs, checkRecovery(v))
	}
	last := member.Change{At: member.NoIndex - 1}
	for _, c := range r.changes {
		if c.At <= last.At || c.Term < last.Term {
			errs = append(errs, fmt.Errorf("change at entry %d of term %d after entry %d of term %d", c.At, c.Term, last.At, last.Term))
		}
		errs, last = append(errs, checkSeats(c.Members)), c
	}
	return errors.Join(errs...)
}

// lines reads a text line by line; the first error stays.
type lines struct {
	rest string
	err  error
}

// scan reads one line.
func (d *lines) scan(format string, into ...any) {
	if d.err != nil {
		return
	}
	line, rest, whole := strings.Cut(d.rest, "\n")
	if !whole {
		d.err = fmt.Errorf("it ends in the middle of a line, or too soon: %.80q", line)
		return
	}
	d.rest = rest
	if _, err := fmt.Sscanf(line, format, into...); err != nil {
		d.err = fmt.Errorf("line %.80q: %w", line, err)
	}
}

// count reads a line that says how many of something follow.
func (d *lines) count(word string, limit int) (n int) {
	d.scan(word+" %d", &n)
	if d.err == nil && (n < 0 || n > limit) {
		d.err = fmt.Errorf("%d %s, allowed are %d", n, word, limit)
	}
	if d.err != nil {
		return 0
	}
	return n
}

func (d *lines) record() (r membersRecord) {
	var format string
	d.scan("format %s", &format)
	if d.err == nil && format != membersFormat && format != membersFormatGivenUp {
		d.err = fmt.Errorf("format %s, this broker reads %s and %s", format, membersFormat, membersFormatGivenUp)
	}
	d.scan("cluster %q", &r.owner.clusterID)
	d.scan("group %q", &r.owner.group)
	d.scan("member %q", &r.owner.id)
	d.scan("generation %q", &r.generation)
	if format == membersFormatGivenUp {
		d.scan("given-up %q", &r.givenUp)
	}
	for range d.count("recoveries", maxRecoveries) {
		r.recoveries = append(r.recoveries, d.recovery())
	}
	for range d.count("changes", maxChanges) {
		var c member.Change
		var seats int
		d.scan("change %d %d %d", &c.At, &c.Term, &seats)
		c.Members = d.seats(seats)
		r.changes = append(r.changes, c)
	}
	var crc uint32
	d.scan("crc32c %x", &crc)
	if d.err == nil && d.rest != "" {
		d.err = errors.New("something follows the last line")
	}
	return r
}

func (d *lines) recovery() (v Recovery) {
	var ms int64
	var before, after int
	d.scan("recovery %q %d %q %d %d %d %d %d %q", &v.Generation, &ms, &v.Member, &v.End, &v.EndTerm, &v.Applied, &before, &after, &v.Reason)
	v.Time = time.UnixMilli(ms).UTC()
	v.Before, v.After = d.seats(before), d.seats(after)
	return v
}

func (d *lines) seats(n int) (ms member.Members) {
	if d.err == nil && (n < 1 || n > maxNameBytes) {
		d.err = fmt.Errorf("a group of %d seats", n)
	}
	for i := 0; i < n && d.err == nil; i++ {
		var kind string
		var s member.Seat
		d.scan("%s %q %q", &kind, &s.ID, &s.Address)
		s.Learner = kind == "learner"
		ms = append(ms, s)
	}
	return ms
}
