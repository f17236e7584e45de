package bench

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"

	"github.com/ledgermq/ledgermq/test/bench/figures"
)

const block = 4096

// aligned is memory that direct writes take.
func aligned(size int) []byte {
	b := make([]byte, size+block)
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return b[-at&(block-1):][:size:size]
}

// scratchFile is a file of that size whose blocks have all been written, for direct
// writes where the file system has them.
func scratchFile(path string, size int64) (*os.File, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	zeros := aligned(1 << 20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros, at); err != nil {
			return nil, err
		}
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	if direct, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT, 0); err == nil {
		return direct, f.Close()
	}
	return f, nil
}

// syncLatency is one writer who syncs each block of an overwritten file.
func (s *session) syncLatency(n int64) {
	t := s.t
	res := s.measure("4 KiB write and fdatasync", 0, func(res *figures.Result) {
		f, err := scratchFile(filepath.Join(t.TempDir(), "scratch"), 16<<20)
		require.NoError(t, err)
		defer f.Close()
		h, buf := figures.NewHistogram(), aligned(block)
		began := time.Now()
		for i := range n {
			at := time.Now()
			_, err := f.WriteAt(buf, i%(16<<20/block)*block)
			require.NoError(t, err)
			require.NoError(t, unix.Fdatasync(int(f.Fd())))
			h.Record(time.Since(at))
		}
		res.Rate(n, time.Since(began))
		res.Latencies(h)
	})
	s.rep.sync = res.Metrics[figures.P50MS]
}

// sequentialWrites is three writers at a time, each of which syncs every mebibyte.
func (s *session) sequentialWrites(bytes int64) {
	t := s.t
	const writers, step = 3, 1 << 20
	res := s.measure("3 writers of 1 MiB, each synced", step, func(res *figures.Result) {
		var g errgroup.Group
		steps := max(1, bytes/step)
		files := make([]*os.File, writers)
		for i := range files {
			var err error
			files[i], err = scratchFile(filepath.Join(t.TempDir(), strconv.Itoa(i)), min(steps, 128)*step)
			require.NoError(t, err)
			defer files[i].Close()
		}
		began := time.Now()
		for _, f := range files {
			g.Go(func() error {
				buf := aligned(step)
				for i := range steps {
					if _, err := f.WriteAt(buf, i%min(steps, 128)*step); err != nil {
						return err
					}
					if err := unix.Fdatasync(int(f.Fd())); err != nil {
						return err
					}
				}
				return nil
			})
		}
		require.NoError(t, g.Wait())
		res.Rate(steps*writers, time.Since(began))
	})
	s.rep.disk = res.Metrics[figures.MBPerS] * 1e6
}

// standstillFrom is from when on a clock that jumps has stood still: a thread that shares two
// cores waits less.
const standstillFrom = 5 * time.Millisecond

// standstills watches the clock while three writers sync blocks. A machine whose processors
// are rationed, as a container with a CPU limit is, stands still as a whole once its ration
// is used up, often at the end of each tenth of a second. That is in the p99 of every
// workload then, and no broker can do anything about it.
func (s *session) standstills(d time.Duration) {
	t := s.t
	s.measure("standstills, 3 writers of 4 KiB", 0, func(res *figures.Result) {
		var g errgroup.Group
		var files []*os.File
		for i := range 3 {
			f, err := scratchFile(filepath.Join(t.TempDir(), strconv.Itoa(i)), 16<<20)
			require.NoError(t, err)
			defer f.Close()
			files = append(files, f)
		}
		began := time.Now()
		end := began.Add(d)
		for _, f := range files {
			g.Go(func() error { return syncBlocks(f, end) })
		}
		var still, longest time.Duration
		for last := began; last.Before(end); {
			now := time.Now()
			if gap := now.Sub(last); gap >= standstillFrom {
				still, longest = still+gap, max(longest, gap)
			}
			last = now
		}
		require.NoError(t, g.Wait())
		res.Metrics["stood_still"] = still.Seconds() / d.Seconds()
		res.Metrics["longest_standstill_ms"] = longest.Seconds() * 1e3
	})
}

// syncBlocks overwrites a file of 16 MiB until then, and syncs each block.
func syncBlocks(f *os.File, end time.Time) error {
	buf := aligned(block)
	for at := int64(0); time.Now().Before(end); at += block {
		if _, err := f.WriteAt(buf, at%(16<<20)); err != nil {
			return err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return err
		}
	}
	return nil
}

// grpcStream sends mebibytes through one stream to a receiver that drops them.
func (s *session) grpcStream(bytes int64) {
	t := s.t
	const size = 1 << 20
	res := s.measure("gRPC stream of 1 MiB messages", size, func(res *figures.Result) {
		n := max(1, bytes/size)
		server := rawServer(func(stream grpc.ServerStream) error {
			for range n {
				var m rawMessage
				if err := stream.RecvMsg(&m); err != nil {
					return err
				}
				m.data.Free()
			}
			return stream.SendMsg(&rawMessage{data: mem.BufferSlice{mem.SliceBuffer("done")}})
		})
		defer server.Stop()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		var serving errgroup.Group
		serving.Go(func() error { return server.Serve(l) })
		conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), append(rawDialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		require.NoError(t, err)
		defer conn.Close()
		stream, err := rawStream(t.Context(), conn)
		require.NoError(t, err)
		payload := value(size)
		began := time.Now()
		for range n {
			require.NoError(t, stream.SendMsg(&rawMessage{data: mem.BufferSlice{mem.SliceBuffer(payload)}}))
		}
		var done rawMessage
		require.NoError(t, stream.RecvMsg(&done))
		res.Rate(n, time.Since(began))
		server.Stop()
		require.NoError(t, serving.Wait())
	})
	s.rep.stream = res.Metrics[figures.MBPerS] * 1e6
}
