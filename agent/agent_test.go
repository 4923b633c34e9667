package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/agent/state"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	agentpb "github.com/stoa-kernel/stoa/api/mesos/v1/agent"
	executorpb "github.com/stoa-kernel/stoa/api/mesos/v1/executor"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/internal/frame"
	"github.com/stoa-kernel/stoa/internal/recordio"
	"github.com/stoa-kernel/stoa/kernel/id"
)

// TestMain doubles as the agent that is killed in TestFailpoints.
func TestMain(m *testing.M) {
	if os.Getenv("AGENT_CHILD") != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

// containers are made of files, so that they outlive an agent as processes do: one
// that was told to go runs until it is told to end, whoever watches.
//
//	<dir>/journal       a line for every launch and go
//	<dir>/<id>.forked   the init waits; <id>.go: it was told; <id>.exit: it ended
type containers struct {
	dir   string
	hooks Hooks
	quick bool // what is told to go ends at once, well

}

func (c *containers) path(cid id.Container, what string) string {
	return filepath.Join(c.dir, string(cid)+"."+what)
}

func (c *containers) has(cid id.Container, what string) bool {
	_, err := os.Stat(c.path(cid, what))
	return err == nil
}

func (c *containers) mark(cid id.Container, what string) {
	if err := os.WriteFile(c.path(cid, what), nil, 0o600); err != nil {
		panic(err)
	}
}

func (c *containers) journal(line string) {
	f, err := os.OpenFile(filepath.Join(c.dir, "journal"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintln(f, line)
}

func (c *containers) Launch(s *container.Spec) {
	if err := os.WriteFile(filepath.Join(s.Sandbox, "stdout"), []byte("output of "+s.Argv[len(s.Argv)-1]), 0o644); err != nil {
		panic(err)
	}
	c.journal("launch " + s.Argv[len(s.Argv)-1])
	c.mark(s.ID, "forked")
	c.hooks.Events(container.Forked{ID: s.ID, BootID: boot(), Pid: 1000, StartTime: 1})
}

func (c *containers) Go(cid id.Container) {
	c.journal("go")
	c.mark(cid, "go")
	c.hooks.Events(container.Started{ID: cid, TaskPid: 1001})
	if c.quick {
		c.mark(cid, "exit")
		c.hooks.Events(container.Exited{ID: cid, Record: container.Exit{Known: true, Time: time.Now()}})
	}
}

func (c *containers) Adopt(l container.Live) {
	switch {
	case c.has(l.ID, "exit"):
		c.hooks.Events(container.Exited{ID: l.ID, Record: container.Exit{Known: true, Time: time.Now()}})
	case c.has(l.ID, "go"):
		c.hooks.Events(container.Started{ID: l.ID, TaskPid: 1001})
		if c.quick {
			c.mark(l.ID, "exit")
			c.hooks.Events(container.Exited{ID: l.ID, Record: container.Exit{Known: true, Time: time.Now()}})
		}
	default:
		c.hooks.Events(container.Failed{ID: l.ID, Reason: mesos.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED, Canceled: true})
	}
}

func (c *containers) Signal(cid id.Container, signal int) { c.end(cid, int32(signal)) }

func (c *containers) end(cid id.Container, wait int32) {
	if c.has(cid, "go") && !c.has(cid, "exit") {
		c.mark(cid, "exit")
		c.hooks.Events(container.Exited{ID: cid, Record: container.Exit{Known: true, Wait: wait, Time: time.Now()}})
	}
}

func (c *containers) Destroy(cid id.Container) {
	c.end(cid, 9)
	if c.has(cid, "forked") && !c.has(cid, "go") {
		c.hooks.Events(container.Failed{ID: cid, Canceled: true})
	}
	for _, what := range []string{"forked", "go", "exit"} {
		os.Remove(c.path(cid, what))
	}
	c.hooks.Events(container.Destroyed{ID: cid})
}

func (c *containers) Resize(id.Container, container.Limits) {}

func (c *containers) Execute(context.Context, id.Container, *container.Spec) (int32, string, error) {
	return 0, "", nil
}

func (c *containers) Close() error { return nil }

func boot() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(b))
}

// master is the other end of the link, driven by the test.
type master struct {
	*httptest.Server
	links chan *peer

	mu  sync.Mutex
	all []net.Conn // a connection nobody refers to would be closed
}

// kept refers to a connection until the test ends.
func (m *master) kept(c net.Conn) net.Conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, c)
	return c
}

