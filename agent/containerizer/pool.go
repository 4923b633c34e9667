package containerizer

import (
	"slices"
	"sync"
	"time"

	"github.com/stoa-kernel/stoa/agent/containerizer/launch"
)

// spare is how many inits wait to be given a container. An init takes two milliseconds
// to come up, most of what a launch takes; one that waits has that behind it. More would
// only help short bursts, at 0.6 MiB each: in a long one they are all in use.
const spare = 2

// refill is how long after a launch inits are started in advance. At once they would
// take the processor from what brings the news of that launch to the master.
const refill = 2 * time.Millisecond

// pool has inits that wait, those that have waited longest first: they are up.
type pool struct {
	program    *launch.Program
	namespaces uintptr

	filling sync.Mutex // one fill at a time, or they would overfill; taken before mu

	mu      sync.Mutex
	waiting []*launch.Init
	closed  bool
}

// take returns an init without a container, in the given namespaces.
func (p *pool) take(namespaces uintptr) (*launch.Init, error) {
	for {
		p.mu.Lock()
		n := len(p.waiting)
		if n == 0 || namespaces != p.namespaces {
			p.mu.Unlock()
			return p.program.Spawn(namespaces)
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

// fill starts inits until enough wait.
func (p *pool) fill() error {
	p.filling.Lock()
	defer p.filling.Unlock()
	for {
		p.mu.Lock()
		full := p.closed || len(p.waiting) >= spare
		p.mu.Unlock()
		if full {
			return nil
		}
		i, err := p.program.Spawn(p.namespaces)
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

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, i := range p.waiting {
		i.Abandon()
	}
	p.waiting = nil
}
