// Package state is the agent as a value: frameworks, executors, tasks, containers and
// their status updates, changed by Step and by nothing else.
//
// What must not be forgotten is written as records of the agent's log before what
// follows from it is done: Replay of any prefix that was written gives a state from
// which the protocol goes on. The order around a launch is
//
//	ContainerLaunch, TaskLaunch -> Launch -> ContainerForked -> Go -> RUNNING (on disk) -> forwarded
//
// so that a container without ContainerForked was never told to go, and may be
// launched anew, and one with it is looked for (Adopt) and never launched again.
package state

import (
	"encoding/hex"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/stoa-kernel/stoa/agent/status"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// Config is fixed for the agent's life; zero durations mean Mesos's defaults
// (src/slave/constants.hpp).
type Config struct {
	// Seed makes uuids and container ids; two lives of one agent may have the same,
	// since Replay stirs in what the log holds.
	Seed    uint64
	Version string
	// Info: hostname, port, attributes; no id.
	Info *mesos.AgentInfo
	IP   string
	// Resources as configured; checkpointed reservations and volumes are laid over them.
	Resources resource.Resources
	// WorkDir is the root of sandboxes and volumes, absolute.
	WorkDir string
	// Endpoint is what MESOS_AGENT_ENDPOINT says, ip:port.
	Endpoint string
	// Path is the PATH given to tasks that set none.
	Path string
	// SwitchUser: tasks run as CommandInfo.user or FrameworkInfo.user; without it
	// (an agent that is not root) another user than AgentUser is TASK_ERROR.
	SwitchUser bool
	AgentUser  string
	// CFS makes the cpus request a hard quota too (--cgroups-enable-cfs).
	CFS bool

	ExecutorRegistrationTimeout   time.Duration // 1 min
	ExecutorReregistrationTimeout time.Duration // 2 s
	ExecutorShutdownGrace         time.Duration // 5 s
	KillGrace                     time.Duration // 3 s
	RecoveryTimeout               time.Duration // 15 min
	UpdateRetryMin                time.Duration // 10 s
	UpdateRetryMax                time.Duration // 10 min
	GCDelay                       time.Duration // 1 week
	GCDiskHeadroom                float64       // 0.1
	HeartbeatInterval             time.Duration // 30 min, to executors
	PidsLimit                     int64         // per container; 0 none
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		value *time.Duration
		or    time.Duration
	}{
		{&c.ExecutorRegistrationTimeout, time.Minute},
		{&c.ExecutorReregistrationTimeout, 2 * time.Second},
		{&c.ExecutorShutdownGrace, 5 * time.Second},
		{&c.KillGrace, 3 * time.Second},
		{&c.RecoveryTimeout, 15 * time.Minute},
		{&c.UpdateRetryMin, 10 * time.Second},
		{&c.UpdateRetryMax, 10 * time.Minute},
		{&c.GCDelay, 7 * 24 * time.Hour},
		{&c.HeartbeatInterval, 30 * time.Minute},
	} {
		if *d.value == 0 {
			*d.value = d.or
		}
	}
	if c.GCDiskHeadroom == 0 {
		c.GCDiskHeadroom = 0.1
	}
}

// Agent is the value.
type Agent struct {
	cfg Config
	rng *rand.Rand

	// now and out are of the Step under way.
	now clock.Now
	out *Effects

	admitted     *mesos.AgentInfo // as the master registered it, with id; nil before
	bootID       string
	recordedBoot string // the boot the log is of
	epoch        uint64 // greatest obeyed

	total      resource.Resources // with reservations and volumes
	checkpoint bool               // total is of another configuration than the log says

	link        Link
	linkUp      bool
	registered  bool // the master of link has admitted us
	pingTimeout time.Duration

	frameworks map[id.Framework]*framework
	runs       map[id.Container]*executor // until Destroyed
	streams    map[Stream]*executor
	seq        uint64 // order of creation of tasks and executors

	operations map[string]*operation // by uuid: done, not acknowledged
	settled    []*operation          // the last ones that are over
	applying   *applying             // waits for VolumesApplied
	backlog    []*stoapb.ToAgent     // ApplyOperation and RunTask behind applying

	sandboxes map[id.Container]*sandbox
	gcQueue   []*sandbox // those not being removed, by since
	diskUsed  float64

	stopping   bool
	stopForced bool
	stopped    bool
	exit       string // why the process ends once all containers are gone; "" is Stopped
}

