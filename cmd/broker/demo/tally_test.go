package demo

import (
	"testing"
	"time"
)

func TestTally(t *testing.T) {
	for _, test := range []struct {
		name    string
		acked   []uint64
		consume []uint64
		want    counts
	}{
		{"all well", []uint64{0, 1, 2}, []uint64{0, 1, 2}, counts{}},
		{"unacknowledged may be missing", []uint64{0, 2}, []uint64{0, 2}, counts{}},
		{"unacknowledged may be there", []uint64{0, 2}, []uint64{0, 1, 2}, counts{}},
		{"lost in the middle", []uint64{0, 1, 2}, []uint64{0, 2}, counts{Lost: 1}},
		{"lost at the end", []uint64{0, 1, 2}, []uint64{0}, counts{Lost: 2}},
		{"twice", []uint64{0, 1, 2}, []uint64{0, 1, 1, 2, 0}, counts{Duplicated: 2}},
		{"swapped", []uint64{0, 1, 2}, []uint64{0, 2, 1}, counts{OutOfOrder: 1}},
		{"never published", []uint64{0, 1, 2}, []uint64{0, 1, 2, 77}, counts{Phantom: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			books := newTally(2, 3)
			for range 3 {
				books.publish(1, 2)
			}
			for _, s := range test.acked {
				books.acked(messageID{1, 2, s}, 1, time.Now(), time.Millisecond)
			}
			for _, s := range test.consume {
				books.consumed(2, messageID{1, 2, s}.encode(64))
			}
			got, _ := books.report(true)
			test.want.Published, test.want.Acked, test.want.Consumed = 3, uint64(len(test.acked)), uint64(len(test.consume))
			if got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
			if got.clean() != (test.want.Lost+test.want.Duplicated+test.want.OutOfOrder+test.want.Phantom == 0) {
				t.Errorf("clean() = %v for %+v", got.clean(), got)
			}
		})
	}
}

func TestTallyKnowsStrangers(t *testing.T) {
	books := newTally(1, 1)
	books.publish(0, 0)
	books.consumed(0, []byte("short"))
	books.consumed(0, messageID{9, 0, 0}.encode(16))
	books.consumed(0, messageID{0, 9, 0}.encode(16))
	books.consumed(9, messageID{0, 9, 0}.encode(16))
	if got, _ := books.report(true); got.Phantom != 4 {
		t.Errorf("phantoms: %+v", got)
	}
}

func TestLostCountsOnlyWhatWasPassedOver(t *testing.T) {
	books := newTally(1, 1)
	for i := range uint64(200) {
		books.acked(books.publish(0, 0), 1, time.Now(), time.Millisecond)
		if i < 130 && i != 70 {
			books.consumed(0, messageID{0, 0, i}.encode(16))
		}
	}
	if got, _ := books.report(false); got.Lost != 1 {
		t.Errorf("on the way: %d lost, want 1", got.Lost)
	}
	if got, _ := books.report(true); got.Lost != 71 {
		t.Errorf("at the end: %d lost, want 71", got.Lost)
	}
}

func TestFirstAckIsTheNewLeaders(t *testing.T) {
	books, start := newTally(1, 1), time.Now()
	for range 3 {
		books.publish(0, 0)
	}
	books.killed(4, start)
	books.acked(messageID{0, 0, 0}, 4, start.Add(time.Millisecond), 0)
	if _, ok := books.firstAck(); ok {
		t.Error("an acknowledgement of the killed leader counted as its successor's")
	}
	books.acked(messageID{0, 0, 1}, 5, start.Add(90*time.Millisecond), 0)
	books.acked(messageID{0, 0, 2}, 5, start.Add(95*time.Millisecond), 0)
	if took, ok := books.firstAck(); !ok || took != 90*time.Millisecond {
		t.Errorf("first ack after %v, want 90ms", took)
	}
}