func (m *master) closeAll() {
	m.Server.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.all {
		c.Close()
	}
}

type peer struct {
	net.Conn
	r *frame.Reader
	w *frame.Writer
}

func newMaster(t *testing.T) *master {
	m := &master{links: make(chan *peer, 8)}
	m.Server = httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		conn, rw, err := nethttp.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+frame.Protocol+"\r\n\r\n")
		m.links <- &peer{m.kept(conn), frame.NewReader(rw.Reader), frame.NewWriter(conn)}
	}))
	t.Cleanup(m.closeAll)
	return m
}

func (m *master) address() string { return strings.TrimPrefix(m.URL, "http://") }

func (p *peer) send(t *testing.T, m *stoapb.ToAgent) {
	t.Helper()
	if err := errors.Join(p.w.Write(m), p.w.Flush()); err != nil {
		t.Fatal(err)
	}
}

func (p *peer) receive(t *testing.T) *stoapb.ToMaster {
	t.Helper()
	m := &stoapb.ToMaster{}
	if err := p.r.Read(m); err != nil {
		t.Fatal(err)
	}
	return m
}

const epoch = 3

func (p *peer) register(t *testing.T) *stoapb.Register {
	t.Helper()
	r := p.receive(t).GetRegister()
	if r == nil {
		t.Fatal("the first frame is no Register")
	}
	p.send(t, registered())
	return r
}

func registered() *stoapb.ToAgent {
	return &stoapb.ToAgent{Body: &stoapb.ToAgent_Registered{Registered: &stoapb.Registered{
		AgentId: &mesos.AgentID{Value: proto.String("M-S0")}, Epoch: proto.Uint64(epoch), PingTimeoutSeconds: proto.Float64(60),
		Master: &mesos.MasterInfo{Id: proto.String("M"), Ip: proto.Uint32(0), Port: proto.Uint32(5050)},
	}}}
}

func scalar(name string, v float64) *mesos.Resource {
	return &mesos.Resource{Name: &name, Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: &v},
		AllocationInfo: &mesos.Resource_AllocationInfo{Role: proto.String("*")}}
}

func runTask(name string) *stoapb.ToAgent {
	return &stoapb.ToAgent{Body: &stoapb.ToAgent_RunTask{RunTask: &stoapb.RunTask{
		Epoch:     proto.Uint64(epoch),
		Framework: &mesos.FrameworkInfo{User: proto.String(""), Name: proto.String("f"), Id: &mesos.FrameworkID{Value: proto.String("F")}},
		Task: &mesos.TaskInfo{Name: &name, TaskId: &mesos.TaskID{Value: &name}, AgentId: &mesos.AgentID{Value: proto.String("M-S0")},
			Resources: []*mesos.Resource{scalar("cpus", 0.1), scalar("mem", 32)},
			Command:   &mesos.CommandInfo{Value: &name}},
	}}}
}

func acknowledge(u *stoapb.Update) *stoapb.ToAgent {
	return &stoapb.ToAgent{Body: &stoapb.ToAgent_Acknowledge{Acknowledge: &stoapb.Acknowledge{Epoch: proto.Uint64(epoch),
		FrameworkId: u.FrameworkId, TaskId: u.Status.TaskId, Uuid: u.Status.Uuid}}}
}

func (p *peer) update(t *testing.T) *stoapb.Update {
	t.Helper()
	for {
		m := p.receive(t)
		if u := m.GetUpdate(); u != nil {
			return u
		}
		if m.GetExecutorExited() == nil && m.GetResourcesChanged() == nil {
			t.Fatalf("%v, want an update", m)
		}
	}
}

func (p *peer) want(t *testing.T, state mesos.TaskState) *stoapb.Update {
	t.Helper()
	u := p.update(t)
	if u.GetStatus().GetState() != state {
		t.Fatalf("%v, want %v", u.GetStatus(), state)
	}
	return u
}

func config(t testing.TB, m *master, work string, c *containers) Config {
	return Config{
		WorkDir: work, Masters: []string{m.address()}, Listen: "127.0.0.1:0", Hostname: "host",
		Resources: "cpus:4;mem:1024;disk:1024;ports:[31000-31099]",
		Containerizer: func(h Hooks) (Containerizer, error) {
			c.hooks = h
			return c, nil
		},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// running is an agent in this process.
type running struct {
	url  string
	err  chan error
	stop context.CancelFunc
}

func start(t *testing.T, c Config) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{err: make(chan error, 1), stop: cancel}
	ready := make(chan string, 1)
	c.Ready = func(url string) { ready <- url }
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.err <- Run(ctx, c)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		nethttp.DefaultTransport.(*nethttp.Transport).CloseIdleConnections()
	})
	select {
	case r.url = <-ready:
	case err := <-r.err:
		t.Fatalf("the agent did not start: %v", err)
	}
	return r
}