// New makes an agent that remembers nothing.
func New(cfg Config) *Agent {
	cfg.setDefaults()
	return &Agent{
		cfg:         cfg,
		rng:         rand.New(rand.NewPCG(cfg.Seed, 0)),
		total:       cfg.Resources,
		pingTimeout: defaultPingTimeout,
		frameworks:  make(map[id.Framework]*framework),
		runs:        make(map[id.Container]*executor),
		streams:     make(map[Stream]*executor),
		operations:  make(map[string]*operation),
		sandboxes:   make(map[id.Container]*sandbox),
	}
}

// ID is the agent's id, "" until a master has admitted it.
func (a *Agent) ID() id.Agent { return id.Agent(a.admitted.GetId().GetValue()) }

// Step changes the agent by one input and appends what follows from it.
func (a *Agent) Step(now clock.Now, in Input, out *Effects) {
	a.now, a.out = now, out
	switch in := in.(type) {
	case Started:
		a.started(in.BootID)
	case LinkUp:
		a.linkIsUp(in.Link)
	case Frame:
		a.frame(in.Link, in.Msg)
	case LinkDown:
		a.linkIsDown(in.Link)
	case ExecutorSubscribe:
		a.subscribe(in)
	case ExecutorCall:
		a.executorCall(in)
	case ExecutorGone:
		a.streamGone(in.Stream)
	case Container:
		a.containerEvent(in.Event)
	case Checked:
		a.checked(in)
	case VolumesApplied:
		a.volumesApplied(in)
	case DiskUsage:
		a.diskUsage(in.Used)
	case SandboxRemoved:
		a.sandboxRemoved(in)
	case Shutdown:
		a.shutdown(in)
	case Fired:
		a.fired(in.Timer)
	}
	a.out = nil
}

func (a *Agent) persist(sync bool, r *stoapb.LogRecord) { a.out.add(Persist{Record: r, Sync: sync}) }

func (a *Agent) setTimer(kind TimerKind, owner string, after time.Duration) {
	a.out.add(SetTimer{Timer{kind, owner}, a.now.Mono + max(after, 0)})
}

func (a *Agent) stopTimer(kind TimerKind, owner string) { a.out.add(StopTimer{Timer{kind, owner}}) }

// uuid is a random (version 4) uuid of the seeded generator.
func (a *Agent) uuid() []byte {
	b := make([]byte, 16)
	for i := 0; i < 16; i += 8 {
		v := a.rng.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return b
}

// newContainer is a fresh container id, a uuid in its textual form.
func (a *Agent) newContainer() id.Container {
	h := hex.EncodeToString(a.uuid())
	return id.Container(h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:])
}

// stir makes the generator depend on what the log holds, so that a restarted agent
// does not make the ids of its former life again.
func (a *Agent) stir(what []byte) {
	h := fnv.New64a()
	h.Write(what)
	a.rng = rand.New(rand.NewPCG(a.cfg.Seed^h.Sum64(), a.rng.Uint64()))
}

func (a *Agent) nextSeq() uint64 {
	a.seq++
	return a.seq
}

// ordered is the values of a map in the order they were made.
func ordered[K comparable, V interface{ order() uint64 }](m map[K]V) []V {
	list := make([]V, 0, len(m))
	for _, v := range m {
		list = append(list, v)
	}
	slices.SortFunc(list, func(x, y V) int {
		switch {
		case x.order() < y.order():
			return -1
		case x.order() > y.order():
			return 1
		}
		return 0
	})
	return list
}

func (a *Agent) retry() status.Retry {
	return status.Retry{Min: a.cfg.UpdateRetryMin, Max: a.cfg.UpdateRetryMax}
}
