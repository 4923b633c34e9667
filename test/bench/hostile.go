package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/internal/codec"
)

// attacks are what hostile clients do, in a process of their own that has one processor,
// as fast as it can and until it is killed. docs/api-errors.md says what they are answered.
var attacks = []struct {
	name string
	what string
	run  func(addr string)
}{
	{"none", "no hostile clients", nil},
	{"streams", "200 streams nobody reads, 200 half headers", halfOpen},
	{"slow", "1,000 bodies of a byte each 0.2 s", slowBodies},
	{"nested", "8 clients posting 10,000 levels of nesting", nested},
	{"huge", "4 clients posting bodies of 3 and 12 MB", huge},
	{"connections", "connections opened without end, 6,000 held", connections},
	{"all", "all of these at once", everything},
}

// attack runs one of them for good.
func attack(spec string) error {
	name, addr, _ := strings.Cut(spec, "@")
	for _, a := range attacks {
		if a.name == name && a.run != nil {
			runtime.GOMAXPROCS(1)
			a.run(addr)
			select {}
		}
	}
	return fmt.Errorf("-attack %s: there is no such attack", spec)
}

func everything(addr string) {
	for _, f := range []func(string){halfOpen, slowBodies, nested, huge, connections} {
		go f(addr)
	}
}

// again calls f for good, on n goroutines. What goes wrong is what the master wants.
func again(n int, f func() error) {
	for range n {
		go func() {
			for {
				if f() != nil {
					time.Sleep(5 * time.Millisecond)
				}
			}
		}()
	}
}

const scheduler = "POST /api/v1/scheduler HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\n"