func (r *running) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.err; err != nil {
		t.Fatal(err)
	}
	r.err <- nil
}

// TestTask: a task's life over the link, with an agent that ends in the middle of it.
func TestTask(t *testing.T) {
	m, work := newMaster(t), t.TempDir()
	c := &containers{dir: t.TempDir()}
	a := start(t, config(t, m, work, c))
	p := <-m.links
	if r := p.register(t); r.GetInfo().GetId() != nil || r.GetIp() != "127.0.0.1" || r.GetInfo().GetHostname() != "host" || r.GetBootId() != boot() {
		t.Fatalf("%v", r)
	}
	p.send(t, runTask("t1"))
	u := p.want(t, mesos.TaskState_TASK_RUNNING)
	p.send(t, acknowledge(u))

	// Its output, through the master and at the agent.
	call := &agentpb.Call{Type: agentpb.Call_READ_FILE.Enum(), ReadFile: &agentpb.Call_ReadFile{Path: proto.String("/frameworks/F/executors/t1/runs/latest/stdout"), Offset: proto.Uint64(0)}}
	p.send(t, &stoapb.ToAgent{Body: &stoapb.ToAgent_FilesRequest{FilesRequest: &stoapb.FilesRequest{Id: proto.Uint64(5), Call: call}}})
	if r := p.receive(t).GetFilesReply(); r.GetId() != 5 || string(r.GetResponse().GetReadFile().GetData()) != "output of t1" {
		t.Fatalf("%v", r)
	}
	body, err := codec.JSON.Append(nil, call)
	if err != nil {
		t.Fatal(err)
	}
	if status, text := post(t, a.url+"/api/v1", string(body)); status != 200 || !strings.Contains(text, `"size":12`) {
		t.Fatalf("%d %s", status, text)
	}
	if status, text := get(t, a.url+"/metrics"); status != 200 || !strings.Contains(text, `stoa_agent_steps_total{input="LinkUp"} 1`) || !strings.Contains(text, "stoa_agent_link_up 1") {
		t.Fatalf("%d %s", status, text)
	}

	a.end(t)
	again := start(t, config(t, m, work, c))
	if again.url != a.url {
		t.Fatalf("the agent was at %s and is at %s: executors do not find it", a.url, again.url)
	}
	p = <-m.links
	r := p.register(t)
	if r.GetInfo().GetId().GetValue() != "M-S0" || len(r.GetTasks()) != 1 || r.GetTasks()[0].GetTask().GetState() != mesos.TaskState_TASK_RUNNING {
		t.Fatalf("%v", r)
	}
	p.send(t, runTask("t1")) // again: ignored
	p.send(t, &stoapb.ToAgent{Body: &stoapb.ToAgent_KillTask{KillTask: &stoapb.KillTask{Epoch: proto.Uint64(epoch),
		FrameworkId: u.FrameworkId, TaskId: u.Status.TaskId}}})
	u = p.want(t, mesos.TaskState_TASK_KILLED)
	p.send(t, acknowledge(u))
	again.end(t)
	if lines := journal(t, c.dir); !slices.Equal(lines, []string{"launch t1", "go"}) {
		t.Fatalf("journal %q", lines)
	}
}

func journal(t *testing.T, dir string) []string {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines []string
	for s := bufio.NewScanner(f); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return lines
}

