// Package agent is the process that runs tasks on one machine. It joins the pure core
// (agent/state) with its edges: the log, the containerizer, the link to the master, the
// HTTP API of executors, sandboxes, volumes and checks.
//
// One goroutine, the loop, owns the core: inputs -> Step -> persist -> do. It waits for
// no disk and no peer: a second goroutine writes the log, what is asked of the edges is
// queued, and their answers come back as inputs.
//
//	<work>/meta/log/   the log (agent/checkpoint)     <work>/slaves/   sandboxes
//	<work>/meta/lock   held by the process            <work>/volumes/  persistent volumes
//	<work>/meta/port   the port, if any was free
package agent

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	nethttp "net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"

	"github.com/stoa-kernel/stoa/agent/checkpoint"
	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/agent/containerizer/fetch"
	"github.com/stoa-kernel/stoa/agent/containerizer/volume"
	"github.com/stoa-kernel/stoa/agent/http"
	"github.com/stoa-kernel/stoa/agent/link"
	"github.com/stoa-kernel/stoa/agent/probe"
	"github.com/stoa-kernel/stoa/agent/sandbox"
	"github.com/stoa-kernel/stoa/agent/state"
	"github.com/stoa-kernel/stoa/internal/account"
	"github.com/stoa-kernel/stoa/internal/dirlock"
	"github.com/stoa-kernel/stoa/internal/failpoint"
	"github.com/stoa-kernel/stoa/internal/listen"
	"github.com/stoa-kernel/stoa/internal/mailbox"
	"github.com/stoa-kernel/stoa/internal/meter"
	"github.com/stoa-kernel/stoa/internal/vfs"
	"github.com/stoa-kernel/stoa/kernel/id"
)

// Containerizer runs containers. Its methods are those of the effects of agent/state
// with the same names; they never wait, and are never called concurrently. What happens
// comes as events.
type Containerizer interface {
	Launch(*container.Spec)
	Go(id.Container)
	Adopt(container.Live)
	Signal(id.Container, int)
	Destroy(id.Container)
	Resize(id.Container, container.Limits)
	// Execute is the exception to both: it waits until a check's command has ended.
	probe.Runner
	// Close lets go of all containers, which run on; no event comes after it.
	Close() error
}

// Hooks is what a containerizer calls, from any goroutine. None of them needs the
// loop to make progress.
type Hooks struct {
	Events func(container.Event)
	// Fetch brings a container's URIs into its sandbox, which is there by then.
	Fetch func(context.Context, *container.Spec) error
}

// Stop says how the agent is to end.
type Stop uint8

const (
	// StopTasks kills every task by its kill policy, in at most 10 s, and ends when
	// the last is gone.
	StopTasks Stop = iota
	// StopNow kills what is left at once.
	StopNow
)

// Config is an agent's. WorkDir, Masters, Containerizer and Log must be set.
type Config struct {
	// WorkDir is where everything of the agent lies. It is made if need be; tasks of
	// other users must be able to pass through it and the directories above.
	WorkDir string
	// Masters are asked in turn, each host:port.
	Masters []string
	// Listen is host:port of the HTTP server; "" means 127.0.0.1:5051. Port 0 takes a
	// free one the first time and the same one ever after, since executors keep it.
	Listen string
	// Advertise is the IP that others reach the agent at; "" for the one listened on.
	Advertise string
	// AllowRemote lets Listen be other than loopback, though nobody authenticates.
	AllowRemote bool
	// Connections is how many may stand besides executors' streams; 0 means
	// listen.DefaultConnections.
	Connections int
	// Hostname is what offers say; "" for the machine's name.
	Hostname string
	// Resources in Mesos's text form or as JSON; cpus, mem, disk and ports that it does
	// not name are those of the machine.
	Resources string
	// Share says which part of the machine that is.
	Share Share
	// Attributes as offers say them.
	Attributes []*mesos.Attribute

	// State configures the core: timeouts, CFS, PidsLimit. What is fixed by the rest of
	// this configuration and by the machine is filled in.
	State state.Config

	Containerizer func(Hooks) (Containerizer, error)
	Fetcher       fetch.Fetcher
	Limits        http.Limits
	// DiskWatch is how often the disk's usage is measured; 0 means 1 min, as Mesos.
	DiskWatch time.Duration
	Log       *slog.Logger

	// Stop, if not nil, asks to end and kill the tasks first. It may ask twice.
	Stop <-chan Stop
	// Ready is called once, with the URL, when the log is recovered and the HTTP server
	// serves. May be nil.
	Ready func(url string)
}

