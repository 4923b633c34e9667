package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	"github.com/stoa-kernel/stoa/sdk/operator"
)

// bounds are those of a rolling restart (as Marathon 1.10,
// core/deployment/impl/TaskReplaceActor.scala), worked out anew.
type bounds struct{ most, least int }

func boundsOf(instances int, minimumHealth, maximumOver float64, resident bool) bounds {
	b := bounds{most: int(math.Floor(float64(instances) * (1 + maximumOver))), least: int(math.Ceil(float64(instances) * minimumHealth))}
	switch {
	case b.most != b.least:
	case resident:
		b.least--
	default:
		b.most++
	}
	return b
}

// seen is what one source says about an app over a whole test.
type seen struct {
	most  int // tasks at a time
	least int // healthy after the service took one away; math.MaxInt if it took none
	// histories of its tasks: their states one after the other.
	histories map[string]string
}

// judge says what is wrong with it.
func (s seen) judge(t testing.TB, source, app string, b bounds) {
	t.Helper()
	if s.most > b.most {
		t.Errorf("%s: %s had %d tasks at a time, at most %d are allowed", source, app, s.most, b.most)
	}
	if s.least < b.least {
		t.Errorf("%s: %s was brought down to %d healthy instances, at least %d are to be left", source, app, s.least, b.least)
	}
}

// told is what the stream of events says about apps. It knows their bounds from the
// definitions on the stream and judges each moment by those of that moment.
type told struct {
	t    testing.TB
	apps map[string]*toldApp
}

type toldApp struct {
	seen
	allowed   bounds // at this moment
	checks    bool
	drains    bool
	active    map[string]bool // instances that take up capacity
	running   map[string]bool
	unhealthy map[string]bool
	killing   map[string]bool
}

// readEvents goes through all of a stream.
func readEvents(t testing.TB, all []heard) map[string]*toldApp {
	t.Helper()
	s := told{t: t, apps: make(map[string]*toldApp)}
	for _, e := range all {
		s.take(e)
	}
	return s.apps
}

func (s *told) of(id string) *toldApp {
	if s.apps[id] == nil {
		s.apps[id] = &toldApp{
			seen:   seen{least: math.MaxInt, histories: make(map[string]string)},
			active: make(map[string]bool), running: make(map[string]bool), unhealthy: make(map[string]bool), killing: make(map[string]bool),
		}
	}
	return s.apps[id]
}

func (s *told) take(e heard) {
	s.t.Helper()
	var d struct {
		AppID, RunSpecID, InstanceID, TaskID, TaskStatus, Condition, Message string
		Healthy                                                              bool
		AppDefinition                                                        struct {
			ID              string
			Instances       int
			HealthChecks    []json.RawMessage
			UpgradeStrategy struct{ MinimumHealthCapacity, MaximumOverCapacity, DrainSeconds float64 }
			Container       struct {
				Volumes []struct{ Persistent json.RawMessage }
			}
		}
	}
	if err := json.Unmarshal([]byte(e.data), &d); err != nil {
		s.t.Fatalf("event %s: %v: %s", e.id, err, e.data)
	}
	switch e.kind {
	case "api_post_event":
		def := &d.AppDefinition
		a := s.of(def.ID)
		b := boundsOf(def.Instances, def.UpgradeStrategy.MinimumHealthCapacity, def.UpgradeStrategy.MaximumOverCapacity, len(def.Container.Volumes) > 0)
		// What the deployment before it started may still be there.
		a.allowed = bounds{max(b.most, len(a.active)), b.least}
		a.checks, a.drains = len(def.HealthChecks) > 0, def.UpgradeStrategy.DrainSeconds > 0
	case "instance_changed_event":
		a := s.of(d.RunSpecID)
		before := a.healthy()
		switch d.Condition {
		case "Provisioned":
			delete(a.killing, d.InstanceID)
			a.active[d.InstanceID] = true
			a.unhealthy[d.InstanceID] = a.checks
		case "Staging", "Starting":
			a.active[d.InstanceID] = true
		case "Running":
			a.active[d.InstanceID], a.running[d.InstanceID] = true, true
		case "Killing":
			a.killing[d.InstanceID] = true
			if a.drains {
				before = a.healthy() // as of late, below
			}
		default:
			delete(a.active, d.InstanceID)
			delete(a.running, d.InstanceID)
		}
		s.moment(e, d.RunSpecID, before)
	case "instance_health_changed_event":
		a := s.of(d.RunSpecID)
		a.unhealthy[d.InstanceID] = !d.Healthy // nobody is to blame if it falls ill
	case "status_update_event":
		a := s.of(d.AppID)
		a.histories[d.TaskID] = next(a.histories[d.TaskID], d.TaskStatus)
		if d.TaskStatus == "TASK_KILLING" {
			before := a.healthy()
			instance, _, _ := strings.Cut(d.TaskID, "._app.")
			a.killing[instance] = true
			if late := a.drains && !strings.Contains(d.Message, "before it is killed"); late {
				before = a.healthy() // had it run before its end was decided, it would have been drained
			}
			s.moment(e, d.AppID, before)
		}
	}
}

