package client

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/mem"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/google/go-cmp/cmp"

	"github.com/ledgermq/ledgermq/pkg/batch"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// TestFramesAreProtobuf: what the frame codec writes and reads is what protobuf does.
func TestFramesAreProtobuf(t *testing.T) {
	c := newFrameCodec()
	codec := batch.NewCodec()
	small, large := bytes.Repeat([]byte("s"), 100), bytes.Repeat([]byte("l"), 5000)
	out, err := c.Marshal(&publishFrame{number: 300, batches: []*sealedBytes{newSealedBytes(small, codec), newSealedBytes(large, codec)}})
	if err != nil {
		t.Fatal(err)
	}
	var req brokerv1.PublishStreamRequest
	if err := protobuf.Unmarshal(out.Materialize(), &req); err != nil {
		t.Fatal(err)
	}
	if req.GetFrame() != 300 || !bytes.Equal(req.GetBatches(), append(small, large...)) {
		t.Errorf("frame %d, %d bytes", req.GetFrame(), len(req.GetBatches()))
	}
	want := &brokerv1.PullStreamResponse{FirstOffset: 1, EndOffset: 300, Infos: []*brokerv1.BatchInfo{{BaseOffset: 7}}, Batches: large}
	wire, err := protobuf.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got pullFrame
	if err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(wire[:50]), mem.SliceBuffer(wire[50:])}, &got); err != nil {
		t.Fatal(err)
	}
	if got.FirstOffset != 1 || got.EndOffset != 300 || got.Infos[0].BaseOffset != 7 || !bytes.Equal(got.batches, large) {
		t.Errorf("got %v", &got)
	}
}

// FuzzPullFrame: whatever a broker sends, we read what protobuf reads, or refuse.
func FuzzPullFrame(f *testing.F) {
	wire, err := protobuf.Marshal(&brokerv1.PullStreamResponse{FirstOffset: 1, Infos: []*brokerv1.BatchInfo{{BaseOffset: 7}}, Batches: []byte("abc")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire)
	f.Add(append(wire, wire...))
	f.Fuzz(func(t *testing.T, wire []byte) {
		var want brokerv1.PullStreamResponse
		wantErr := protobuf.Unmarshal(wire, &want)
		var got pullFrame
		gotErr := newFrameCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(bytes.Clone(wire))}, &got)
		if (wantErr == nil) != (gotErr == nil) {
			t.Fatalf("protobuf says %v, we say %v", wantErr, gotErr)
		}
		if wantErr == nil && (!bytes.Equal(want.GetBatches(), got.batches) || want.GetEndOffset() != got.GetEndOffset() || len(want.GetInfos()) != len(got.GetInfos())) {
			t.Fatalf("got %v, want %v", &got, &want)
		}
	})
}

// TestSealedBytesOutliveTheirLoans: the buffer is not reused while gRPC has it.
func TestSealedBytesOutliveTheirLoans(t *testing.T) {
	codec := batch.NewCodec()
	b, err := batch.NewBuilder(batch.BuilderConfig{MaxBytes: 4096, Codec: codec})
	if err != nil {
		t.Fatal(err)
	}
	build := func(c byte) []byte {
		for b.Len() < 3 {
			if err := b.Append(&batch.Record{Value: bytes.Repeat([]byte{c}, 1200)}); err != nil {
				t.Fatal(err)
			}
		}
		data, err := b.Build(batch.Stamp{Queue: 1})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	data := build('a')
	want := bytes.Clone(data)
	s := newSealedBytes(data, codec)
	first, second := s.lend(), s.lend()
	first.Free()
	s.release() // acknowledged while a broken stream still has it
	build('b')
	if diff := cmp.Diff(want, second.ReadOnlyData()); diff != "" {
		t.Error("lent bytes were overwritten")
	}
	second.Free()
	if s.refs.Load() != 0 {
		t.Errorf("%d references left", s.refs.Load())
	}
}

// The size of a frame is that of its bytes on the wire.
func TestPublishFrameSize(t *testing.T) {
	for _, f := range []*publishFrame{
		{number: 1, batches: []*sealedBytes{{data: make([]byte, 100)}}},
		{number: 300, batches: []*sealedBytes{{data: make([]byte, 1000)}, {data: make([]byte, 1<<20)}}},
	} {
		for _, b := range f.batches {
			b.refs.Store(1)
		}
		data, err := newFrameCodec().Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.size(); got != data.Len() {
			t.Errorf("frame %d: size %d, want %d", f.number, got, data.Len())
		}
	}
}
