package main

import (
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// Everything arrives once and in order, however full the list gets.
func TestAwaitedKeepsTheOrder(t *testing.T) {
	const n = 5 * maxAwaited
	a := newAwaited()
	over := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error {
		for i := range n {
			if !a.put(pending{due: time.Duration(i)}, over) {
				t.Error("refused")
			}
		}
		return nil
	})
	var list []pending
	for next := 0; next < n; {
		list = a.take(list)
		if len(list) == 0 {
			<-a.filled
		}
		if len(list) > maxAwaited {
			t.Fatalf("%d at once", len(list))
		}
		for _, p := range list {
			if p.due != time.Duration(next) {
				t.Fatalf("%d instead of %d", p.due, next)
			}
			next++
		}
	}
	_ = g.Wait()
}

func TestAwaitedEndsTheWaitForRoom(t *testing.T) {
	a := newAwaited()
	over := make(chan struct{})
	for range maxAwaited {
		if !a.put(pending{}, over) {
			t.Fatal("there was room")
		}
	}
	close(over)
	if a.put(pending{}, over) {
		t.Fatal("there was no room")
	}
}
