package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// profileEnv names a directory CPU profiles of the processes are written to; the program
// is then built to give them.
const profileEnv = "STOA_BENCH_PROFILE"

func build(dir string) (string, error) {
	program := filepath.Join(dir, "stoa")
	args := []string{"build", "-trimpath", "-o", program}
	if os.Getenv(profileEnv) != "" {
		args = append(args, "-tags", "pprof")
	}
	c := exec.Command("go", append(args, "github.com/stoa-kernel/stoa/cmd/stoa")...)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build stoa: %w: %s", err, out)
	}
	return program, nil
}

// process is a master or an agent.
type process struct {
	role string
	dir  string
	url  string
	cmd  *exec.Cmd
	once sync.Once
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// addr is host:port.
func (p *process) addr() string { return strings.TrimPrefix(p.url, "http://") }

// start runs a role on a data directory and waits until it is ready.
func (b *bench) start(role, dir string, args ...string) (*process, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	p := &process{role: role, dir: dir}
	p.cmd = exec.Command(b.program, append([]string{role, "--listen", "127.0.0.1:0", "--data-dir", dir, "--log-level", "warn"}, args...)...)
	p.cmd.Env = append(os.Environ(), "STOA_PPROF="+filepath.Join(dir, "pprof"))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ctrl-C is ours to handle
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd.Stderr = log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	b.started = append(b.started, p)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("%s is not ready: %w: %s", role, err, p.log())
	}
	words := strings.Fields(line)
	p.url = words[len(words)-1]
	go func() { _, _ = io.Copy(io.Discard, out) }() // until it ends
	return p, nil
}

// log is the end of what the process had to say.
func (p *process) log() string {
	text, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// stop ends the process; an agent stops its tasks.
func (p *process) stop() {
	p.once.Do(func() {
		_ = p.cmd.Process.Signal(os.Interrupt)
		late := time.AfterFunc(20*time.Second, func() { _ = p.cmd.Process.Kill() })
		_ = p.cmd.Wait() // how it ends is of no interest any more
		late.Stop()
	})
}

func (b *bench) stopAll() {
	for i := len(b.started) - 1; i >= 0; i-- {
		b.started[i].stop()
	}
	b.started = nil
}

// cpu is the processor time a process has used.
func cpu(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux Go runs on
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// kib reads a field in KiB of a file of /proc, in bytes.
func kib(path, name string) (float64, error) {
	var n float64
	text := field(path, name)
	if _, err := fmt.Sscanf(text, "%f kB", &n); err != nil {
		return 0, fmt.Errorf("%s: no %s", path, name)
	}
	return n * 1024, nil
}

// metric reads one value from a process's /metrics.
func (p *process) metric(name string) (float64, error) {
	r, err := http.Get(p.url + "/metrics")
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("%s has no metric %s", p.role, name)
}

// profile takes a CPU profile until the returned function is called, if one is wanted.
func (p *process) profile(name string) func() {
	dir := os.Getenv(profileEnv)
	if dir == "" {
		return func() {}
	}
	_ = p.cmd.Process.Signal(syscall.SIGUSR1)
	return func() {
		_ = p.cmd.Process.Signal(syscall.SIGUSR1)
		from, to := filepath.Join(p.dir, "pprof"), filepath.Join(dir, name+"-"+p.role+".pprof")
		for range 100 { // until it is written
			if _, err := os.Stat(from); err == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		text, err := os.ReadFile(from)
		if err == nil {
			err = errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(to, text, 0o644), os.Remove(from))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "profile:", err)
		}
	}
}

// profileSelf is profile of the bench: what it simulates shares the machine.
func profileSelf(name string) func() {
	dir := os.Getenv(profileEnv)
	if dir == "" {
		return func() {}
	}
	f, err := os.Create(filepath.Join(dir, name+"-bench.pprof"))
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		return func() {}
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}
}
