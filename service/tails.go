package service

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/stoa-kernel/stoa/sdk/operator"
	"github.com/stoa-kernel/stoa/service/state"
)

const (
	// maxTails wait for their turn; in a storm of failures the latest of them go without.
	maxTails = 256
	// tailReaders read at a time.
	tailReaders = 4
	tailTimeout = 5 * time.Second
	tailLength  = 4 << 10
)

// tails reads the last output of tasks that ended, through the master.
type tails struct {
	masters []string
	client  *http.Client
	tell    func(state.Input)
	queue   chan state.FetchTail
}

func newTails(masters []string, client *http.Client, tell func(state.Input)) *tails {
	return &tails{masters: masters, client: client, tell: tell, queue: make(chan state.FetchTail, maxTails)}
}

func (t *tails) add(e state.FetchTail) {
	select {
	case t.queue <- e:
	default:
	}
}

func (t *tails) run(ctx context.Context) {
	var all sync.WaitGroup
	for range tailReaders {
		all.Go(func() {
			for {
				select {
				case e := <-t.queue:
					t.fetch(ctx, e)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	all.Wait()
}

// fetch tries each master; what cannot be read is left out.
func (t *tails) fetch(ctx context.Context, e state.FetchTail) {
	ctx, cancel := context.WithTimeout(ctx, tailTimeout)
	defer cancel()
	for _, m := range t.masters {
		c := operator.New(m, t.client)
		path := operator.SandboxPath(e.Framework, e.Task)
		stdout, err := end(ctx, c, e.AgentID, path+"/stdout")
		if err != nil {
			continue
		}
		stderr, err := end(ctx, c, e.AgentID, path+"/stderr")
		if err != nil {
			continue
		}
		t.tell(state.Tail{App: e.App, Task: e.Task, Stdout: string(stdout), Stderr: string(stderr)})
		return
	}
}

// end is the last of a file; of one that is not there it is nothing, as a task that never
// began has no stdout beside the stderr that says why.
func end(ctx context.Context, c *operator.Client, agent, path string) ([]byte, error) {
	_, size, err := c.ReadFile(ctx, agent, path, 0, 1)
	if operator.NotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	offset := uint64(0)
	if size > tailLength {
		offset = size - tailLength
	}
	data, _, err := c.ReadFile(ctx, agent, path, offset, tailLength)
	return data, err
}
