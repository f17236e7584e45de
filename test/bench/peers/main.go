// Command peers measures replicated message brokers, ours among them, on one machine.
// See README.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ledgermq/ledgermq/test/bench/figures"
)

var (
	flags    = flag.NewFlagSet("peers", flag.ExitOnError)
	programs = flags.String("programs", "bin", "where broker is, and the peers' servers, if they are not on the path")
	peerList = flags.String("peers", "", "peers to measure, comma between; default: all but rabbit-stream whose server is found, of "+strings.Join(peerNames(), ","))
	onlyList = flags.String("only", "", "workloads, comma between; default: "+strings.Join(workloadNames(), ","))
	reps     = flags.Int("reps", 3, "repetitions; the peers take turns within each")
	limit    = flags.Duration("limit", 3*time.Second, "how long a workload publishes")
	outFile  = flags.String("out", "peers.jsonl", "where results go, a line of JSON each")
	more     = flags.Bool("append", false, "add to the results that are there")
	page     = flags.String("page", "", "the page whose section \"peers\" is rewritten")
	dirFlag  = flags.String("dir", "", "where the servers keep their files; default: a temporary folder")
	version  = flags.String("version", "this tree", "what our brokers were built from")
	rabbit   = flags.String("rabbit", os.Getenv("RABBITMQ_SBIN"), "the sbin folder of the RabbitMQ distribution; default: where Debian has it")
)

const usageText = `usage: peers COMMAND [flags]

  record  measure, and write the tables
  table   write the tables of the results that are there
`

func main() {
	if len(os.Args) < 2 || !slices.Contains([]string{"record", "table"}, os.Args[1]) {
		fmt.Fprint(os.Stderr, usageText)
		os.Exit(2)
	}
	_ = flags.Parse(os.Args[2:]) // it ends the process by itself
	err := error(nil)
	if os.Args[1] == "record" {
		err = record()
	}
	if err == nil {
		err = tables()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// tables prints the results and rewrites the page.
func tables() error {
	results, err := readResults(*outFile)
	if err != nil {
		return err
	}
	var text strings.Builder
	writeTables(results, &text)
	fmt.Print(text.String())
	if *page == "" {
		return nil
	}
	return figures.ReplaceSection(*page, "peers", text.String())
}

// program finds a server: among the programs given, or on the path.
func program(name string) string {
	if path, err := filepath.Abs(filepath.Join(*programs, name)); err == nil && exists(path) {
		return path // absolute: servers have directories of their own
	}
	return name
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// found tells whether a peer's server is there.
func found(peer string) bool {
	kind, _, _ := strings.Cut(peer, "-")
	switch kind {
	case "rabbit":
		return *rabbit != ""
	case "nats":
		kind = "nats-server"
	case "ledgermq":
		kind = "broker"
	}
	_, err := exec.LookPath(program(kind))
	return err == nil
}

// findRabbit looks where Debian's package puts it.
func findRabbit() {
	if *rabbit == "" {
		if all, _ := filepath.Glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin"); len(all) > 0 {
			*rabbit = all[len(all)-1]
		}
	}
}

// record measures the peers in turn, as often as is asked for.
func record() error {
	findRabbit()
	names, err := chosen()
	if err != nil {
		return err
	}
	if !*more {
		if err := os.Remove(*outFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	each := 6*time.Second + time.Duration(len(selected(ours)))*(*limit+time.Second)
	fmt.Fprintf(os.Stderr, "%s, %d times: about %v\n", strings.Join(names, ", "), *reps, (each * time.Duration(len(names)**reps)).Round(time.Second))
	for rep := range *reps {
		for _, name := range names {
			if err := onCluster(name, rep+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func chosen() ([]string, error) {
	if *peerList == "" {
		names := slices.DeleteFunc(peerNames(), func(n string) bool { return n == "rabbit-stream" || !found(n) })
		for _, n := range peerNames() {
			if n != "rabbit-stream" && !slices.Contains(names, n) {
				fmt.Fprintf(os.Stderr, "%s is left out: its server is not there (README.md says how to get it)\n", n)
			}
		}
		return names, nil
	}
	names := strings.Split(*peerList, ",")
	for _, n := range names {
		if peers[n] == nil {
			return nil, fmt.Errorf("no peer %q among %s", n, strings.Join(peerNames(), ", "))
		}
	}
	return names, nil
}

// onCluster runs the workloads on a fresh cluster of one peer, which ends whatever
// happens.
func onCluster(name string, rep int) error {
	dir, err := os.MkdirTemp(*dirFlag, "peers-")
	if err != nil {
		return err
	}
	p := peers[name]()
	stop := sync.OnceFunc(func() { p.Stop(); _ = os.RemoveAll(dir) })
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(interrupted)
	overdue := time.AfterFunc(4*time.Minute, func() { interrupted <- syscall.SIGTERM })
	defer overdue.Stop()
	go func() {
		<-interrupted
		fmt.Fprintf(os.Stderr, "peers: %s is interrupted, or hangs\n", name)
		stop()
		os.Exit(1)
	}()
	defer stop()
	emit := func(all ...*Result) error {
		var failed error
		for _, r := range all {
			r.Peer, r.Version, r.Rep = name, p.Version(), rep
			failed = errors.Join(failed, r.emit())
		}
		return failed
	}
	began := time.Now()
	started := newResult("start", "three servers")
	started.fail(p.Start(dir))
	started.Metrics["ready_s"] = time.Since(began).Seconds()
	if err := emit(started); err != nil || started.Err != "" {
		return err
	}
	pause(time.Second)
	for _, w := range selected(name) {
		if err := emit(w.run(p)...); err != nil {
			return err
		}
	}
	return nil
}
