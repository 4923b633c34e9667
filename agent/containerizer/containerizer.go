// Package containerizer runs containers on this machine, natively: the host's file
// system, namespaces, cgroups, and a small init for each (package launch).
//
// A container goes through these stages; every event is sent once and in this order:
//
//	preparing  Launch was asked: fetch, cgroup, init               Fetching
//	waiting    the init waits for go                               Forked
//	starting   Go was said
//	running    the task was executed, or adopted                   Started
//	ended      how it ended is known                               Exited or Failed
//	-          Destroy: cgroup and records are removed             Destroyed
//
// A container's init needs no agent once it was told to go: it carries output, passes
// signals on and writes the record of the end. So an agent may die at any instant, and
// Adopt finds either the init, by pid, start time and boot id, or its record. The record
// stays until Destroy, because the agent may die again before it has written down what
// it says.
//
// Files, one directory a container below RuntimeDir: see launch.Dir.
//
// Goroutines: one watches all inits (watch.go), one delivers all events, in order and
// without holding the lock, and one for each container being prepared or removed, of
// which a few launch at a time. A running container has none; it costs a descriptor and
// some hundred bytes.
package containerizer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/agent/containerizer/cgroup"
	"github.com/stoa-kernel/stoa/agent/containerizer/isolator"
	"github.com/stoa-kernel/stoa/agent/containerizer/launch"
	"github.com/stoa-kernel/stoa/internal/account"
	"github.com/stoa-kernel/stoa/kernel/id"
)

// Config of a containerizer. WorkDir and Events must be set.
type Config struct {
	// WorkDir is the agent's, absolute. It names the agent's cgroups, so that the same
	// agent finds them again and another never touches them.
	WorkDir string
	// RuntimeDir holds the containers' records, mode 0700, no sandbox; "" for
	// WorkDir/run.
	RuntimeDir string
	// CgroupRoot is the cgroup below which the agent makes its own, in every hierarchy;
	// "" for no cgroups and no limits. It has no effect without Root.
	CgroupRoot string
	// Root says that the agent may make namespaces and cgroups and switch users. Without
	// it a container is the processes below an init, with no limits.
	Root bool
	// AllowNewPrivileges lets tasks gain privileges by setuid programs; by default they
	// run with no_new_privs.
	AllowNewPrivileges bool
	// LogSize in bytes is where stdout and stderr are rotated, 0 for 10 MB; LogCount is
	// how many files each has, 0 for 2.
	LogSize  int64
	LogCount int
	// Events is told what happens, one event at a time, in order for each container. It
	// may block, which delays further events and nothing else.
	Events func(container.Event)
	// Fetch brings spec.URIs into the sandbox; it must return soon after ctx ends.
	Fetch func(ctx context.Context, spec *container.Spec) error
	// Log may be nil.
	Log *slog.Logger
}

// killTimeout is how long an init has to kill its container before it is killed itself,
// without leaving a record.
const killTimeout = 15 * time.Second

// unclaimed is how long after the start a container may stay that the agent does not
// know; see Sweep.
const unclaimed = time.Minute

// How many downloads and launches are on their way at a time; others wait.
const (
	fetching  = 16
	launching = 16
)

// slots are what those that wait wait for.
type slots chan struct{}

func (s slots) take(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s slots) give() { <-s }

// Native is the containerizer. Its methods may be called from any goroutine; for one
// container they take effect in the order they are called in. None waits for a container
// or a disk.
type Native struct {
	cfg     Config
	log     *slog.Logger
	host    isolator.Host
	cgroups cgroup.Hierarchy // nil without
	program *launch.Program
	pool    *pool
	boot    string
	dir     string
	watch   *watcher

	ctx    context.Context // of everything that waits
	cancel context.CancelFunc
	busy   sync.WaitGroup // goroutines that prepare and remove
	ends   sync.WaitGroup // watcher and delivery

	fetches, launches slots

	mu        sync.Mutex
	items     map[id.Container]*item
	leftovers map[id.Container]bool // found at the start, not claimed yet
	closed    bool
	launching int // containers before running
	events    []container.Event
	more      *sync.Cond // events or closed
}

// New prepares the machine: the runtime directory, the init's program, the root of the
// cgroups. Controllers that are missing are logged; limits they would enforce have no
// effect. Containers of an earlier life run on meanwhile, to be claimed by Adopt or
// Destroy.
func New(cfg Config) (*Native, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.RuntimeDir == "" {
		cfg.RuntimeDir = filepath.Join(cfg.WorkDir, "run")
	}
	if cfg.LogSize == 0 {
		cfg.LogSize = 10 << 20
	}
	if cfg.LogCount == 0 {
		cfg.LogCount = 2
	}
	if err := os.MkdirAll(cfg.RuntimeDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the runtime directory: %w", err)
	}
	n := &Native{
		cfg: cfg, log: cfg.Log, dir: cfg.RuntimeDir,
		items: map[id.Container]*item{}, leftovers: map[id.Container]bool{},
		fetches: make(slots, fetching), launches: make(slots, launching),
		host: isolator.Host{
			Root: cfg.Root, NewPrivileges: cfg.AllowNewPrivileges,
			LogSize: cfg.LogSize, LogCount: cfg.LogCount, Lookup: account.Lookup,
		},
	}
	n.more = sync.NewCond(&n.mu)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := n.open(); err != nil {
		n.release()
		return nil, err
	}
	n.ends.Go(n.watch.run)
	n.ends.Go(n.deliver)
	n.busy.Go(func() {
		if n.pause(unclaimed) {
			n.Sweep()
		}
	})
	return n, nil
}