// Run serves until ctx ends, then returns nil and leaves tasks running, to be found by
// the next Run on the same WorkDir; so does a process that is killed. It also returns
// when Stop was asked and is done. It returns an error if it cannot start, cannot write
// its log, or was told by the master to end; the process must then end.
func Run(ctx context.Context, c Config) error {
	if err := failpoint.Err(); err != nil {
		return err
	}
	began := time.Now()
	work, err := filepath.Abs(c.WorkDir)
	if err != nil {
		return fmt.Errorf("work directory: %w", err)
	}
	c.WorkDir = work
	meta := filepath.Join(work, "meta")
	if err := errors.Join(os.MkdirAll(work, 0o755), os.MkdirAll(meta, 0o700)); err != nil {
		return fmt.Errorf("work directory: %w", err)
	}
	lock, err := dirlock.Acquire(meta, "stoa agent")
	if err != nil {
		return err
	}
	defer lock.Release()

	listener, err := openListener(ctx, c.Listen, c.AllowRemote, filepath.Join(meta, "port"))
	if err != nil {
		return err
	}
	defer listener.Close()
	ip, port, err := advertised(c.Advertise, listener, c.Masters)
	if err != nil {
		return err
	}
	if err := c.complete(ip, port); err != nil {
		return err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fmt.Errorf("boot id: %w", err)
	}
	volumes := volume.New(work)
	if err := volumes.Sweep(); err != nil {
		return err
	}
	salt, err := seed()
	if err != nil {
		return err
	}
	log, records, err := checkpoint.Open(vfs.OS{}, filepath.Join(meta, "log"), checkpoint.Options{Salt: salt, Logger: c.Log})
	if err != nil {
		return err
	}
	defer log.Close()
	core := state.New(c.State)
	if err := core.Replay(records); err != nil {
		return fmt.Errorf("recover from %s: %w", filepath.Join(meta, "log"), err)
	}
	c.Log.Info("recovered", "agent", string(core.ID()), "records", len(records), "boot", strings.TrimSpace(string(boot)),
		"took", time.Since(began).Round(time.Millisecond))

	r := &runner{core: core, began: began, config: &c, volumes: volumes}
	r.assemble(log)
	return r.serve(ctx, listener, state.Started{BootID: strings.TrimSpace(string(boot))})
}

// complete fills in what the machine and the rest of the configuration say of the core's.
func (c *Config) complete(ip string, port int) error {
	if c.Hostname == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("host name: %w: say which to offer", err)
		}
		c.Hostname = name
	}
	me, err := account.Current()
	if err != nil {
		return err
	}
	s := &c.State
	if s.Resources, err = resources(c.Resources, c.Share, c.WorkDir); err != nil {
		return err
	}
	if s.Seed == 0 {
		if s.Seed, err = seed(); err != nil {
			return err
		}
	}
	s.IP, s.WorkDir, s.Endpoint = ip, c.WorkDir, joinPort(ip, port)
	s.AgentUser, s.SwitchUser = me.Name, os.Geteuid() == 0
	if s.Path == "" {
		if s.Path = os.Getenv("PATH"); s.Path == "" {
			s.Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
		}
	}
	s.Info = &mesos.AgentInfo{
		Hostname:   proto.String(c.Hostname),
		Port:       proto.Int32(int32(port)),
		Attributes: c.Attributes,
		Resources:  s.Resources.Proto(),
	}
	return nil
}

