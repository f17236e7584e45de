package history

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// parse reads a history written in short form, one operation per line:
//
//	send P a ok@0          producer P sent a, acknowledged at offset 0; or fail, info, ok (offset not told)
//	pull C @0 0:a 1:b      consumer C asked for offset 0 and got a and b
//	drain m1 0..2 0:a 1:b  member m1 says it holds 0 up to 2
//	commit C @5, progress C @5, heal
//	recall P a             and of transaction x: end P x commit, end P x rollback
//	receive C 0:a:1        its first attempt; ack C @0; dead C 0:a
//
// followed by any of q=1 (queue), t=3..9 (invoke..complete), seq=, pid=, epoch=, number=, seek,
// reset, info, fail, within=, due=, tx=, fifo=, g=since (a member of the group), grant=. Line n is
// invoked at 10n and completes at 10n+5.
func parse(t testing.TB, script string) []Operation {
	t.Helper()
	var ops []Operation
	for n, text := range strings.Split(strings.TrimSpace(script), "\n") {
		words := strings.Fields(text)
		o := Operation{
			Op: Kind(words[0]), Topic: "t", Invoke: int64(10 * n), Complete: int64(10*n + 5), Outcome: OK,
			Sequence: Unknown, Offset: Unknown, Index: Unknown, Term: Unknown,
		}
		if o.Op != Heal {
			o.Client = words[1]
			words = words[2:]
		} else {
			words = words[1:]
		}
		switch o.Op {
		case Send, Recall:
			o.Value, words = words[0], words[1:]
		case End:
			o.Transaction, words = words[0], words[1:]
		case Drain:
			o.Member = o.Client
		case Commit, Progress, Receive, Ack, Dead:
			o.Group = "g"
		}
		for _, word := range words {
			if err := o.word(word); err != nil {
				t.Fatalf("line %d: %q: %v", n, word, err)
			}
		}
		ops = append(ops, o)
	}
	return ops
}

func (o *Operation) word(word string) (err error) {
	number := func(text string) int64 {
		n, e := strconv.ParseInt(text, 10, 64)
		if e != nil {
			err = e
		}
		return n
	}
	span := func(text string) (int64, int64) {
		from, to, _ := strings.Cut(text, "..")
		return number(from), number(to)
	}
	key, value, _ := strings.Cut(word, "=")
	switch key {
	case "q":
		o.Queue = int(number(value))
	case "t":
		o.Invoke, o.Complete = span(value)
	case "seq":
		o.Sequence = number(value)
	case "pid":
		o.Producer = uint64(number(value))
	case "number":
		o.Number = number(value)
	case "epoch":
		o.Epoch = uint32(number(value))
	case "within":
		o.Within = number(value)
	case "due":
		o.Due = number(value)
	case "tx":
		o.Transaction = value
	case "fifo":
		o.Fifo = value
	case "g":
		o.Group, o.Since = "g", number(value)
	case "grant":
		o.Grant = uint64(number(value))
	case "commit", "rollback":
		o.Commits = key == "commit"
	case "seek":
		o.Seek = true
	case "reset":
		o.Reset = true
	case "ok", "fail", "info":
		o.Outcome = Outcome(key)
	default:
		switch {
		case strings.HasPrefix(word, "ok@"):
			o.Offset = number(word[3:])
		case strings.HasPrefix(word, "@"):
			o.Offset = number(word[1:])
		case strings.Contains(word, ".."):
			o.First, o.End = span(word)
		default:
			offset, value, _ := strings.Cut(word, ":")
			value, attempt, tried := strings.Cut(value, ":")
			m := Message{Offset: number(offset), Value: value}
			if tried {
				m.Attempt = number(attempt)
			}
			o.Messages = append(o.Messages, m)
		}
	}
	return err
}

func judge(t testing.TB, options Options, ops []Operation) Report {
	t.Helper()
	c := NewChecker(options)
	for _, o := range ops {
		if err := c.Add(o); err != nil {
			t.Fatal(err)
		}
	}
	return c.Report()
}

// found writes a report's anomalies as "class×count", sorted.
func found(r Report) []string {
	var all []string
	for class, n := range r.Anomalies {
		all = append(all, fmt.Sprintf("%s×%d", class, n))
	}
	slices.Sort(all)
	return all
}

// expect judges a script and compares the anomalies, all of them and no other.
func expect(t *testing.T, options Options, script string, want ...string) Report {
	t.Helper()
	slices.Sort(want)
	r := judge(t, options, parse(t, script))
	if got := found(r); !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
		for _, e := range r.Examples {
			t.Log(e)
		}
	}
	return r
}