func post(t *testing.T, url, body string) (int, string) {
	t.Helper()
	resp, err := nethttp.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := nethttp.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

func read(t *testing.T, resp *nethttp.Response) (int, string) {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestExecutor: a custom executor subscribes, gets its task, and its update is answered
// 202 when it is on disk and then forwarded.
func TestExecutor(t *testing.T) {
	m := newMaster(t)
	a := start(t, config(t, m, t.TempDir(), &containers{dir: t.TempDir()}))
	p := <-m.links
	p.register(t)
	run := runTask("t1")
	task := run.GetRunTask().GetTask()
	task.Executor = &mesos.ExecutorInfo{Type: mesos.ExecutorInfo_CUSTOM.Enum(), ExecutorId: &mesos.ExecutorID{Value: proto.String("e")},
		FrameworkId: &mesos.FrameworkID{Value: proto.String("F")}, Command: &mesos.CommandInfo{Value: proto.String("executor")},
		Resources: []*mesos.Resource{scalar("cpus", 0.1), scalar("mem", 32)}}
	task.Command = nil
	p.send(t, run)

	const who = `"executor_id":{"value":"e"},"framework_id":{"value":"F"}`
	var resp *nethttp.Response
	for { // until the core has it: the executor of a real agent is started by then
		var err error
		resp, err = nethttp.Post(a.url+"/slave(1)/api/v1/executor", "application/json", strings.NewReader(`{"type":"SUBSCRIBE",`+who+`,"subscribe":{}}`))
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode == 200 {
			break
		}
		if status, text := read(t, resp); status != 400 {
			t.Fatal(status, text)
		}
	}
	defer resp.Body.Close()
	events := recordio.NewReader(resp.Body, 0)
	next := func() *executorpb.Event {
		t.Helper()
		b, err := events.Read()
		if err != nil {
			t.Fatal(err)
		}
		e := &executorpb.Event{}
		if err := codec.JSON.Unmarshal(b, e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	if e := next(); e.GetSubscribed().GetAgentInfo().GetId().GetValue() != "M-S0" {
		t.Fatal(e)
	}
	if e := next(); e.GetLaunch().GetTask().GetTaskId().GetValue() != "t1" {
		t.Fatal(e)
	}
	status, text := post(t, a.url+"/api/v1/executor", `{"type":"UPDATE",`+who+`,"update":{"status":{"task_id":{"value":"t1"},"state":"TASK_RUNNING","source":"SOURCE_EXECUTOR","uuid":"MDEyMzQ1Njc4OWFiY2RlZg=="}}}`)
	if status != 202 || text != "" {
		t.Fatal(status, text)
	}
	if e := next(); string(e.GetAcknowledged().GetUuid()) != "0123456789abcdef" {
		t.Fatal(e)
	}
	p.send(t, acknowledge(p.want(t, mesos.TaskState_TASK_RUNNING)))
	if status, text := post(t, a.url+"/api/v1/executor", `{"type":"MESSAGE","executor_id":{"value":"x"},"framework_id":{"value":"F"},"message":{"data":""}}`); status != 400 || text != "Executor cannot be found" {
		t.Fatal(status, text)
	}
}

// TestStop: asked to, the agent kills its tasks and ends; what it has to say of them is
// kept for the next.
func TestStop(t *testing.T) {
	for how, name := range map[Stop]string{StopTasks: "tasks", StopNow: "now"} {
		t.Run(name, func(t *testing.T) {
			m, work := newMaster(t), t.TempDir()
			c := &containers{dir: t.TempDir()}
			cfg := config(t, m, work, c)
			stop := make(chan Stop, 1)
			cfg.Stop = stop
			a := start(t, cfg)
			p := <-m.links
			p.register(t)
			p.send(t, runTask("t1"))
			p.send(t, acknowledge(p.want(t, mesos.TaskState_TASK_RUNNING)))
			p.Close() // nobody hears of the end
			stop <- how
			if err := <-a.err; err != nil {
				t.Fatal(err)
			}
			a.err <- nil
			if left, _ := filepath.Glob(filepath.Join(c.dir, "*.go")); len(left) != 0 {
				t.Fatalf("left %v", left)
			}
			cfg.Stop = nil
			start(t, cfg)
			// The first life may have connected again before it ended, and may not have
			// got the acknowledgement: RUNNING may come once more, KILLED must come.
			for p = range m.links {
				if killed(p) {
					break
				}
			}
		})
	}
}

// killed is a master that waits for the end of a task; false if the link breaks before.
func killed(p *peer) bool {
	for {
		m := &stoapb.ToMaster{}
		if p.r.Read(m) != nil {
			return false
		}
		answer := registered()
		if u := m.GetUpdate(); u != nil {
			if u.GetStatus().GetState() == mesos.TaskState_TASK_KILLED {
				return true
			}
			answer = acknowledge(u)
		}
		if errors.Join(p.w.Write(answer), p.w.Flush()) != nil {
			return false
		}
	}
}

func TestRefusals(t *testing.T) {
	m, work := newMaster(t), t.TempDir()
	good := config(t, m, work, &containers{dir: t.TempDir()})
	a := start(t, good)
	p := <-m.links
	p.receive(t)

	again := good
	if err := Run(t.Context(), again); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("is in use by process %d (stoa agent)", os.Getpid())) {
		t.Errorf("a second agent on the same directory: %v", err)
	}
	for name, change := range map[string]func(*Config){
		"no authentication":       func(c *Config) { c.Listen = "0.0.0.0:0" },
		"expecting host:port":     func(c *Config) { c.Listen = "x" },
		"address already in use":  func(c *Config) { c.Listen = strings.TrimPrefix(a.url, "http://") },
		"expecting an IP address": func(c *Config) { c.Advertise = "host" },
		"resources \"cpus:x\"":    func(c *Config) { c.Resources = "cpus:x" },
		"no containers today": func(c *Config) {
			c.Containerizer = func(Hooks) (Containerizer, error) { return nil, errors.New("no containers today") }
		},
	} {
		bad := good
		bad.WorkDir = t.TempDir()
		change(&bad)
		if err := Run(t.Context(), bad); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %s", err, name)
		}
	}

	p.send(t, &stoapb.ToAgent{Body: &stoapb.ToAgent_Refused{Refused: &stoapb.Refused{Message: proto.String("not you")}}})
	if err := <-a.err; err == nil || err.Error() != "not you" {
		t.Fatal(err)
	}
	a.err <- nil

	fewer := good
	fewer.Resources = "cpus:2;mem:1024;disk:1024;ports:[31000-31099]"
	b := start(t, good)
	p = <-m.links
	p.register(t)
	p.send(t, &stoapb.ToAgent{Body: &stoapb.ToAgent_Ping{Ping: &stoapb.Ping{Seq: proto.Uint64(1)}}})
	p.receive(t) // Pong: what is before it is taken
	b.end(t)
	if err := Run(t.Context(), fewer); err == nil || !strings.Contains(err.Error(), "cpus") {
		t.Errorf("with less than it had: %v", err)
	}
}

// TestVolumes: CREATE and DESTROY are directories, answered when they are done.
func TestVolumes(t *testing.T) {
	m, work := newMaster(t), t.TempDir()
	start(t, config(t, m, work, &containers{dir: t.TempDir()}))
	p := <-m.links
	p.register(t)
	plain := &mesos.Resource{Name: proto.String("disk"), Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: proto.Float64(64)}}
	reserved := proto.CloneOf(plain)
	reserved.Reservations = []*mesos.Resource_ReservationInfo{{Type: mesos.Resource_ReservationInfo_DYNAMIC.Enum(), Role: proto.String("db")}}
	volume := proto.CloneOf(reserved)
	volume.Disk = &mesos.Resource_DiskInfo{Persistence: &mesos.Resource_DiskInfo_Persistence{Id: proto.String("v1")},
		Volume: &mesos.Volume{ContainerPath: proto.String("data"), Mode: mesos.Volume_RW.Enum()}}
	apply := func(uuid string, op *mesos.Offer_Operation) {
		t.Helper()
		op.Id = &mesos.OperationID{Value: proto.String(uuid)}
		p.send(t, &stoapb.ToAgent{Body: &stoapb.ToAgent_ApplyOperation{ApplyOperation: &stoapb.ApplyOperation{Epoch: proto.Uint64(epoch),
			FrameworkId: &mesos.FrameworkID{Value: proto.String("F")}, Operation: op, OperationUuid: []byte(uuid)}}})
		for {
			r := p.receive(t)
			if u := r.GetOperationUpdate(); u != nil {
				if u.GetStatus().GetState() != mesos.OperationState_OPERATION_FINISHED {
					t.Fatalf("%s: %v", uuid, u)
				}
				return
			}
		}
	}
	path := filepath.Join(work, "volumes/roles/db/v1")
	apply("1234567890123456", &mesos.Offer_Operation{Type: mesos.Offer_Operation_RESERVE.Enum(), Reserve: &mesos.Offer_Operation_Reserve{Resources: []*mesos.Resource{reserved}}})
	apply("2234567890123456", &mesos.Offer_Operation{Type: mesos.Offer_Operation_CREATE.Enum(), Create: &mesos.Offer_Operation_Create{Volumes: []*mesos.Resource{volume}}})
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	apply("3234567890123456", &mesos.Offer_Operation{Type: mesos.Offer_Operation_DESTROY.Enum(), Destroy: &mesos.Offer_Operation_Destroy{Volumes: []*mesos.Resource{volume}}})
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

var _ core = (*state.Agent)(nil)
