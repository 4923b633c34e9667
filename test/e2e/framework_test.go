package e2e

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/sdk/scheduler"
)

// keeper is a framework that keeps a number of victims alive, and keeps everything it was
// told about them.
type keeper struct {
	t      testing.TB
	dir    string // of journals
	cancel context.CancelFunc
	ended  chan error

	mu     sync.Mutex
	caller *scheduler.Caller
	want   int // how many are to be live; 0 starts no more
	kinds  []string
	rand   *rand.Rand
	tasks  map[string]*victim
	order  []string
	wrong  []string
}

// victim is a task and what the framework knows of it.
type victim struct {
	id, agent string
	how       string   // it is to end
	control   *os.File // the pipe to tell it
	told      bool
	sent      bool // its ACCEPT is not on its way any more
	rank      int
	end       *mesos.TaskStatus // the first terminal status
	own       *mesos.TaskStatus // the first that is the agent's word, not the master's on RECONCILE
	updates   []string
	acked     map[string]time.Time // by uuid, when the 202 came
}

// rank orders states: one never comes after a higher one.
func rank(s mesos.TaskState) int {
	switch s {
	case mesos.TaskState_TASK_STAGING:
		return 0
	case mesos.TaskState_TASK_STARTING:
		return 1
	case mesos.TaskState_TASK_RUNNING:
		return 2
	case mesos.TaskState_TASK_KILLING:
		return 3
	}
	return 4
}

// startKeeper subscribes; it runs until the test ends.
func startKeeper(t testing.TB, addr string, want int, kinds []string, seed uint64) *keeper {
	t.Helper()
	dir, err := os.MkdirTemp("", "journals")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	k := &keeper{
		t: t, dir: dir, cancel: cancel, ended: make(chan error, 1), want: want, kinds: kinds,
		rand: rand.New(rand.NewPCG(seed, 2)), tasks: map[string]*victim{},
	}
	go func() {
		k.ended <- scheduler.Run(ctx, scheduler.Config{
			Masters: []string{addr},
			Framework: &mesos.FrameworkInfo{
				User: proto.String(""), Name: proto.String("keeper"), FailoverTimeout: proto.Float64(3600), Checkpoint: proto.Bool(true),
			},
			ManualAcknowledge: true, MaxBackoff: time.Second, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		}, scheduler.Handler{Subscribed: k.subscribed, Offers: k.offers, Update: k.update})
	}()
	go k.ask(ctx)
	t.Cleanup(func() {
		cancel()
		<-k.ended
		for _, v := range k.tasks {
			v.control.Close()
		}
		os.RemoveAll(dir)
	})
	return k
}

func (k *keeper) subscribed(ctx context.Context, c *scheduler.Caller, _ *schedulerpb.Event_Subscribed) error {
	k.mu.Lock()
	k.caller = c
	k.mu.Unlock()
	return k.reconcile(ctx, c)
}

// ask reconciles from time to time: a master that has just started does not answer for
// agents it has not heard of yet.
func (k *keeper) ask(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			k.mu.Lock()
			c := k.caller
			k.mu.Unlock()
			if c != nil {
				_ = k.reconcile(ctx, c) // while there is no master the next tick tries again
			}
		case <-ctx.Done():
			return
		}
	}
}

// reconcile asks about tasks that ought to be live: an ACCEPT may have died with a master.
func (k *keeper) reconcile(ctx context.Context, c *scheduler.Caller) error {
	var live []*schedulerpb.Call_Reconcile_Task
	k.mu.Lock()
	for _, v := range k.tasks {
		if v.sent && v.end == nil {
			live = append(live, &schedulerpb.Call_Reconcile_Task{
				TaskId: &mesos.TaskID{Value: proto.String(v.id)}, AgentId: &mesos.AgentID{Value: proto.String(v.agent)},
			})
		}
	}
	k.mu.Unlock()
	if len(live) == 0 {
		return nil
	}
	return c.Reconcile(ctx, live...)
}

var each = resource.Quantities{{Name: "cpus", Value: 20}, {Name: "mem", Value: 32_000}}

