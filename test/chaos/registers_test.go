package chaos

import (
	"math"
	"testing"

	"github.com/anishathalye/porcupine"
)

// TestRegisterModel makes sure that the model can say no.
func TestRegisterModel(t *testing.T) {
	create, remove := change{"a", true}, change{"a", false}
	did, was, unknown := answer{known: true, done: true}, answer{known: true}, answer{}
	type op struct {
		asked    change
		told     answer
		from, to int64
	}
	for _, test := range []struct {
		name string
		ops  []op
		ok   bool
	}{
		{"create, exists, delete, gone", []op{{create, did, 0, 1}, {create, was, 2, 3}, {remove, did, 4, 5}, {remove, was, 6, 7}}, true},
		{"created twice", []op{{create, did, 0, 1}, {create, did, 2, 3}}, false},
		{"created twice at the same time", []op{{create, did, 0, 5}, {create, did, 0, 5}}, false},
		{"exists though nobody created it", []op{{create, was, 0, 1}}, false},
		{"gone though created before", []op{{create, did, 0, 1}, {remove, was, 2, 3}}, false},
		{"gone while it is created", []op{{create, did, 0, 4}, {remove, was, 2, 3}}, true},
		{"an unknown creation came late", []op{{create, unknown, 0, math.MaxInt64}, {remove, was, 2, 3}, {remove, did, 4, 5}}, true},
		{"an unknown creation never came", []op{{create, unknown, 0, math.MaxInt64}, {create, did, 2, 3}}, true},
		{"an unknown creation came twice", []op{{create, unknown, 0, math.MaxInt64}, {remove, did, 2, 3}, {remove, did, 4, 5}}, false},
		{"other names do not matter", []op{{create, did, 0, 1}, {change{"b", true}, did, 2, 3}}, true},
	} {
		var g registers
		for _, o := range test.ops {
			g.mu.ops = append(g.mu.ops, porcupine.Operation{Input: o.asked, Output: o.told, Call: o.from, Return: o.to})
		}
		if n, _, err := g.judge(); (err == nil) != test.ok || n != len(test.ops) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
