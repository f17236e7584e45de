package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ledgermq/ledgermq/pkg/client"
)

// Receive messages of a work-queue group and acknowledge each when it is done.
func ExampleClient_WorkConsumer() {
	cfg, stop := client.StartCluster() // your Config: Seeds: []string{"mq1:10911", …}
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	p, err := c.Producer(ctx, client.ProducerConfig{Topic: "orders"})
	if err != nil {
		fmt.Println(err)
		return
	}
	p.Publish(ctx, client.Message{Value: []byte("two apples")})

	w, err := c.WorkConsumer(ctx, client.WorkConfig{Group: "packing", Topic: "orders", Policy: client.WorkPolicy{MaxAttempts: 5}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Close()
	deliveries, err := w.Receive(ctx, 10)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range deliveries {
		fmt.Printf("attempt %d: %s\n", d.Attempt, d.Value)
		fmt.Println(d.Nack(ctx, time.Second)) // not now: again in a second
	}
	deliveries, err = w.Receive(ctx, 10)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range deliveries {
		fmt.Printf("attempt %d: %s\n", d.Attempt, d.Value)
		fmt.Println(d.Ack(ctx)) // nil: it never comes again
	}
	// Output:
	// attempt 1: two apples
	// <nil>
	// attempt 2: two apples
	// <nil>
}

// Have a handler work on messages, eight at a time. Leases are extended while it works; a
// message comes again when it returns an error.
func ExampleWorkConsumer_Handle() {
	cfg, stop := client.StartCluster()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	p, err := c.Producer(ctx, client.ProducerConfig{Topic: "orders"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 20 {
		p.Publish(ctx, client.Message{Value: fmt.Appendf(nil, "order %d", i)})
	}

	w, err := c.WorkConsumer(ctx, client.WorkConfig{Group: "packing", Topic: "orders"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Close()
	working, finish := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Add(20)
	go func() {
		done.Wait()
		finish()
	}()
	err = w.Handle(working, 8, func(_ context.Context, d *client.Delivery) error {
		if string(d.Value) == "order 7" && d.Attempt == 1 {
			return errors.New("the printer jams") // it comes again
		}
		done.Done()
		return nil
	})
	fmt.Println(err)
	// Output: context canceled
}
