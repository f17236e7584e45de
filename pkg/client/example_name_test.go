package client_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ledgermq/ledgermq/pkg/client"
)

// A till numbers its receipts. Started again, it goes on with the number after the last one
// that is stored; a till that was only thought to be dead can store nothing more.
func ExampleProducerConfig_name() {
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
	queue := 1 // this till's own
	start := func() (till *client.Producer, next int64, err error) {
		if till, err = c.Producer(ctx, client.ProducerConfig{Topic: "orders", Name: "till-7"}); err != nil {
			return nil, 0, err
		}
		// From here on nothing of an older till-7 is stored: the queue's end is final.
		cs, err := c.Consumer(ctx, client.ConsumerConfig{Topic: "orders", Queues: []int{queue}})
		if err != nil {
			return nil, 0, err
		}
		defer cs.Close()
		ranges, err := cs.Ranges(ctx)
		if err != nil {
			return nil, 0, err
		}
		return till, ranges[0].End, nil
	}

	older, next, err := start()
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = older.Publish(ctx, client.Message{Queue: &queue, Value: fmt.Appendf(nil, "receipt %d", next)}).Get(ctx)
	fmt.Println("receipt", next, err)

	younger, next, err := start()
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = older.Publish(ctx, client.Message{Queue: &queue, Value: []byte("receipt 1")}).Get(ctx)
	fmt.Println("the older till is fenced:", errors.Is(err, client.ErrProducerFenced))
	_, err = younger.Publish(ctx, client.Message{Queue: &queue, Value: fmt.Appendf(nil, "receipt %d", next)}).Get(ctx)
	fmt.Println("receipt", next, err)
	// Output:
	// receipt 0 <nil>
	// the older till is fenced: true
	// receipt 1 <nil>
}
