package service

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/events"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/state"
	"github.com/stoa-kernel/stoa/service/view"
	"github.com/stoa-kernel/stoa/store/etcd"
)

// manyRecords are 10,000 apps with 100,000 running instances, as the store has it after two
// deployments.
func manyRecords(b *testing.B) (all []state.Put) {
	put := func(key string, value any) { all = append(all, state.Put{Key: keyAll + key, Value: value}) }
	at := time.Date(2026, 1, 1, 10, 20, 30, 123_456_789, time.UTC)
	first, last := marathon.VersionOf(at), marathon.VersionOf(at.Add(time.Hour))
	for n := range 1000 {
		put("events/"+fmt.Sprintf("1-%d", n+1), events.Stored{ID: fmt.Sprintf("1-%d", n+1), Type: "deployment_info", Data: json.RawMessage(`{"eventType":"deployment_info"}`)})
	}
	for n := range 10_000 {
		id := fmt.Sprintf("/bench/%05d", n)
		draft, err := app.Decode([]byte(fmt.Sprintf(`{"id":%q,"cmd":"sleep 1000","cpus":0.05,"mem":32,"instances":10,
			"healthChecks":[{"protocol":"COMMAND","command":{"value":"true"}}]}`, id)))
		if err != nil {
			b.Fatal(err)
		}
		change, err := app.NewTree(app.Options{PortMin: 10000, PortMax: 20000, Role: "*"}).Create(at, draft)
		if err != nil {
			b.Fatal(err)
		}
		for _, v := range []marathon.Version{first, last} {
			a := *change.Apps[0].New
			a.Version = v
			put(fmt.Sprintf("apps/bench/%05d/%s", n, v), state.StoredApp{App: &a, ID: id, Version: v, By: "127.0.0.1", Outcome: "success", Deployment: "53d8ac36-6cde-4ae9-b2e1-6b8f9a2c1f0d"})
		}
		for m := range 10 {
			i := instance.NewID(id, fmt.Sprintf("%08x-6cde-4ae9-b2e1-%012x", n*7919, m))
			put("instances/"+i, &instance.Instance{
				ID: i, App: id, Version: last, Incarnation: 1, Goal: instance.GoalRunning, Condition: instance.Running, Since: at,
				TaskID: instance.TaskID(i, 1), Role: "*", TaskState: "TASK_RUNNING", StagedAt: at, StartedAt: at, Ready: true,
				Agent:       &instance.Agent{ID: fmt.Sprintf("53d8ac36-6cde-4ae9-b2e1-6b8f9a2c1f0d-S%d", n%1000), Host: fmt.Sprintf("host-%d.example.com", n%1000)},
				IPAddresses: []marathon.IPAddress{{IPAddress: "10.1.2.3", Protocol: "IPv4"}}, Ports: []int{31000 + m},
				Health: []instance.Health{{Known: true, Alive: true, FirstSuccess: at, LastSuccess: at}},
			})
		}
	}
	put("roots/"+string(first), first)
	put("roots/"+string(last), last)
	put("groups/bench/"+string(first), state.StoredGroup{ID: "/bench", Version: first, Group: &app.Group{ID: "/bench"}})
	put("root", last)
	return all
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRestart is a service that is started again with 10,000 apps and 100,000
// instances, until it asks the master about its tasks: of each part, the time it
// takes and the processors' time.
func BenchmarkRestart(b *testing.B) {
	dir, err := os.MkdirTemp("/var/tmp", "stoa-restart-")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	server, err := etcd.Embed(b.Context(), etcd.EmbedConfig{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	records := server.Open()
	lead, err := records.Elect(b.Context(), "service", []byte("here"))
	if err != nil {
		b.Fatal(err)
	}
	all := manyRecords(b)
	packs := newPacks()
	for range 3 { // provisioned, staging, running
		for some := range slices.Chunk(all, 2000) {
			ops, err := packs.encode(some)
			if err != nil {
				b.Fatal(err)
			}
			if err := records.Commit(b.Context(), lead, ops); err != nil {
				b.Fatal(err)
			}
		}
	}
	records.Close()
	server.Close()
	var began time.Time
	var used time.Duration
	spent := make(map[string]time.Duration)
	lap := func(name string) {
		u := cpuTime()
		spent[name+"-s"] += time.Since(began)
		spent[name+"-CPU-s"] += u - used
		began, used = time.Now(), u
	}
	for b.Loop() {
		runtime.GC()
		began, used = time.Now(), cpuTime()
		server, err := etcd.Embed(b.Context(), etcd.EmbedConfig{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		records := server.Open()
		lap("open")
		loaded, err := records.Load(b.Context(), keyAll)
		if err != nil {
			b.Fatal(err)
		}
		lap("read")
		packs, loaded, err := unpack(loaded)
		if err != nil {
			b.Fatal(err)
		}
		lap("unpack")
		in, kept, err := recoveredBy(runtime.GOMAXPROCS(0), loaded)
		packs.know(in.Instances)
		if err != nil || len(in.Instances) != 100_000 {
			b.Fatal(len(in.Instances), err)
		}
		lap("decode")
		core := state.New(state.Config{App: app.Options{PortMin: 10000, PortMax: 20000, Role: "*"}, Seed: 1})
		effects := core.Step(clock.Now{Wall: time.Now()}, in)
		lap("core")
		v := view.New()
		v.Apply(effects...)
		events.New(2, kept, 0)
		lap("view")
		core.Step(clock.Now{Wall: time.Now()}, state.Subscribed{FrameworkID: "f"})
		lap("reconcile")
		b.StopTimer()
		records.Close()
		server.Close()
		b.StartTimer()
	}
	for name, d := range spent {
		b.ReportMetric(d.Seconds()/float64(b.N), name)
	}
}
