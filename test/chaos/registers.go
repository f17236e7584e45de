package chaos

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/ledgermq/ledgermq/pkg/client"
)

// Topics are registers: a name exists or not, create and delete say what they found.
// Several clients create and delete the same few names, and porcupine looks for an
// order of their operations in which each found what it says.

const (
	registrars    = 3
	registerNames = 3
	// registerEpoch is how long a set of names is used. Each operation of unknown
	// outcome doubles what porcupine may have to try for its name.
	registerEpoch = 5 * time.Second
	// registerTime bounds the search; a search without an end proves nothing.
	registerTime = time.Minute
)

// change is what a client asks for: that a name exists, or does not.
type change struct {
	name   string
	create bool
}

// answer is what it was told.
type answer struct {
	known bool // false: the outcome is not known
	done  bool // false: it was so already
}

// registers are the operations of all registrars. It is safe for concurrent use.
type registers struct {
	mu struct {
		sync.Mutex
		ops []porcupine.Operation
	}
}

// registrar creates and deletes topics until stop.
func (r *run) registrar(stop context.Context, number int, rng *rand.Rand) error {
	var c *client.Client
	defer func() {
		if c != nil {
			_ = c.Close()
		}
	}()
	for stop.Err() == nil {
		if c == nil || rng.IntN(50) == 0 {
			if c != nil {
				_ = c.Close()
			}
			var err error
			if c, err = r.dial(stop); err != nil {
				c = nil
				pause(100 * time.Millisecond)
				continue
			}
		}
		epoch := time.Duration(r.record.now()) / registerEpoch
		r.register(c.Admin(), number, change{fmt.Sprintf("register-%d-%d", epoch, rng.IntN(registerNames)), rng.IntN(2) == 0})
		pause(time.Duration(rng.IntN(200)) * time.Millisecond)
	}
	return nil
}

// register makes one change and notes what came of it.
func (r *run) register(admin *client.Admin, number int, asked change) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Second)
	defer cancel()
	op := porcupine.Operation{ClientId: number, Input: asked, Call: r.record.now()}
	var err error
	if asked.create {
		_, err = admin.CreateTopic(ctx, asked.name, 1)
	} else {
		_, err = admin.DeleteTopicWithGrace(ctx, asked.name, 0)
	}
	op.Return = r.record.now()
	var refused *client.Error
	switch {
	case err == nil:
		op.Output = answer{known: true, done: true}
	case errors.As(err, &refused) && !refused.Indefinite:
		if refused.Code != client.CodeTopicExists && refused.Code != client.CodeUnknownTopic {
			return // certainly nothing happened, and nothing was told
		}
		op.Output = answer{known: true}
	default:
		op.Output, op.Return = answer{}, math.MaxInt64
	}
	r.registers.mu.Lock()
	defer r.registers.mu.Unlock()
	r.registers.mu.ops = append(r.registers.mu.ops, op)
}

// registerModel is a name that exists or not.
var registerModel = porcupine.Model{
	Partition: func(ops []porcupine.Operation) [][]porcupine.Operation {
		byName := map[string][]porcupine.Operation{}
		for _, op := range ops {
			name := op.Input.(change).name
			byName[name] = append(byName[name], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byName {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return false },
	Step: func(state, input, output any) (bool, any) {
		exists, asked, told := state.(bool), input.(change), output.(answer)
		possible := !told.known || told.done == (exists != asked.create)
		return possible, asked.create
	},
}

// judge tells whether the operations have an order, and how many they are.
func (g *registers) judge() (n, unknown int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, op := range g.mu.ops {
		if !op.Output.(answer).known {
			unknown++
		}
	}
	switch porcupine.CheckOperationsTimeout(registerModel, g.mu.ops, registerTime) {
	case porcupine.Ok:
	case porcupine.Illegal:
		err = errors.New("creating and deleting topics is not linearizable")
	default:
		err = fmt.Errorf("no verdict on topics within %v: this run was too large to be judged", registerTime)
	}
	return len(g.mu.ops), unknown, err
}