func (n *Native) open() error {
	var err error
	if n.boot, err = launch.BootID(); err != nil {
		return err
	}
	if score, err := os.ReadFile("/proc/self/oom_score_adj"); err == nil {
		n.host.ResetOOMScore = strings.TrimSpace(string(score)) != "0"
	}
	if n.program, err = launch.Load(n.dir); err != nil {
		return err
	}
	n.pool = &pool{program: n.program, dir: n.dir}
	if n.cfg.Root {
		n.pool.namespaces = launch.Namespaces
		if err := n.openRoot(); err != nil {
			return err
		}
	}
	if n.watch, err = newWatcher(n); err != nil {
		return err
	}
	if err := n.findLeftovers(); err != nil {
		return err
	}
	err = n.pool.fill()
	if err != nil && n.cfg.Root {
		return fmt.Errorf("no container can be started, although this is root: %w; is CAP_SYS_ADMIN missing, or is this a container itself?", err)
	}
	return err
}

// findLeftovers lists what an earlier life left of containers, and removes what it had
// made ready for others.
func (n *Native) findLeftovers() error {
	entries, err := os.ReadDir(n.dir)
	if err != nil {
		return fmt.Errorf("read the runtime directory: %w", err)
	}
	for _, e := range entries {
		switch {
		case !e.IsDir():
		case isReady(e.Name()):
			if err := n.recordsOf(id.Container(e.Name())).Remove(); err != nil {
				return fmt.Errorf("remove what was made ready for containers: %w", err)
			}
		default:
			n.leftovers[id.Container(e.Name())] = true
		}
	}
	if n.cgroups != nil {
		names, err := n.cgroups.List()
		if err != nil {
			return fmt.Errorf("list the agent's cgroups: %w", err)
		}
		for _, name := range names {
			if !isReady(name) {
				n.leftovers[id.Container(name)] = true
			} else if err := n.cgroups.Remove(name); err != nil {
				return fmt.Errorf("remove a cgroup that was made ready: %w", err)
			}
		}
	}
	return nil
}

func (n *Native) openRoot() error {
	if n.cfg.CgroupRoot == "" {
		n.log.Warn("tasks run without limits", "why", "no cgroups root is configured")
		return nil
	}
	var err error
	n.cgroups, err = cgroup.Open(path.Join(n.cfg.CgroupRoot, cgroupName(n.cfg.WorkDir)))
	if errors.Is(err, cgroup.ErrNone) {
		n.log.Warn("tasks run without limits", "why", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	n.host.Entry = n.cgroups.Entry
	if n.cgroups.Version() == 1 { // the other's cannot be renamed
		n.pool.cgroups = n.cgroups
	}
	if missing := n.cgroups.Missing(); len(missing) > 0 {
		n.log.Warn("limits have no effect: the machine lacks cgroup controllers", "missing", strings.Join(missing, ","), "version", n.cgroups.Version())
	}
	return nil
}

// cgroupName is short, stable, and different for every work directory of a machine.
func cgroupName(workDir string) string {
	sum := sha256.Sum256([]byte(workDir))
	return "agent-" + hex.EncodeToString(sum[:6])
}

// Limits says which controllers enforce limits; none without root or cgroups.
func (n *Native) Limits() []string {
	if n.cgroups == nil {
		return nil
	}
	missing := strings.Join(n.cgroups.Missing(), " ")
	var has []string
	for _, c := range cgroup.Controllers {
		if !strings.Contains(missing, c) {
			has = append(has, c)
		}
	}
	return has
}

// Close lets go of all containers: those that run do so on, those whose init waits for
// go end without being executed. No event comes afterwards.
func (n *Native) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	n.more.Broadcast()
	n.mu.Unlock()
	n.cancel()
	n.watch.stop()
	n.ends.Wait()
	n.busy.Wait()
	for _, it := range n.items {
		it.close()
	}
	n.release()
	return nil
}

// release closes what New opened.
func (n *Native) release() {
	n.cancel()
	if n.watch != nil {
		n.watch.close()
	}
	if n.pool != nil {
		n.pool.close()
	}
	if n.program != nil {
		n.program.Close()
	}
	if n.cgroups != nil {
		n.cgroups.Close()
	}
}

// say queues an event. The lock is held, so that the order is that of what happened.
func (n *Native) say(e container.Event) {
	if !n.closed {
		n.events = append(n.events, e)
		n.more.Signal()
	}
}

// deliver ends with Close.
func (n *Native) deliver() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		for len(n.events) == 0 && !n.closed {
			n.more.Wait()
		}
		if n.closed {
			return
		}
		batch := n.events
		n.events = nil
		n.mu.Unlock()
		for _, e := range batch {
			n.cfg.Events(e)
		}
		n.mu.Lock()
	}
}

// pause is false if Close came first.
func (n *Native) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-n.ctx.Done():
		return false
	}
}

// Sweep destroys what an earlier life of the agent left behind and this one has not
// claimed by Adopt or Destroy: containers of a log that was deleted. It happens by itself
// a minute after New; no event tells of it.
func (n *Native) Sweep() {
	n.mu.Lock()
	var list []*item
	for name := range n.leftovers {
		if n.items[name] == nil {
			list = append(list, &item{id: name, dir: n.recordsOf(name), stage: ended, destroy: true, silent: true})
			n.items[name] = list[len(list)-1]
		}
	}
	clear(n.leftovers)
	n.mu.Unlock()
	for _, it := range list {
		n.log.Warn("destroying a container that no log knows", "container", string(it.id))
		n.remove(it)
	}
}

func (n *Native) recordsOf(c id.Container) launch.Dir {
	return launch.Dir(filepath.Join(n.dir, string(c)))
}

// valid says whether a container's id can be a file's name.
func valid(c id.Container) bool {
	s := string(c)
	return s != "" && len(s) < 200 && s[0] != '.' && !strings.ContainsAny(s, "/\x00")
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
