package containerizer

import (
	"sync"

	"github.com/stoa-kernel/stoa/agent/containerizer/launch"
)

// spare is how many inits wait to be given a container. An init takes a millisecond to
// come up, most of what a launch takes; one that waits has that behind it. More than one
// would only help short bursts, at 0.6 MiB each: in a long one they are all in use.
const spare = 2

// pool has inits that wait.
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
		i := p.waiting[n-1]
		p.waiting = p.waiting[:n-1]
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
