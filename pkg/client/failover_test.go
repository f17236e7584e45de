package client

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// TestFailoverTakesNoTime: between the word that another broker leads and the
// acknowledgement of what was under way nothing waits for a timer. Time stands
// still in here while anybody has something to do.
func TestFailoverTakesNoTime(t *testing.T) {
	for name, fail := range map[string]func(*cluster){
		"hand-over":             func(*cluster) {},
		"kill":                  func(c *cluster) { c.kill("n1:1") },
		"kill, noticed before":  func(c *cluster) { c.kill("n1:1"); time.Sleep(3 * time.Second); synctest.Wait() },
		"resignation, election": func(c *cluster) { c.lead(""); time.Sleep(3 * time.Second); synctest.Wait() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 3)
				c.topic("t", 2)
				c.setScript(func(frame int) action {
					if frame == 2 {
						return hold
					}
					return store
				})
				p := newProducer(t, c, ProducerConfig{AckTimeout: time.Hour})
				results := publish(t, p, 0, 2)
				checkStored(t, c, p, results)
				results = append(results, publish(t, p, 2, 50)...)
				synctest.Wait() // all connections are warm, frames are under way
				fail(c)
				began := time.Now()
				c.lead("n2:1")
				checkStored(t, c, p, results)
				if took := time.Since(began); took != 0 {
					t.Errorf("somebody waited for %v", took)
				}
			})
		})
	}
}

// TestConsumerFailoverTakesNoTime is the same for what is read.
func TestConsumerFailoverTakesNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.topic("t", 1)
		c.fill("t", 0, 0, 10, 5, batch.None)
		cs := newConsumer(t, c, ConsumerConfig{})
		expect(t, cs, 0, 10)
		synctest.Wait()
		c.kill("n1:1")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		began := time.Now()
		c.lead("n2:1")
		c.fill("t", 0, 10, 10, 5, batch.None)
		expect(t, cs, 10, 20)
		if took := time.Since(began); took != 0 {
			t.Errorf("somebody waited for %v", took)
		}
	})
}

// TestLeaderThatComesBackIsDialledSoon: a broker that was away for long is waited
// for no longer than the longest back-offs of its connection and of the session.
func TestLeaderThatComesBackIsDialledSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.topic("t", 1)
		p := newProducer(t, c, ProducerConfig{AckTimeout: time.Hour})
		results := publish(t, p, 0, 1)
		checkStored(t, c, p, results)
		c.kill("n2:1")
		time.Sleep(20 * time.Second) // its back-off is at its longest
		c.startNode("n2", "n2:1")
		began := time.Now()
		c.lead("n2:1")
		checkStored(t, c, p, append(results, publish(t, p, 1, 10)...))
		if took := time.Since(began); took > 400*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}
