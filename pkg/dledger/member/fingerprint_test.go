package member

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// TestCloneGoesItsOwnWay steps a clone and looks at what it was cloned from.
func TestCloneGoesItsOwnWay(t *testing.T) {
	for seed := range uint64(30) {
		w := newWorld(t, seed)
		for range 3000 {
			w.next()
			if w.rng.IntN(w.spell) == 0 {
				w.weather()
			}
		}
		for id, n := range w.nodes {
			if n.member == nil {
				continue
			}
			w.carryOut(id, n)
			before := n.member.Fingerprint()
			c := n.member.Clone()
			if c.Fingerprint() != before {
				t.Fatalf("seed %d: %s: a clone has another fingerprint", seed, id)
			}
			c.cfg.Rand = rand.New(rand.NewPCG(seed, 1))
			for i := range 40 {
				c.Step(w.now.Add(time.Duration(i)*100*time.Millisecond), Tick{})
				c.Step(c.now, Propose{Count: 1})
				c.Take()
			}
			if n.member.Fingerprint() != before {
				t.Fatalf("seed %d: %s: what its clone did changed it", seed, id)
			}
		}
	}
}

// TestFingerprintKnowsEveryField changes the fields one by one. A new field of the
// state must be added to Clone and Fingerprint, or to the exceptions here.
func TestFingerprintKnowsEveryField(t *testing.T) {
	notState := map[string]bool{
		"cfg": true, "update": true, "told": true, "before": true, "lastOutcome": true, // told again, or asked for by nobody
		"now": true, "peers": true, "transfer": true, "id": true,
	}
	m := newLeader(t)
	m.election.results, m.ledger.runs, m.peers[0].standing.gone = []VoteResult{Accept}, []Run{{First: 0, Term: 1}}, []Incarnation{"x"}
	m.transfer = &transfer{to: "n2"}
	for _, part := range []any{m, m.peers[0], m.transfer} {
		for _, path := range settable(reflect.ValueOf(part).Elem(), "") {
			if notState[path.name] {
				continue
			}
			before := m.Fingerprint()
			was := reflect.New(path.value.Type()).Elem()
			was.Set(path.value)
			change(path.value)
			if m.Fingerprint() == before {
				t.Errorf("%T: a change of %s is not in the fingerprint", part, path.name)
			}
			path.value.Set(was)
		}
	}
}

type field struct {
	name  string
	value reflect.Value
}

// settable lists the plain fields below v.
func settable(v reflect.Value, prefix string) []field {
	var all []field
	for i := range v.NumField() {
		name := prefix + v.Type().Field(i).Name
		f := reflect.NewAt(v.Field(i).Type(), v.Field(i).Addr().UnsafePointer()).Elem()
		if f.Kind() == reflect.Struct && f.Type() != reflect.TypeFor[time.Time]() {
			if name != "cfg" && name != "update" && name != "told" && name != "before" {
				all = append(all, settable(f, name+".")...)
			}
			continue
		}
		all = append(all, field{name, f})
	}
	return all
}

func change(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(v.Uint() + 1)
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), v.Len()+1, v.Len()+1))
	case reflect.Struct:
		v.Set(reflect.ValueOf(epoch.Add(-17 * time.Millisecond)))
	default:
		panic(fmt.Sprintf("%v", v.Type()))
	}
}
