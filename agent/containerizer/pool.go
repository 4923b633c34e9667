package containerizer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/agent/containerizer/cgroup"
	"github.com/stoa-kernel/stoa/agent/containerizer/launch"
)

// spare is how many inits wait to be given a container. An init takes two milliseconds
// to come up, most of what a launch takes; one that waits has that behind it. More would
// only help short bursts, at 0.6 MiB each: in a long one they are all in use.
const spare = 2

// refill is how long after a launch inits are started in advance. At once they would
// take the processor from what brings the news of that launch to the master.
const refill = 2 * time.Millisecond

// readyPrefix begins the names of what is made before it is known for which container;
// no container's does.
const readyPrefix = ".ready-"

func isReady(name string) bool { return strings.HasPrefix(name, readyPrefix) }

// pool has what a launch needs and takes long to make, in advance: inits, those that have
// waited longest first, for they are up; and directories of records, with their cgroups
// where these can be renamed.
type pool struct {
	program    *launch.Program
	namespaces uintptr
	dir        string           // of the directories of records
	cgroups    cgroup.Hierarchy // nil if none are made in advance

	filling sync.Mutex // one fill at a time, or they would overfill; taken before mu

	mu      sync.Mutex
	waiting []idle
	ready   []string // names of directories
	made    int      // directories ever
	closed  bool
}

func (p *pool) records(name string) launch.Dir { return launch.Dir(filepath.Join(p.dir, name)) }

// give makes a container's directory of records and, perhaps, its cgroup.
func (p *pool) give(name string) error {
	p.mu.Lock()
	ready := ""
	if len(p.ready) > 0 {
		ready = p.ready[0]
		p.ready = slices.Delete(p.ready, 0, 1)
	}
	p.mu.Unlock()
	if ready == "" {
		return p.records(name).Make()
	}
	if err := os.Rename(string(p.records(ready)), string(p.records(name))); err != nil {
		return errors.Join(fmt.Errorf("name the container's directory: %w", err), p.discard(ready))
	}
	if p.cgroups != nil {
		if err := p.cgroups.Rename(ready, name); err != nil {
			return errors.Join(err, p.discard(ready))
		}
	}
	return nil
}

// prepare makes what give needs.
func (p *pool) prepare(name string) error {
	err := p.records(name).Make()
	if err == nil && p.cgroups != nil {
		err = p.cgroups.Create(name, container.Limits{})
	}
	if err != nil {
		return errors.Join(err, p.discard(name))
	}
	return nil
}

func (p *pool) discard(name string) error {
	err := p.records(name).Remove()
	if p.cgroups != nil {
		err = errors.Join(err, p.cgroups.Remove(name))
	}
	return err
}

// idle is an init without a container.
type idle struct {
	*launch.Init
	startTime uint64 // launch.Status.StartTime
}

func (p *pool) spawn(namespaces uintptr) (idle, error) {
	i, err := p.program.Spawn(namespaces)
	if err != nil {
		return idle{}, err
	}
	s, err := launch.Inspect(i.Pid)
	if err != nil {
		i.Abandon()
		return idle{}, fmt.Errorf("inspect the init: %w", err)
	}
	return idle{i, s.StartTime}, nil
}

// take returns an init without a container, in the given namespaces.
func (p *pool) take(namespaces uintptr) (idle, error) {
	for {
		p.mu.Lock()
		n := len(p.waiting)
		if n == 0 || namespaces != p.namespaces {
			p.mu.Unlock()
			return p.spawn(namespaces)
		}
		i := p.waiting[0]
		p.waiting = slices.Delete(p.waiting, 0, 1)
		p.mu.Unlock()
		if !i.Ended() { // somebody may have killed it
			return i, nil
		}
		i.Abandon()
	}
}

// fill starts inits and makes directories until enough wait.
func (p *pool) fill() error {
	p.filling.Lock()
	defer p.filling.Unlock()
	if err := p.fillReady(); err != nil {
		return err
	}
	for {
		p.mu.Lock()
		full := p.closed || len(p.waiting) >= spare
		p.mu.Unlock()
		if full {
			return nil
		}
		i, err := p.spawn(p.namespaces)
		if err != nil {
			return err
		}
		p.mu.Lock()
		if p.closed {
			i.Abandon()
		} else {
			p.waiting = append(p.waiting, i)
		}
		p.mu.Unlock()
	}
}

func (p *pool) fillReady() error {
	for {
		p.mu.Lock()
		full := p.closed || len(p.ready) >= spare
		p.made++
		name := readyPrefix + strconv.Itoa(p.made)
		p.mu.Unlock()
		if full {
			return nil
		}
		if err := p.prepare(name); err != nil {
			return err
		}
		p.mu.Lock()
		p.ready = append(p.ready, name)
		p.mu.Unlock()
	}
}

// close gives everything back; what cannot be removed the next agent removes.
func (p *pool) close() {
	p.filling.Lock() // nothing is added afterwards
	defer p.filling.Unlock()
	for _, name := range p.ready {
		_ = p.discard(name)
	}
	p.ready = nil
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, i := range p.waiting {
		i.Abandon()
	}
	p.waiting = nil
}
