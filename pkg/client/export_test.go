package client

import (
	"context"
	"fmt"
)

// exampleReporter stands in for a test where an example needs a cluster.
type exampleReporter struct{ cleanups []func() }

func (*exampleReporter) Helper()                      {}
func (*exampleReporter) Error(args ...any)            { fmt.Println(args...) }
func (*exampleReporter) Errorf(f string, args ...any) { fmt.Printf(f+"\n", args...) }
func (*exampleReporter) Fatal(args ...any)            { panic(fmt.Sprint(args...)) }
func (r *exampleReporter) Cleanup(f func())           { r.cleanups = append(r.cleanups, f) }
func (*exampleReporter) Context() context.Context     { return context.Background() }

// StartCluster starts three brokers in memory with a topic "orders" of two
// queues; the examples dial them as they would dial real ones.
func StartCluster() (cfg Config, stop func()) {
	r := &exampleReporter{}
	c := newCluster(r, 3)
	c.topic("orders", 2)
	return Config{Seeds: []string{"n1:1"}, Dialer: c.dial}, func() {
		for _, f := range r.cleanups {
			f()
		}
	}
}