// say opens a connection with some words on it.
func say(addr, words string) (net.Conn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, words); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func halfOpen(addr string) {
	const body = `{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"deaf"}}}`
	hold := func(words string) func() error {
		return func() error {
			conn, err := say(addr, words)
			if err != nil {
				return err
			}
			time.Sleep(5 * time.Second)
			return conn.Close()
		}
	}
	again(200, hold(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", scheduler, len(body), body)))
	again(200, hold(scheduler))
}

func slowBodies(addr string) {
	again(1000, func() error {
		conn, err := say(addr, scheduler+"Content-Length: 60000\r\n\r\n{")
		if err != nil {
			return err
		}
		defer conn.Close()
		for err == nil {
			time.Sleep(200 * time.Millisecond)
			_, err = conn.Write([]byte(" "))
		}
		return err
	})
}

func posting(addr string, bodies ...string) func() error {
	client := &http.Client{Timeout: 30 * time.Second}
	next := 0
	return func() error {
		body := bodies[next%len(bodies)]
		next++
		answer, err := client.Post("http://"+addr+"/api/v1/scheduler", "application/json", strings.NewReader(body))
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, answer.Body) // to use the connection again
		return answer.Body.Close()
	}
}

func nested(addr string) {
	for range 8 {
		again(1, posting(addr, strings.Repeat(`{"accept":`, 10_000), `{"x":`+strings.Repeat("[", 10_000)))
	}
}

func huge(addr string) {
	messages := `{"type":"ACCEPT","framework_id":{"value":"nobody"},"accept":{"offer_ids":[` +
		strings.Repeat(`{"value":"x"},`, 190_000) + `{"value":"y"}]}}`
	text := `{"x":"` + strings.Repeat("y", 12_000_000) + `"}`
	for range 4 {
		again(1, posting(addr, messages, text))
	}
}

func connections(addr string) {
	open := make(chan net.Conn, 6000)
	again(4, func() error {
		conn, err := say(addr, "P")
		if err != nil {
			return err
		}
		for {
			select {
			case open <- conn:
				return nil
			case oldest := <-open:
				oldest.Close()
			}
		}
	})
}

// hostile is how long a framework's calls take while others misbehave, and what they cost
// the master.
func hostile(b *bench) error {
	if err := allDescriptors(); err != nil {
		return err
	}
	long := 4 * time.Second
	if b.quick {
		long = 100 * time.Millisecond
	}
	for range b.runs {
		for _, a := range attacks {
			times, memory, err := b.underAttack(a.name, long)
			if err != nil {
				return fmt.Errorf("%s: %w", a.what, err)
			}
			slices.Sort(times)
			what := "a framework's call answered, " + a.what
			b.table.add(row{what: what + ", p50", unit: "ms", goal: "-", peer: "-"}, millis(quantile(times, 0.5)))
			b.table.add(row{what: what + ", p99", unit: "ms", goal: "50 ms", peer: "-"}, millis(quantile(times, 0.99)))
			if a.run != nil {
				b.table.add(row{what: "master's RSS at most, " + a.what, unit: "MiB more", goal: "64 MiB", peer: "-"}, memory/(1<<20))
			}
		}
	}
	return nil
}

// underAttack is how long calls took and how many bytes the master's RSS grew by.
func (b *bench) underAttack(name string, long time.Duration) (times []time.Duration, grown float64, err error) {
	dir := filepath.Join(b.dir, "hostile")
	if err := os.RemoveAll(dir); err != nil {
		return nil, 0, err
	}
	m, err := b.start("master", dir)
	if err != nil {
		return nil, 0, err
	}
	defer m.stop()
	s := &swarm{want: 1}
	if err := s.connect(m.addr(), 10); err != nil {
		return nil, 0, err
	}
	defer s.close()
	f, err := subscribe(m.addr(), "bench", codec.Protobuf)
	if err != nil {
		return nil, 0, err
	}
	lost := make(chan error, 1)
	go func() { // until the stream ends
		for {
			if _, err := f.next(); err != nil {
				lost <- err
				return
			}
			f.offers = nil // kept, and of no use
		}
	}()
	defer f.close()

	status := fmt.Sprintf("/proc/%d/status", m.pid())
	// Another framework's work: a call that goes through the loop, one at a time.
	work := func(until time.Duration) (taken []time.Duration, peak float64, err error) {
		for end := time.Now().Add(until); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
			began := time.Now()
			if err := f.post(&schedulerpb.Call{Type: schedulerpb.Call_REVIVE.Enum()}); err != nil {
				return nil, 0, err
			}
			if err := f.calls.wait(); err != nil {
				return nil, 0, err
			}
			taken = append(taken, time.Since(began))
			if len(taken)%16 == 1 {
				rss, err := kib(status, "VmRSS")
				if err != nil {
					return nil, 0, err
				}
				peak = max(peak, rss)
			}
		}
		return taken, peak, nil
	}
	_, before, err := work(long / 4)
	if err != nil {
		return nil, 0, err
	}
	stop, failed, err := b.attack(name, m.addr())
	if err != nil {
		return nil, 0, err
	}
	defer stop()
	if _, _, err = work(long / 4); err != nil { // until it is in full swing
		return nil, 0, err
	}
	profiled := profiles("hostile-"+name, m)
	times, peak, err := work(long)
	profiled()
	select {
	case err = <-failed:
	case err = <-lost:
		err = fmt.Errorf("the framework lost its stream: %w", err)
	default:
	}
	if links, merr := m.metric("stoa_master_agent_links"); merr == nil && links != 10 {
		err = errors.Join(err, fmt.Errorf("of 10 agents %v are connected", links))
	}
	return times, peak - before, err
}

// attack starts the process that does it; failed hears if it ends by itself.
func (b *bench) attack(name, addr string) (stop func(), failed <-chan error, err error) {
	if name == "none" {
		return func() {}, nil, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	c := exec.Command(self, "-attack", name+"@"+addr)
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Start(); err != nil {
		return nil, nil, err
	}
	ended := make(chan error, 1)
	over := make(chan struct{})
	go func() { // until it ends
		err := c.Wait()
		ended <- fmt.Errorf("the hostile clients ended: %v: %s", err, said.String())
		close(over)
	}()
	return func() {
		_ = c.Process.Kill() // it may have ended
		<-over
	}, ended, nil
}