func (k *keeper) offers(ctx context.Context, c *scheduler.Caller, offers []*mesos.Offer) error {
	for _, o := range offers {
		pool, err := scheduler.NewPool(o)
		if err != nil {
			return err
		}
		launch, err := k.launch(pool)
		if err != nil {
			return err
		}
		if len(launch) == 0 {
			err = c.Decline(ctx, pool.Offers, scheduler.Refuse(60)) // until REVIVE
		} else {
			err = c.Accept(ctx, pool.Offers, []*mesos.Offer_Operation{scheduler.Launch(launch...)}, scheduler.Refuse(0.1))
		}
		k.mu.Lock()
		for _, t := range launch {
			k.tasks[t.GetTaskId().GetValue()].sent = true
		}
		k.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (k *keeper) launch(pool *scheduler.Pool) ([]*mesos.TaskInfo, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var launch []*mesos.TaskInfo
	for missing := k.want - k.liveLocked(); missing > 0 && pool.Fits(each); missing-- {
		id := fmt.Sprintf("victim-%d", len(k.order))
		path := filepath.Join(k.dir, id)
		if err := syscall.Mkfifo(path+".ctl", 0o666); err != nil {
			return nil, err
		}
		// Open both ways, so that neither side waits for the other.
		control, err := os.OpenFile(path+".ctl", os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		k.tasks[id] = &victim{id: id, agent: pool.Agent.GetValue(), control: control, how: k.kinds[k.rand.IntN(len(k.kinds))], acked: map[string]time.Time{}}
		k.order = append(k.order, id)
		launch = append(launch, scheduler.Task(id, pool, scheduler.Exec(filepath.Join(bin, "victim"), path), pool.Take(each)))
	}
	return launch, nil
}

func (k *keeper) update(ctx context.Context, c *scheduler.Caller, s *mesos.TaskStatus) error {
	now := time.Now()
	id, uuid := s.GetTaskId().GetValue(), string(s.GetUuid())
	over := k.take(id, uuid, s, now)
	if err := c.Acknowledge(ctx, s); err != nil {
		return err
	}
	k.mu.Lock()
	v := k.tasks[id]
	if _, again := v.acked[uuid]; uuid != "" && !again {
		v.acked[uuid] = time.Now()
	}
	replace := over && k.want > 0
	k.mu.Unlock()
	if replace {
		return c.Revive(ctx)
	}
	return nil
}

// take notes an update, and what is wrong with it. over tells of a task's first end.
func (k *keeper) take(id, uuid string, s *mesos.TaskStatus, now time.Time) (over bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	v := k.tasks[id]
	if v == nil {
		k.wrong = append(k.wrong, fmt.Sprintf("an update of %s, which nobody launched: %v", id, s))
		return false
	}
	v.updates = append(v.updates, now.Format("05.000 ")+scheduler.Describe(s))
	if at, ok := v.acked[uuid]; ok && now.Sub(at) > 30*time.Second {
		k.wrong = append(k.wrong, fmt.Sprintf("%s: %s came again %v after its acknowledgement got 202", id, s.GetState(), now.Sub(at)))
	}
	if s.GetState() == mesos.TaskState_TASK_UNREACHABLE {
		return false // no end, and RUNNING may follow
	}
	if v.own != nil && uuid == "" && s.GetState() != v.own.GetState() {
		return false // the master was asked just before the end came, and does not know the task any more
	}
	r := rank(s.GetState())
	if r < v.rank {
		k.wrong = append(k.wrong, fmt.Sprintf("%s: out of order: %v", id, v.updates))
	}
	v.rank = max(v.rank, r)
	if r < 4 {
		return false
	}
	if v.own == nil && uuid != "" {
		v.own = s
	}
	if v.end == nil {
		v.end = s
		v.control.Close()
		return true
	}
	if v.end.GetState() != s.GetState() {
		k.wrong = append(k.wrong, fmt.Sprintf("%s: ended twice: %v", id, v.updates))
	}
	return false
}

func (k *keeper) liveLocked() (n int) {
	for _, v := range k.tasks {
		if v.end == nil {
			n++
		}
	}
	return n
}

// counts are how many victims the framework knows to run, and how many it knows ended.
func (k *keeper) counts() (running, ended int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, v := range k.tasks {
		switch {
		case v.end != nil:
			ended++
		case v.rank == 2:
			running++
		}
	}
	return running, ended
}

// String lists the victims that neither run nor have ended, for the log of a failure.
func (k *keeper) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d victims launched, %d live; neither running nor ended:", len(k.order), k.liveLocked())
	for _, id := range k.order {
		if v := k.tasks[id]; v.end == nil && v.rank != 2 {
			starts, how, _ := k.journal(id)
			fmt.Fprintf(&b, "\n%s, ACCEPT sent %v, started %d times, ended %q, told %v", id, v.sent, starts, how, v.updates)
		}
	}
	return b.String()
}

// journal reads a journal: how often its victim has started, and how and when it ended.
func (k *keeper) journal(id string) (starts int, how string, at time.Time) {
	text, err := os.ReadFile(filepath.Join(k.dir, id))
	if err != nil {
		return 0, "", time.Time{}
	}
	for line := range strings.Lines(string(text)) {
		switch f := strings.Fields(line); f[0] {
		case "start":
			starts++
		case "exit":
			how = f[1]
			if ns, err := strconv.ParseInt(f[2], 10, 64); err == nil {
				at = time.Unix(0, ns)
			}
		}
	}
	return starts, how, at
}

// end tells n victims that have started to end, whatever the framework knows of them, and
// returns their names. They need no agent to do so.
func (k *keeper) end(n int) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var told []string
	for _, i := range k.rand.Perm(len(k.order)) {
		if len(told) == n {
			break
		}
		v := k.tasks[k.order[i]]
		if v.told || v.end != nil {
			continue
		}
		if starts, _, _ := k.journal(v.id); starts == 0 {
			continue
		}
		if _, err := fmt.Fprintln(v.control, v.how); err != nil {
			k.wrong = append(k.wrong, fmt.Sprintf("%s cannot be told: %v", v.id, err))
		}
		v.told = true
		told = append(told, v.id)
	}
	return told
}

// finish ends all victims and waits until the framework was told of each. When it
// returns, nothing that was acknowledged before long ago has come again.
func (k *keeper) finish() {
	k.t.Helper()
	k.mu.Lock()
	k.want = 0
	k.mu.Unlock()
	untilWithin(k.t, 2*time.Minute, "every victim ended", func() bool {
		k.end(1000)
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, v := range k.tasks {
			if v.end == nil {
				return false
			}
			if starts, _, _ := k.journal(v.id); starts > 0 && v.own == nil {
				return false
			}
		}
		return true
	})
	select {
	case err := <-k.ended:
		k.ended <- err
		k.t.Fatalf("the framework ended: %v", err)
	default:
	}
}

// lastAck is when the last acknowledgement got 202.
func (k *keeper) lastAck() (last time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, v := range k.tasks {
		for _, at := range v.acked {
			if at.After(last) {
				last = at
			}
		}
	}
	return last
}

// judge compares what victims did with what the framework was told. It returns how many
// never started.
func (k *keeper) judge() (never int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range k.wrong {
		k.t.Error(w)
	}
	for _, id := range k.order {
		v := k.tasks[id]
		starts, how, _ := k.journal(id)
		if starts == 0 {
			never++
			if lost := []mesos.TaskState{mesos.TaskState_TASK_LOST, mesos.TaskState_TASK_DROPPED, mesos.TaskState_TASK_GONE, mesos.TaskState_TASK_UNKNOWN}; !slices.Contains(lost, v.end.GetState()) {
				k.t.Errorf("%s never started, but ended as %v: %v", id, v.end.GetState(), v.updates)
			}
			continue
		}
		if starts != 1 {
			k.t.Errorf("%s started %d times: %v", id, starts, v.updates)
		}
		if v.own == nil {
			k.t.Errorf("%s: nobody said how it ended: %v", id, v.updates)
			continue
		}
		code, _ := scheduler.ExitCode(v.own)
		ok := false
		switch how {
		case "0":
			ok = v.own.GetState() == mesos.TaskState_TASK_FINISHED && code == 0
		case "3":
			ok = v.own.GetState() == mesos.TaskState_TASK_FAILED && code == 3
		case "segv":
			ok = v.own.GetState() == mesos.TaskState_TASK_FAILED && code == 128+int(syscall.SIGSEGV)
		case "oom":
			ok = v.own.GetState() == mesos.TaskState_TASK_FAILED && v.own.GetReason() == mesos.TaskStatus_REASON_CONTAINER_LIMITATION_MEMORY
		}
		if !ok {
			k.t.Errorf("%s ended with %q, the framework was told %v: %v", id, how, v.own, v.updates)
		}
	}
	return never
}
