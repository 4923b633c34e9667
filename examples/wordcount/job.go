package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/sdk/scheduler"
	"google.golang.org/protobuf/proto"
)

const (
	// maxAttempts is how often a shard is tried before the job gives up.
	maxAttempts = 20
	// resultLimit is the largest result taken from a task, in bytes.
	resultLimit = 64 << 20
)

// job is the framework: one task per shard, again for those that fail, until the counts of
// all are here. Handlers, HTTP requests and the ticker use it from several goroutines.
type job struct {
	dir string // where the shards are
	url string // where the framework listens
	// program is the path of this program on the agents, or a URL to fetch it from.
	program string
	fetch   bool
	each    resource.Quantities
	out     io.Writer

	mu     sync.Mutex
	shards []shard
	agents map[string]bool
	tasks  int
	done   int
	again  int
}

type shard struct {
	result  counts // nil until it is here
	attempt int
	task    string // the one that is running or about to, "" if there is none
	agent   string
	sent    bool // its ACCEPT is not on its way any more
}

func newJob(n int, dir string, out io.Writer) *job {
	return &job{dir: dir, shards: make([]shard, n), agents: map[string]bool{}, out: out}
}

// ServeHTTP gives tasks their shards and takes their results.
func (j *job) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/shards/"):
		http.ServeFile(w, r, filepath.Join(j.dir, filepath.Base(r.URL.Path)))
	case r.Method == http.MethodGet && r.URL.Path == "/wordcount":
		http.ServeFile(w, r, j.program)
	case r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/results/"):
		i, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/results/"))
		if err != nil || i < 0 || i >= len(j.shards) {
			http.Error(w, "there is no such shard", http.StatusNotFound)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, resultLimit))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		n, err := parse(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		j.take(i, n)
	default:
		http.NotFound(w, r)
	}
}

func (j *job) take(i int, n counts) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.shards[i].result != nil {
		return // a second attempt counted the same
	}
	j.shards[i].result = n
	j.done++
	if quarter := (len(j.shards) + 3) / 4; j.done%quarter == 0 && j.done < len(j.shards) {
		fmt.Fprintf(j.out, "wordcount: %d of %d shards are counted\n", j.done, len(j.shards))
	}
}

// handler is the framework's side of the events.
func (j *job) handler() scheduler.Handler {
	return scheduler.Handler{
		Subscribed: func(ctx context.Context, c *scheduler.Caller, _ *schedulerpb.Event_Subscribed) error {
			return j.reconcile(ctx, c)
		},
		Offers: j.offers,
		Update: j.update,
	}
}

// reconcile asks about every task that ought to be running: launches and updates may have
// been lost together with a connection.
func (j *job) reconcile(ctx context.Context, c *scheduler.Caller) error {
	var live []*schedulerpb.Call_Reconcile_Task
	j.mu.Lock()
	for _, s := range j.shards {
		if s.task != "" && s.sent {
			live = append(live, &schedulerpb.Call_Reconcile_Task{
				TaskId: &mesos.TaskID{Value: proto.String(s.task)}, AgentId: &mesos.AgentID{Value: proto.String(s.agent)},
			})
		}
	}
	j.mu.Unlock()
	if len(live) == 0 {
		return nil
	}
	return c.Reconcile(ctx, live...)
}

// watch reconciles from time to time: a master that has just started does not answer for
// agents it has not heard of yet.
func (j *job) watch(ctx context.Context, c *scheduler.Caller) {
	tick := time.NewTicker(15 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			// A result may have come from a task that was given up, after its last update.
			// Errors are those of a master that is away: the next tick tries again.
			if j.complete() {
				_ = c.Teardown(ctx)
			} else {
				_ = j.reconcile(ctx, c)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (j *job) offers(ctx context.Context, c *scheduler.Caller, offers []*mesos.Offer) error {
	for _, o := range offers {
		pool, err := scheduler.NewPool(o)
		if err != nil {
			return err
		}
		launch := j.launch(pool)
		if len(launch) == 0 {
			// Nothing waits, or it does not fit: Revive brings offers back at once.
			err = c.Decline(ctx, pool.Offers, scheduler.Refuse(60))
		} else {
			err = c.Accept(ctx, pool.Offers, []*mesos.Offer_Operation{scheduler.Launch(launch...)}, nil)
			j.sent()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// launch makes tasks of the shards that wait, as many as fit into the pool.
func (j *job) launch(pool *scheduler.Pool) []*mesos.TaskInfo {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []*mesos.TaskInfo
	for i := range j.shards {
		s := &j.shards[i]
		if s.result != nil || s.task != "" || !pool.Fits(j.each) {
			continue
		}
		s.attempt++
		s.sent = false
		s.task = fmt.Sprintf("wordcount-%03d.%d", i, s.attempt)
		s.agent = pool.Agent.GetValue()
		j.tasks++
		j.agents[s.agent] = true
		program := j.program
		uris := []*mesos.CommandInfo_URI{{Value: proto.String(j.url + "/shards/" + shardName(i))}}
		if j.fetch {
			program = "./wordcount"
			uris = append(uris, &mesos.CommandInfo_URI{Value: proto.String(j.url + "/wordcount"), Executable: proto.Bool(true)})
		}
		command := scheduler.Exec(program, "-shard", shardName(i), "-report", fmt.Sprintf("%s/results/%d", j.url, i))
		command.Uris = uris
		out = append(out, scheduler.Task(s.task, pool, command, pool.Take(j.each)))
	}
	return out
}

// sent notes that the master has heard of all tasks launched so far, or never will: asked
// about them earlier, it would call them lost.
func (j *job) sent() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.shards {
		j.shards[i].sent = true
	}
}

func (j *job) update(ctx context.Context, c *scheduler.Caller, status *mesos.TaskStatus) error {
	if !scheduler.Terminal(status.GetState()) {
		return nil
	}
	j.mu.Lock()
	rerun, err := j.ended(status)
	j.mu.Unlock()
	switch {
	case err != nil:
		return err
	case j.complete():
		return c.Teardown(ctx)
	case rerun:
		return c.Revive(ctx)
	}
	return nil
}

// ended notes that a task is over. rerun says that its shard waits again.
func (j *job) ended(status *mesos.TaskStatus) (rerun bool, err error) {
	for i := range j.shards {
		s := &j.shards[i]
		if s.task != status.GetTaskId().GetValue() {
			continue
		}
		s.task = ""
		if s.result != nil {
			return false, nil
		}
		j.again++
		fmt.Fprintf(j.out, "wordcount: %s is run again, its task ended: %s\n", shardName(i), scheduler.Describe(status))
		switch {
		case status.GetState() == mesos.TaskState_TASK_ERROR:
			return false, fmt.Errorf("the master refuses a task: %s", status.GetMessage())
		case s.attempt >= maxAttempts:
			return false, fmt.Errorf("%s failed %d times, at last: %s (stoa logs %s)", shardName(i), maxAttempts,
				scheduler.Describe(status), status.GetTaskId().GetValue())
		}
		return true, nil
	}
	return false, nil // an earlier attempt, or an update that came twice
}

// complete reports whether all results are here and no task is left.
func (j *job) complete() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.shards {
		if s.result == nil || s.task != "" {
			return false
		}
	}
	return true
}

// total adds the results up.
func (j *job) total() (counts, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	sum := make(counts)
	for i, s := range j.shards {
		if s.result == nil {
			return nil, errors.New(shardName(i) + " was not counted")
		}
		sum.merge(s.result)
	}
	return sum, nil
}