// moment judges how things are after an event.
func (s *told) moment(e heard, app string, before int) {
	a := s.apps[app]
	a.most = max(a.most, len(a.active))
	now := a.healthy()
	if now < before {
		a.least = min(a.least, now)
	}
	if len(a.active) > a.allowed.most || now < before && now < a.allowed.least {
		s.t.Errorf("at event %s, %s, app %s has %d tasks, %d of them healthy; bounds %+v", e.id, e.data, app, len(a.active), now, a.allowed)
	}
}

func (a *toldApp) healthy() (n int) {
	for id := range a.running {
		if !a.killing[id] && !a.unhealthy[id] {
			n++
		}
	}
	return n
}

// next puts a state behind a history; one that is told again counts once.
func next(history, state string) string {
	state = strings.TrimPrefix(state, "TASK_")
	switch {
	case history == "":
		return state
	case history == state || strings.HasSuffix(history, " "+state):
		return history
	}
	return history + " " + state
}

// kernel is the master's word on tasks. It asks again and again how many there are; when
// they ran and were killed their statuses tell, which keep the latest one of each state.
type kernel struct {
	t    testing.TB
	op   *operator.Client
	stop func()
	most map[string]int
	ran  map[string]float64 // when a task was first seen to run, in seconds since the epoch
}

func watchKernel(t testing.TB, c *cluster) *kernel {
	k := &kernel{t: t, op: operator.New(c.addr, nil), most: make(map[string]int), ran: make(map[string]float64)}
	ctx, cancel := context.WithCancel(context.Background())
	var busy sync.WaitGroup
	busy.Go(func() {
		tick := time.NewTicker(25 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				k.count(k.tasks(ctx))
			case <-ctx.Done():
				return
			}
		}
	})
	k.stop = sync.OnceFunc(func() {
		cancel()
		busy.Wait()
	})
	t.Cleanup(k.stop)
	return k
}

func (k *kernel) tasks(ctx context.Context) *masterpb.Response_GetTasks {
	resp, err := k.op.Call(ctx, &masterpb.Call{Type: masterpb.Call_GET_TASKS.Enum()})
	if err != nil && ctx.Err() == nil {
		k.t.Errorf("GET_TASKS: %v", err)
	}
	return resp.GetGetTasks()
}

func (k *kernel) count(now *masterpb.Response_GetTasks) {
	active := make(map[string]int)
	for _, task := range now.GetTasks() {
		switch task.GetState() {
		case mesos.TaskState_TASK_STAGING, mesos.TaskState_TASK_STARTING, mesos.TaskState_TASK_RUNNING, mesos.TaskState_TASK_KILLING:
			active[appOf(task)]++
		}
		if id := task.GetTaskId().GetValue(); k.ran[id] == 0 && task.GetState() == mesos.TaskState_TASK_RUNNING {
			k.ran[id] = float64(time.Now().UnixMicro()) / 1e6
		}
	}
	for app, n := range active {
		k.most[app] = max(k.most[app], n)
	}
}

// appOf is the app of a task: "/a/b" of "a_b.instance-….1".
func appOf(task *mesos.Task) string {
	app, _, _ := strings.Cut(task.GetTaskId().GetValue(), ".instance-")
	return "/" + strings.ReplaceAll(app, "_", "/")
}

// read is all that the kernel knows, when nothing moves any more.
func (k *kernel) read() map[string]seen {
	k.t.Helper()
	k.stop()
	type change struct {
		at float64
		by int
	}
	changes := make(map[string][]change)
	all := make(map[string]seen)
	now := k.tasks(context.Background())
	for _, task := range append(now.GetTasks(), now.GetCompletedTasks()...) {
		app, id, running := appOf(task), task.GetTaskId().GetValue(), false
		if _, ok := all[app]; !ok {
			all[app] = seen{most: k.most[app], least: math.MaxInt, histories: make(map[string]string)}
		}
		for _, s := range task.GetStatuses() {
			all[app].histories[id] = next(all[app].histories[id], s.GetState().String())
			if is := s.GetState() == mesos.TaskState_TASK_RUNNING; is != running {
				c := change{s.GetTimestamp(), -1}
				if is {
					c.by = 1
					if at := k.ran[id]; at > 0 {
						c.at = min(c.at, at) // the status may be of a health check, later on
					}
				}
				changes[app], running = append(changes[app], c), is
			}
		}
	}
	for app, list := range changes {
		slices.SortFunc(list, func(a, b change) int {
			return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(b.by, a.by))
		})
		s, healthy := all[app], 0
		for _, c := range list {
			if healthy += c.by; c.by < 0 {
				s.least = min(s.least, healthy)
			}
		}
		all[app] = s
	}
	return all
}

// agree compares what the two sources know of an app's tasks.
func agree(t testing.TB, app string, stream *toldApp, kernel seen) {
	t.Helper()
	// The service counts a task from before its launch to after its end.
	if kernel.most > stream.most {
		t.Errorf("%s: by the kernel there were %d tasks at a time, by the events only %d", app, kernel.most, stream.most)
	}
	if maps.Equal(stream.histories, kernel.histories) {
		return
	}
	ids := maps.Clone(stream.histories)
	maps.Copy(ids, kernel.histories)
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if a, b := stream.histories[id], kernel.histories[id]; a != b {
			t.Errorf("%s: task %s: the events tell of %q, the kernel of %q", app, id, a, b)
		}
	}
}
