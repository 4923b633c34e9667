package scheduler_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/sdk/scheduler"
	"github.com/stoa-kernel/stoa/sdk/sdktest"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

func unmarshalText(text string, m proto.Message) error { return prototext.Unmarshal([]byte(text), m) }

func synctestMasters(t *testing.T, f func(t *testing.T, one, two *sdktest.Master)) {
	synctest.Test(t, func(t *testing.T) {
		one, two := sdktest.NewMaster(), sdktest.NewMasterAt("two.test:5050")
		defer one.Close()
		defer two.Close()
		f(t, one, two)
	})
}

func TestExitCode(t *testing.T) {
	for message, want := range map[string]int{
		"Command exited with status 0":                         0,
		"Command exited with status 3":                         3,
		"Command exited with status 255":                       255,
		"Command terminated with signal Segmentation fault":    128 + 11,
		"Command terminated with signal Aborted (core dumped)": 128 + 6,
		"Command terminated with signal Killed":                128 + 9,
		"Command terminated with signal Real-time signal 3":    128 + 37,
		"Command terminated with signal Unknown signal 77":     128 + 77,
		"Command terminated with signal No such thing":         -1,
		"Command exited with status 256":                       -1,
		"Command exited with status -1":                        -1,
		"Memory limit exceeded: Requested: 32MB":               -1,
		"my log: Command exited with status 0":                 -1,
		"":                                                     -1,
	} {
		code, ok := scheduler.ExitCode(&mesos.TaskStatus{Message: proto.String(message)})
		if !ok {
			code = -1
		}
		if code != want {
			t.Errorf("%q: %d, want %d", message, code, want)
		}
	}
	if s, ok := scheduler.Signal(&mesos.TaskStatus{Message: proto.String("Command terminated with signal Terminated")}); !ok || s != syscall.SIGTERM {
		t.Errorf("signal %v, %v", s, ok)
	}
}

func TestTerminal(t *testing.T) {
	live := map[mesos.TaskState]bool{
		mesos.TaskState_TASK_STAGING: true, mesos.TaskState_TASK_STARTING: true, mesos.TaskState_TASK_RUNNING: true,
		mesos.TaskState_TASK_KILLING: true, mesos.TaskState_TASK_UNREACHABLE: true, mesos.TaskState_TASK_UNKNOWN: true,
	}
	for n := range mesos.TaskState_name {
		if s := mesos.TaskState(n); scheduler.Terminal(s) == live[s] {
			t.Errorf("Terminal(%v) = %v", s, !live[s])
		}
	}
}

func TestDescribe(t *testing.T) {
	got := scheduler.Describe(&mesos.TaskStatus{
		State: mesos.TaskState_TASK_LOST.Enum(), Reason: mesos.TaskStatus_REASON_AGENT_REMOVED.Enum(),
	})
	if got != "lost (agent_removed)" {
		t.Errorf("%q", got)
	}
}

func TestFileStore(t *testing.T) {
	s := scheduler.FileStore(filepath.Join(t.TempDir(), "id"))
	for _, id := range []string{"", "one", "one", "two", "", ""} {
		if err := s.Save(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Load(t.Context()); err != nil || got != id {
			t.Errorf("saved %q, loaded %q, %v", id, got, err)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(string(s))); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if err := scheduler.FileStore("/nonexistent/dir/id").Save(t.Context(), "one"); err == nil {
		t.Error("a directory that is not there takes an id")
	}
}

func offer(t *testing.T, agent, text string) *mesos.Offer {
	t.Helper()
	o := new(mesos.Offer)
	if err := (prototext.UnmarshalOptions{AllowPartial: true}).Unmarshal([]byte(text), o); err != nil {
		t.Fatal(err)
	}
	o.AgentId = &mesos.AgentID{Value: &agent}
	o.Id = &mesos.OfferID{Value: proto.String("o-" + agent)}
	o.FrameworkId, o.Hostname = &mesos.FrameworkID{Value: proto.String("f")}, proto.String("h")
	return o
}

const mixed = `
resources: {name: "cpus" type: SCALAR scalar: {value: 1.5}}
resources: {name: "cpus" type: SCALAR scalar: {value: 0.5} reservations: {type: STATIC role: "r"}}
resources: {name: "cpus" type: SCALAR scalar: {value: 9} revocable: {}}
resources: {name: "mem" type: SCALAR scalar: {value: 100}}
resources: {name: "disk" type: SCALAR scalar: {value: 10} disk: {persistence: {id: "v"}}}
resources: {name: "ports" type: RANGES ranges: {range: {begin: 31000 end: 31001} range: {begin: 31005 end: 31010}}}`

func TestPool(t *testing.T) {
	p, err := scheduler.NewPool(offer(t, "s", mixed))
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Quantities().String(); got != "cpus:2;mem:100" && got != "cpus:2; mem:100" {
		t.Errorf("pool has %q: revocable cpus and the volume must not be in it", got)
	}
	want := resource.Quantities{{Name: "cpus", Value: 700}, {Name: "mem", Value: 32000}}
	one, err := resource.Of(p.Take(want)...)
	if err != nil {
		t.Fatal(err)
	}
	if r := one.ReservedTo("r").Sum("cpus"); r != 500 || one.Sum("cpus") != 700 || one.Sum("mem") != 32000 {
		t.Errorf("took %v, want the reserved half cpu first", one)
	}
	if p.Take(want) == nil || p.Take(resource.Quantities{{Name: "mem", Value: 36001}}) != nil {
		t.Error("the rest is miscounted")
	}
	if got := p.Take(resource.Quantities{{Name: "gpus", Value: 1000}}); got != nil {
		t.Errorf("took %v of what is not there", got)
	}
	ports, rs, ok := p.TakePorts(3)
	if !ok || len(rs) != 1 || ports[0] != 31000 || ports[1] != 31001 || ports[2] != 31005 {
		t.Errorf("ports %v, %v", ports, ok)
	}
	if _, _, ok := p.TakePorts(6); ok {
		t.Error("took 6 ports of 5")
	}
	if ports, _, ok := p.TakePorts(5); !ok || ports[4] != 31010 {
		t.Errorf("ports %v, %v", ports, ok)
	}
	if _, rs, ok := p.TakePorts(0); !ok || len(rs) != 0 {
		t.Errorf("no ports: %v, %v", rs, ok)
	}
}

func TestPoolErrors(t *testing.T) {
	if _, err := scheduler.NewPool(); err == nil {
		t.Error("a pool of nothing")
	}
	if _, err := scheduler.NewPool(offer(t, "s", mixed), offer(t, "other", mixed)); err == nil {
		t.Error("a pool of two agents")
	}
	if _, err := scheduler.NewPool(offer(t, "s", `resources: {name: "cpus" type: SCALAR scalar: {value: nan}}`)); err == nil {
		t.Error("a pool of NaN")
	}
	p, err := scheduler.NewPool(offer(t, "s", `resources: {name: "ports" type: RANGES ranges: {range: {begin: 5 end: 18446744073709551615}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := p.TakePorts(1); ok {
		t.Error("a port beyond 65535")
	}
}

func TestCommands(t *testing.T) {
	got := scheduler.Env(scheduler.Exec("/bin/echo", "a b"), "K", "v")
	want := new(mesos.CommandInfo)
	if err := unmarshalText(`shell: false value: "/bin/echo" arguments: "/bin/echo" arguments: "a b" environment: {variables: {name: "K" value: "v"}}`, want); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