func seed() (uint64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("seed: %w", err)
	}
	return binary.LittleEndian.Uint64(b[:]) | 1, nil
}

// assemble makes the edges; none of them runs yet.
func (r *runner) assemble(log *checkpoint.Log) {
	c := r.config
	files := sandbox.NewFiles(c.WorkDir)
	r.inputs = mailbox.New[state.Input](backlog)
	r.master = &link.Client{Masters: c.Masters, Submit: r.inputs.Submit, Files: files.Answer, Log: c.Log}
	r.metrics = newMetrics()
	r.server = http.New(http.Config{Submit: r.inputs.Submit, Files: files, Metrics: meter.Handler(r.metrics.registry), Log: c.Log,
		Version: c.State.Version, Limits: c.Limits})
	r.metrics.edges(r.server, r.master)
	r.log = newWriter(log, r.inputs.Poke, func(took time.Duration) { r.metrics.persist.Observe(took.Seconds()) })
	r.disk = newChores()
}

// serve runs the edges around the loop and takes them down after it, in an order in
// which none waits for another.
func (r *runner) serve(ctx context.Context, listener net.Listener, first state.Input) error {
	c := r.config
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var edges sync.WaitGroup
	defer edges.Wait()

	web := &nethttp.Server{
		Handler:           r.server,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Hour, // an executor's second connection sends a HEARTBEAT every 30 min
		MaxHeaderBytes:    64 << 10,
		ConnContext:       listen.Context,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
	limited := listen.Limit(listener, c.Connections)
	r.metrics.connections(limited)
	edges.Go(func() {
		if err := web.Serve(limited); !errors.Is(err, nethttp.ErrServerClosed) {
			stop(fmt.Errorf("serve %s: %w", listener.Addr(), err))
		}
	})
	defer func() {
		r.server.Close()
		ending, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if web.Shutdown(ending) != nil {
			web.Close()
		}
	}()

	containers, err := newLauncher(c, r.inputs.Post)
	if err != nil {
		return err
	}
	r.containers = containers
	defer func() {
		if err := containers.Close(); err != nil {
			c.Log.Warn("containers could not be let go of in order; they run on", "error", err)
		}
	}()
	r.checks = probe.New(containers, func(c state.Checked) { r.inputs.Post(c) })
	defer r.checks.Close()
	defer r.inputs.Close() // from here on nobody waits for the loop
	defer stop(nil)
	edges.Go(func() { r.log.run() })
	defer r.log.close()
	edges.Go(func() { r.disk.run(running) })
	edges.Go(func() { r.watchDisk(running) })

	url := "http://" + c.State.Endpoint
	err = r.run(running, first, func() {
		r.server.Recovered()
		edges.Go(func() { r.master.Run(running) })
		if c.Ready != nil {
			c.Ready(url)
		}
	})
	r.log.close()
	if failed := r.log.failed(); failed != nil && err == nil {
		err = failed
	}
	if err == nil && ctx.Err() == nil {
		err = context.Cause(running)
	}
	return err
}

// watchDisk tells the core how full the disk is.
func (r *runner) watchDisk(ctx context.Context) {
	every := r.config.DiskWatch
	if every == 0 {
		every = time.Minute
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		used, err := sandbox.Used(r.config.WorkDir)
		if err != nil {
			r.config.Log.Warn("the disk cannot be measured; sandboxes are collected by age only", "error", err)
		} else {
			r.inputs.Post(state.DiskUsage{Used: used})
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// isUpdate tells the kinds of update that failpoints distinguish.
func isUpdate(rec *stoapb.LogRecord) (running, terminal bool) {
	s := rec.GetUpdate().GetStatus()
	if s == nil {
		return false, false
	}
	switch s.GetState() {
	case mesos.TaskState_TASK_RUNNING:
		return true, false
	case mesos.TaskState_TASK_STAGING, mesos.TaskState_TASK_STARTING, mesos.TaskState_TASK_KILLING:
		return false, false
	}
	return false, true
}
