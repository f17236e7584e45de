package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/test/bench/figures"
	"github.com/ledgermq/ledgermq/test/cluster"
)

// The bare path is what publishing cannot do without: a client builds batches, a
// leader checks their CRC, writes and syncs them and sends them to two followers
// meanwhile, who do the same; what two of three disks have is acknowledged. Three
// processes as ever, one gRPC stream each way, files written before, and nothing
// else: no elections, no index, no offsets, no idempotence, no metrics.

// What the processes are told in their environment.
const (
	bareRole      = "LEDGERMQ_BARE_ROLE"      // leader or follower
	bareListen    = "LEDGERMQ_BARE_LISTEN"    // its address
	bareFollowers = "LEDGERMQ_BARE_FOLLOWERS" // addresses, of the leader only
	bareFile      = "LEDGERMQ_BARE_FILE"
	bareBytes     = "LEDGERMQ_BARE_BYTES" // its size
)

const bareInFlight = 8 // frames of a mebibyte

// bareFileBytes is written over and over.
func bareFileBytes() int64 { return max(2*groupBytes, share(256<<20)/block*block) }

// bareMain is the life of one of the processes. It ends when its standard input does.
func bareMain(role string) {
	var tasks errgroup.Group
	tasks.Go(func() error {
		if err := bareServe(role, &tasks); err != nil {
			fmt.Fprintln(os.Stderr, "bare path:", role, err)
			os.Exit(1)
		}
		return nil
	})
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func bareServe(role string, tasks *errgroup.Group) error {
	bytes, err := strconv.ParseInt(os.Getenv(bareBytes), 10, 64)
	if err != nil {
		return err
	}
	log, err := newGroupLog(os.Getenv(bareFile), bytes)
	if err != nil {
		return err
	}
	var followers []*bareFollower
	if role == "leader" {
		for addr := range strings.SplitSeq(os.Getenv(bareFollowers), ",") {
			f, err := followAt(addr)
			if err != nil {
				return err
			}
			followers = append(followers, f)
		}
	}
	l, err := net.Listen("tcp", os.Getenv(bareListen))
	if err != nil {
		return err
	}
	return rawServer(func(stream grpc.ServerStream) error {
		return bareReceive(stream, log, followers, tasks)
	}).Serve(l)
}

// bareReceive takes frames from a stream and says on it how many are safe: on this disk
// or, with followers, on two of the three.
func bareReceive(stream grpc.ServerStream, log *groupLog, followers []*bareFollower, tasks *errgroup.Group) error {
	wake := make(chan struct{}, 1)
	tell := func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	log.durable = tell
	safe := log.frames.Load
	if len(followers) > 0 {
		for _, f := range followers {
			tasks.Go(func() error { return f.receive(tell) })
			tasks.Go(f.send)
		}
		safe = func() uint64 {
			marks := []uint64{log.frames.Load(), followers[0].frames.Load(), followers[1].frames.Load()}
			slices.Sort(marks)
			return marks[1]
		}
	}
	tasks.Go(log.write)
	tasks.Go(func() error {
		var told uint64
		for range wake {
			if n := safe(); n > told {
				told = n
				if err := stream.SendMsg(&rawMessage{data: mem.BufferSlice{mem.SliceBuffer(binary.LittleEndian.AppendUint64(nil, n))}}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for {
		var m rawMessage
		if err := stream.RecvMsg(&m); err != nil {
			return err
		}
		if err := bareCheck(m.data); err != nil {
			return err
		}
		for _, f := range followers {
			m.data.Ref()
			f.queue <- m.data
		}
		log.append(m.data)
		m.data.Free()
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// bareCheck verifies the CRC that stands in front of a batch.
func bareCheck(data mem.BufferSlice) error {
	first := data[0].ReadOnlyData()
	if len(first) < 4 {
		return errors.New("a frame whose first buffer is too short")
	}
	crc := crc32.Checksum(first[4:], castagnoli)
	for _, b := range data[1:] {
		crc = crc32.Update(crc, castagnoli, b.ReadOnlyData())
	}
	if want := binary.LittleEndian.Uint32(first); crc != want {
		return fmt.Errorf("CRC is %08x, computed %08x", want, crc)
	}
	return nil
}

// bareFollower is the leader's side of one follower.
type bareFollower struct {
	stream grpc.ClientStream
	queue  chan mem.BufferSlice
	frames atomic.Uint64 // that it has on disk
}

func followAt(addr string) (*bareFollower, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, append(rawDialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		return nil, err
	}
	stream, err := rawStream(context.Background(), conn)
	return &bareFollower{stream: stream, queue: make(chan mem.BufferSlice, 2*bareInFlight)}, err
}

func (f *bareFollower) send() error {
	for data := range f.queue {
		if err := f.stream.SendMsg(&rawMessage{data: data}); err != nil {
			return err
		}
	}
	return nil
}

func (f *bareFollower) receive(tell func()) error {
	for {
		n, err := bareAnswer(f.stream)
		if err != nil {
			return err
		}
		f.frames.Store(n)
		tell()
	}
}

// bareAnswer is the next answer on a stream: how many frames are safe.
func bareAnswer(stream grpc.ClientStream) (uint64, error) {
	var m rawMessage
	if err := stream.RecvMsg(&m); err != nil {
		return 0, err
	}
	defer m.data.Free()
	return binary.LittleEndian.Uint64(m.data.Materialize()), nil
}

// barePath publishes n messages of size bytes through three processes.
func (s *session) barePath(size int, n int64) {
	t := s.t
	t.Helper()
	dir, ports := t.TempDir(), cluster.FreePorts(t, 3)
	var addrs []string
	for _, p := range ports {
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", p))
	}
	s.procs = processes{}
	defer func() { s.procs = processes{} }()
	for i, role := range []string{"follower", "follower", "leader"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), bareRole+"="+role, bareListen+"="+addrs[i], bareFollowers+"="+strings.Join(addrs[:2], ","),
			bareFile+"="+filepath.Join(dir, fmt.Sprint(i)), bareBytes+"="+strconv.FormatInt(bareFileBytes(), 10))
		cmd.Stderr = os.Stderr
		stdin, err := cmd.StdinPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		defer func() {
			require.NoError(t, stdin.Close())
			require.NoError(t, cmd.Wait())
		}()
		if role == "leader" {
			s.procs.leader = cmd.Process.Pid
		} else {
			s.procs.followers = append(s.procs.followers, cmd.Process.Pid)
		}
	}
	leader, err := followAt(addrs[2])
	require.NoError(t, err)
	barePublish(t, leader, size, 1) // everything is connected
	res := s.measure("bare path", size, func(res *figures.Result) {
		began := time.Now()
		barePublish(t, leader, size, n)
		res.Rate(n, time.Since(began))
	})
	s.rep.bare[size] = res.Metrics[figures.MsgsPerS]
}

// barePublish sends n messages in batches of a mebibyte and waits until all are safe.
func barePublish(t *testing.T, to *bareFollower, size int, n int64) {
	t.Helper()
	codec := batch.NewCodec()
	builder, err := batch.NewBuilder(batch.BuilderConfig{MaxBytes: 1 << 20, Codec: codec})
	require.NoError(t, err)
	rec := batch.Record{Value: value(size)}
	sent := to.frames.Load()
	await := func(frames uint64) {
		for to.frames.Load() < frames {
			n, err := bareAnswer(to.stream)
			require.NoError(t, err)
			to.frames.Store(n)
		}
	}
	flush := func() {
		data, err := builder.Build(batch.Stamp{Queue: 1})
		require.NoError(t, err)
		require.NoError(t, to.stream.SendMsg(&rawMessage{data: mem.BufferSlice{mem.NewBuffer(&data, givenBack{codec})}}))
		if sent++; sent > bareInFlight {
			await(sent - bareInFlight)
		}
	}
	for range n {
		rec.Timestamp = time.Now().UnixMilli()
		err := builder.Append(&rec)
		if errors.Is(err, batch.ErrFull) {
			flush()
			err = builder.Append(&rec)
		}
		require.NoError(t, err)
	}
	flush()
	await(sent)
}

// givenBack takes buffers that gRPC has sent.
type givenBack struct{ codec *batch.Codec }

// Put implements mem.BufferPool.
func (g givenBack) Put(b *[]byte) { g.codec.Release(*b) }

// Get completes mem.BufferPool.
func (g givenBack) Get(n int) *[]byte {
	b := make([]byte, n)
	return &b
}
