package master_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	agentpb "github.com/stoa-kernel/stoa/api/mesos/v1/agent"
	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/internal/frame"
	"github.com/stoa-kernel/stoa/internal/recordio"
	"github.com/stoa-kernel/stoa/master"
	"github.com/stoa-kernel/stoa/master/state"
	"github.com/stoa-kernel/stoa/store"
	"github.com/stoa-kernel/stoa/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a master with its real core on a free port.
type running struct {
	t    *testing.T
	url  string
	stop func() error // waits for Run to return
}

func run(t *testing.T, s store.Store) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan string, 1)
	done := make(chan error, 1)
	go func() {
		done <- master.Run(ctx, master.Config{
			Listen: "127.0.0.1:0", Store: s, Log: slog.New(slog.DiscardHandler),
			State: state.Config{Seed: 1, Version: "0.1-test"},
			Ready: func(url string) { ready <- url },
		})
	}()
	m := &running{t: t}
	stopped := false
	m.stop = func() error {
		cancel()
		if stopped {
			return nil
		}
		stopped = true
		return <-done
	}
	select {
	case m.url = <-ready:
	case err := <-done:
		cancel()
		t.Fatalf("the master ended: %v", err)
	}
	t.Cleanup(func() {
		if err := m.stop(); err != nil {
			t.Errorf("the master ended with %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return m
}

func (m *running) post(c codec.Codec, path string, header http.Header, call proto.Message) (int, []byte) {
	m.t.Helper()
	b, err := c.Append(nil, call)
	if err != nil {
		m.t.Fatal(err)
	}
	r, err := http.NewRequest("POST", m.url+path, bytes.NewReader(b))
	if err != nil {
		m.t.Fatal(err)
	}
	for k, v := range header {
		r.Header[k] = v
	}
	r.Header.Set("Content-Type", c.String())
	r.Header.Set("Accept", c.String())
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		m.t.Fatal(err)
	}
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return w.StatusCode, body
}

func (m *running) operator(c codec.Codec, kind masterpb.Call_Type) *masterpb.Response {
	m.t.Helper()
	status, body := m.post(c, "/api/v1/operator", nil, &masterpb.Call{Type: kind.Enum()})
	var answer masterpb.Response
	if err := c.Unmarshal(body, &answer); status != 200 || err != nil {
		m.t.Fatalf("%v: %d %s %v", kind, status, body, err)
	}
	return &answer
}

// framework is a subscribed scheduler.
type framework struct {
	m      *running
	codec  codec.Codec
	id     *mesos.FrameworkID
	stream string
	header http.Header
	events *recordio.Reader
	body   io.Closer
}

func (m *running) subscribe(c codec.Codec, info *mesos.FrameworkInfo) *framework {
	m.t.Helper()
	b, err := c.Append(nil, &schedulerpb.Call{
		Type: schedulerpb.Call_SUBSCRIBE.Enum(), FrameworkId: info.Id,
		Subscribe: &schedulerpb.Call_Subscribe{FrameworkInfo: info},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	r, err := http.NewRequest("POST", m.url+"/master/api/v1/scheduler/", bytes.NewReader(b))
	if err != nil {
		m.t.Fatal(err)
	}
	r.Header.Set("Content-Type", c.String())
	r.Header.Set("Accept", c.String())
	r.Header.Set("Accept-Encoding", "gzip") // must not be taken up on a stream
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { w.Body.Close() })
	f := &framework{m: m, codec: c, stream: w.Header.Get("Mesos-Stream-Id"), header: w.Header, events: recordio.NewReader(w.Body, 0), body: w.Body}
	if w.StatusCode != 200 || f.stream == "" || w.Header.Get("Content-Type") != c.String() || w.Header.Get("Content-Encoding") != "" {
		m.t.Fatalf("SUBSCRIBE: %d %v", w.StatusCode, w.Header)
	}
	return f
}

func (f *framework) next() *schedulerpb.Event {
	f.m.t.Helper()
	b, err := f.events.Read()
	if err != nil {
		f.m.t.Fatalf("stream: %v", err)
	}
	if f.codec == codec.JSON && bytes.ContainsAny(b, "\n\r") {
		f.m.t.Fatalf("an event is not one line: %q", b)
	}
	var e schedulerpb.Event
	if err := f.codec.Unmarshal(b, &e); err != nil {
		f.m.t.Fatal(err)
	}
	return &e
}

// want skips heartbeats and fails on any other event than the kind.
func (f *framework) want(kind schedulerpb.Event_Type) *schedulerpb.Event {
	f.m.t.Helper()
	for {
		e := f.next()
		if e.GetType() == kind {
			return e
		}
		if e.GetType() != schedulerpb.Event_HEARTBEAT {
			f.m.t.Fatalf("got %v, want %v", e, kind)
		}
	}
}

func (f *framework) begin() {
	f.m.t.Helper()
	f.id = f.want(schedulerpb.Event_SUBSCRIBED).GetSubscribed().GetFrameworkId()
	if e := f.next(); e.GetType() != schedulerpb.Event_HEARTBEAT {
		f.m.t.Fatalf("after SUBSCRIBED comes %v, want a HEARTBEAT", e)
	}
}

func (f *framework) call(call *schedulerpb.Call) {
	f.m.t.Helper()
	call.FrameworkId = f.id
	status, body := f.m.post(f.codec, "/api/v1/scheduler", http.Header{"Mesos-Stream-Id": {f.stream}}, call)
	if status != 202 || len(body) != 0 {
		f.m.t.Fatalf("%v: %d %s", call.GetType(), status, body)
	}
}

// agent is the other end of a link.
type agent struct {
	t    *testing.T
	conn net.Conn
	r    *frame.Reader
	w    *frame.Writer
	id   *mesos.AgentID
}

func (m *running) agent(register *stoapb.Register) *agent {
	m.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(m.url, "http://"))
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: m\r\nConnection: Upgrade\r\nUpgrade: %s\r\nContent-Length: 0\r\n\r\n", frame.Path, frame.Protocol)
	buffered := bufio.NewReader(conn)
	w, err := http.ReadResponse(buffered, nil)
	if err != nil || w.StatusCode != http.StatusSwitchingProtocols {
		m.t.Fatalf("upgrade: %v %v", w, err)
	}
	a := &agent{t: m.t, conn: conn, r: frame.NewReader(buffered), w: frame.NewWriter(conn)}
	a.send(&stoapb.ToMaster{Body: &stoapb.ToMaster_Register{Register: register}})
	a.id = a.next().GetRegistered().GetAgentId()
	if a.id == nil {
		m.t.Fatal("not registered")
	}
	return a
}

func (a *agent) send(m *stoapb.ToMaster) {
	a.t.Helper()
	if err := errors.Join(a.w.Write(m), a.w.Flush()); err != nil {
		a.t.Fatal(err)
	}
}

// next answers pings on the way.
func (a *agent) next() *stoapb.ToAgent {
	a.t.Helper()
	for {
		var m stoapb.ToAgent
		if err := a.r.Read(&m); err != nil {
			a.t.Fatalf("link: %v", err)
		}
		ping := m.GetPing()
		if ping == nil {
			return &m
		}
		a.send(&stoapb.ToMaster{Body: &stoapb.ToMaster_Pong{Pong: &stoapb.Pong{Seq: ping.Seq}}})
	}
}

func scalar(name string, v float64) *mesos.Resource {
	return &mesos.Resource{Name: proto.String(name), Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: proto.Float64(v)}}
}

func registration() *stoapb.Register {
	resources := []*mesos.Resource{scalar("cpus", 4), scalar("mem", 1024)}
	return &stoapb.Register{
		Protocol: proto.Uint32(1), StoaVersion: proto.String("0.1-test"), Ip: proto.String("127.0.0.1"), BootId: proto.String("boot"),
		Info:      &mesos.AgentInfo{Hostname: proto.String("host"), Port: proto.Int32(5051), Resources: resources},
		Resources: resources,
	}
}

func multiRole(name string) *mesos.FrameworkInfo {
	return &mesos.FrameworkInfo{
		User: proto.String("root"), Name: proto.String(name), Roles: []string{"r"},
		Capabilities: []*mesos.FrameworkInfo_Capability{{Type: mesos.FrameworkInfo_Capability_MULTI_ROLE.Enum()}},
	}
}

// launch starts tasks on an offer and wants no other for an hour.
func (f *framework) launch(offer *mesos.Offer, ids ...string) {
	f.m.t.Helper()
	var tasks []*mesos.TaskInfo
	for _, id := range ids {
		tasks = append(tasks, &mesos.TaskInfo{
			Name: proto.String("t"), TaskId: &mesos.TaskID{Value: proto.String(id)}, AgentId: offer.AgentId,
			Resources: []*mesos.Resource{scalar("cpus", 1), scalar("mem", 64)},
			Command:   &mesos.CommandInfo{Value: proto.String("true")},
		})
	}
	f.call(&schedulerpb.Call{
		Type: schedulerpb.Call_ACCEPT.Enum(),
		Accept: &schedulerpb.Call_Accept{
			OfferIds: []*mesos.OfferID{offer.Id},
			Operations: []*mesos.Offer_Operation{{
				Type: mesos.Offer_Operation_LAUNCH.Enum(), Launch: &mesos.Offer_Operation_Launch{TaskInfos: tasks},
			}},
			Filters: &mesos.Filters{RefuseSeconds: proto.Float64(3600)},
		},
	})
}

// finished says that a task has ended.
func (a *agent) finished(launched *stoapb.RunTask, uuid []byte) {
	a.t.Helper()
	a.send(&stoapb.ToMaster{Body: &stoapb.ToMaster_Update{Update: &stoapb.Update{
		FrameworkId: launched.Framework.Id, LatestState: mesos.TaskState_TASK_FINISHED.Enum(),
		Status: &mesos.TaskStatus{
			TaskId: launched.Task.TaskId, State: mesos.TaskState_TASK_FINISHED.Enum(), AgentId: a.id,
			Source: mesos.TaskStatus_SOURCE_EXECUTOR.Enum(), Uuid: uuid, Timestamp: proto.Float64(1),
		},
	}}})
}

// The path of a task, over sockets, with either codec.
func TestTaskOverTheWire(t *testing.T) {
	for c := range codec.Count {
		t.Run(c.String(), func(t *testing.T) {
			m := run(t, memory.New())
			a := m.agent(registration())
			f := m.subscribe(c, multiRole("demo"))
			f.begin()
			offer := f.want(schedulerpb.Event_OFFERS).GetOffers().GetOffers()[0]
			if offer.GetAgentId().GetValue() != a.id.GetValue() {
				t.Fatalf("offer of %v, want %v", offer.GetAgentId(), a.id)
			}

			f.launch(offer, "t")
			launched := a.next().GetRunTask()
			if launched.GetTask().GetTaskId().GetValue() != "t" {
				t.Fatalf("the agent was told %v", launched)
			}
			uuid := []byte("0123456789abcdef")
			a.finished(launched, uuid)
			status := f.want(schedulerpb.Event_UPDATE).GetUpdate().GetStatus()
			if status.GetState() != mesos.TaskState_TASK_FINISHED || !bytes.Equal(status.GetUuid(), uuid) {
				t.Fatalf("update %v", status)
			}
			m.metric("stoa_master_updates_in_flight 1")
			if n := len(m.operator(c, masterpb.Call_GET_TASKS).GetGetTasks().GetTasks()); n != 1 {
				t.Errorf("%d live tasks before the acknowledgement, want 1", n)
			}
			f.call(&schedulerpb.Call{
				Type:        schedulerpb.Call_ACKNOWLEDGE.Enum(),
				Acknowledge: &schedulerpb.Call_Acknowledge{AgentId: a.id, TaskId: status.TaskId, Uuid: uuid},
			})
			if ack := a.next().GetAcknowledge(); !bytes.Equal(ack.GetUuid(), uuid) {
				t.Fatalf("the agent got %v, want the acknowledgement", ack)
			}
			m.metric("stoa_master_updates_in_flight 0")
			// The acknowledgement reached the agent after the view was told.
			all := m.operator(c, masterpb.Call_GET_STATE).GetGetState()
			if n := len(all.GetGetTasks().GetCompletedTasks()); n != 1 {
				t.Errorf("%d completed tasks, want 1", n)
			}
			if n := len(all.GetGetAgents().GetAgents()); n != 1 {
				t.Errorf("%d agents, want 1", n)
			}
			if n := len(all.GetGetFrameworks().GetFrameworks()); n != 1 {
				t.Errorf("%d frameworks, want 1", n)
			}
		})
	}
}

// Many acknowledgements in one call are to each task what one is: those that are forged, or
// of nobody, take none of the others with them.
func TestManyAcknowledgementsInOneCall(t *testing.T) {
	for c := range codec.Count {
		t.Run(c.String(), func(t *testing.T) {
			m := run(t, memory.New())
			a := m.agent(registration())
			f := m.subscribe(c, multiRole("demo"))
			if got := f.header.Get(schedulerpb.ExtensionsHeader); got != schedulerpb.Acknowledgements {
				t.Errorf("the master says that it takes %q", got)
			}
			f.begin()
			offer := f.want(schedulerpb.Event_OFFERS).GetOffers().GetOffers()[0]
			f.launch(offer, "t0", "t1", "t2")
			ack := func(task, uuid string) *schedulerpb.Call_Acknowledge {
				return &schedulerpb.Call_Acknowledge{AgentId: a.id, TaskId: &mesos.TaskID{Value: &task}, Uuid: []byte(uuid + "0123456789abcd")}
			}
			for range 3 {
				launched := a.next().GetRunTask()
				a.finished(launched, ack("", launched.GetTask().GetTaskId().GetValue()).Uuid)
				for f.next().GetUpdate() == nil { // what is free again is offered
				}
			}
			other := ack("t1", "t1")
			other.AgentId = &mesos.AgentID{Value: proto.String("nobody")}
			f.call(&schedulerpb.Call{
				Type:        schedulerpb.Call_ACKNOWLEDGE.Enum(),
				Acknowledge: ack("t0", "t0"),
				Acknowledgements: []*schedulerpb.Call_Acknowledge{
					ack("t0", "t0"), ack("t1", "t0"), ack("t1", "xx"), other, ack("t2", "t2"), ack("t2", "t2"),
				},
			})
			f.call(&schedulerpb.Call{Type: schedulerpb.Call_ACKNOWLEDGE.Enum(), Acknowledge: ack("t1", "t1")})
			for _, want := range []string{"t0", "t2", "t1"} {
				m := a.next()
				if got := m.GetAcknowledge(); got.GetTaskId().GetValue() != want || !strings.HasPrefix(string(got.GetUuid()), want) {
					t.Fatalf("the agent got %v, want the acknowledgement of %s", m, want)
				}
			}
			m.metric("stoa_master_updates_in_flight 0")
			if n := len(m.operator(c, masterpb.Call_GET_TASKS).GetGetTasks().GetCompletedTasks()); n != 3 {
				t.Errorf("%d completed tasks, want 3", n)
			}
		})
	}
}

func (m *running) get(path string) (int, string, http.Header) {
	m.t.Helper()
	client := http.Client{Transport: http.DefaultTransport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	w, err := client.Get(m.url + path)
	if err != nil {
		m.t.Fatal(err)
	}
	defer w.Body.Close()
	b, err := io.ReadAll(w.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return w.StatusCode, string(b), w.Header
}

func (m *running) metric(line string) {
	m.t.Helper()
	if _, body, _ := m.get("/metrics"); !strings.Contains(body, "\n"+line+"\n") {
		m.t.Errorf("/metrics has no line %q", line)
	}
}

func TestOneShotEndpoints(t *testing.T) {
	m := run(t, memory.New())
	host := strings.TrimPrefix(m.url, "http:")
	tests := []struct {
		path     string
		status   int
		body     string // part of it
		location string
	}{
		{"/health", 200, "", ""},
		{"/master/health/", 200, "", ""},
		{"/version", 200, `"version":"0.1-test"`, ""},
		{"/redirect", 307, "", host},
		{"/master/redirect", 307, "", host},
		{"/redirect/x", 404, "", ""},
		{"/metrics/snapshot", 404, "", ""},
		{"/metrics", 200, "stoa_master_turn_seconds_count", ""},
		{"/stoa/v1/why?resources=cpus:1;mem:32", 200, `"lines":[`, ""},
		{"/nonexistent", 404, "/nonexistent", ""},
		{"/", 404, "", ""},
	}
	for _, tt := range tests {
		status, body, header := m.get(tt.path)
		if status != tt.status || !strings.Contains(body, tt.body) || header.Get("Location") != tt.location {
			t.Errorf("%s: %d %s %q, want %d %s %q", tt.path, status, header.Get("Location"), body, tt.status, tt.location, tt.body)
		}
	}
	if !m.operator(codec.JSON, masterpb.Call_GET_HEALTH).GetGetHealth().GetHealthy() {
		t.Error("not healthy")
	}
	if v := m.operator(codec.Protobuf, masterpb.Call_GET_VERSION).GetGetVersion().GetVersionInfo().GetVersion(); v != "0.1-test" {
		t.Errorf("version %q", v)
	}
	info := m.operator(codec.JSON, masterpb.Call_GET_MASTER).GetGetMaster()
	if info.GetMasterInfo().GetAddress().GetIp() != "127.0.0.1" || info.GetElectedTime() < info.GetStartTime() || info.GetStartTime() == 0 {
		t.Errorf("GET_MASTER %v", info)
	}
}

func TestFilesOfAnAgentThroughTheMaster(t *testing.T) {
	m := run(t, memory.New())
	a := m.agent(registration())
	call := &agentpb.Call{Type: agentpb.Call_LIST_FILES.Enum(), ListFiles: &agentpb.Call_ListFiles{Path: proto.String("/x")}}
	type result struct {
		status int
		body   []byte
	}
	path := "/stoa/v1/agents/" + a.id.GetValue() + "/api"
	ask := func(c codec.Codec) <-chan result {
		done := make(chan result, 1)
		go func() {
			status, body := m.post(c, path, nil, call)
			done <- result{status, body}
		}()
		return done
	}
	// Two at once, answered in the other order.
	first := ask(codec.JSON)
	one := a.next().GetFilesRequest()
	second := ask(codec.Protobuf)
	two := a.next().GetFilesRequest()
	if one.GetCall().GetListFiles().GetPath() != "/x" || one.GetId() == two.GetId() {
		t.Fatalf("the agent was asked %v and %v", one, two)
	}
	answer := &agentpb.Response{
		Type:      agentpb.Response_LIST_FILES.Enum(),
		ListFiles: &agentpb.Response_ListFiles{FileInfos: []*mesos.FileInfo{{Path: proto.String("/x/stdout")}}},
	}
	reply := func(r *stoapb.FilesReply) {
		a.send(&stoapb.ToMaster{Body: &stoapb.ToMaster_FilesReply{FilesReply: r}})
	}
	reply(&stoapb.FilesReply{Id: proto.Uint64(9999), Status: proto.Int32(200), Response: answer}) // nobody asked
	reply(&stoapb.FilesReply{Id: two.Id, Status: proto.Int32(404), Message: proto.String("no such file")})
	if r := <-second; r.status != 404 || string(r.body) != "no such file" {
		t.Errorf("second: %d %s", r.status, r.body)
	}
	reply(&stoapb.FilesReply{Id: one.Id, Status: proto.Int32(200), Response: answer})
	if r := <-first; r.status != 200 || !strings.Contains(string(r.body), `"path":"/x/stdout"`) {
		t.Errorf("first: %d %s", r.status, r.body)
	}
	third := ask(codec.JSON)
	a.next()
	a.conn.Close()
	if r := <-third; r.status != 502 {
		t.Errorf("with the link broken: %d %s", r.status, r.body)
	}
	if status, body := m.post(codec.JSON, "/stoa/v1/agents/nobody/api", nil, call); status != 404 {
		t.Errorf("an unknown agent: %d %s", status, body)
	}
}

func TestAnErrorEventEndsTheStream(t *testing.T) {
	m := run(t, memory.New())
	info := multiRole("bad")
	info.Roles = []string{"/not a role"}
	f := m.subscribe(codec.JSON, info)
	if e := f.next(); e.GetType() != schedulerpb.Event_ERROR || e.GetError().GetMessage() == "" {
		t.Errorf("got %v, want ERROR", e)
	}
	if _, err := f.events.Read(); err != io.EOF {
		t.Errorf("after ERROR: %v, want an orderly end", err)
	}
}

func TestASecondSubscriptionEndsTheFirst(t *testing.T) {
	m := run(t, memory.New())
	info := multiRole("twice")
	info.FailoverTimeout = proto.Float64(60)
	first := m.subscribe(codec.JSON, info)
	first.begin()
	info.Id = first.id
	second := m.subscribe(codec.Protobuf, info)
	second.begin()
	if e := first.want(schedulerpb.Event_ERROR); e.GetError().GetMessage() != "Framework failed over" {
		t.Errorf("the first stream was told %v", e)
	}
	if _, err := first.events.Read(); err != io.EOF {
		t.Errorf("the first stream after ERROR: %v", err)
	}
	if second.id.GetValue() != first.id.GetValue() || second.stream == first.stream {
		t.Errorf("ids %v %v, streams %s %s", first.id, second.id, first.stream, second.stream)
	}
}

// A client that goes away is noticed, and the framework removed without a
// failover_timeout.
func TestAClosedStreamIsReported(t *testing.T) {
	m := run(t, memory.New())
	f := m.subscribe(codec.JSON, multiRole("leaves"))
	f.begin()
	other := m.subscribe(codec.JSON, multiRole("stays"))
	other.begin()
	f.body.Close()
	deadline := time.Now().Add(10 * time.Second)
	for len(m.operator(codec.JSON, masterpb.Call_GET_FRAMEWORKS).GetGetFrameworks().GetCompletedFrameworks()) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the framework is not removed")
		}
	}
}

func TestRestartedMasterRemembersFrameworksAndAgents(t *testing.T) {
	space := memory.NewSpace()
	first := run(t, space.Open())
	a := first.agent(registration())
	info := multiRole("durable")
	info.FailoverTimeout = proto.Float64(3600)
	f := first.subscribe(codec.JSON, info)
	f.begin()
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	second := run(t, space.Open())
	frameworks := second.operator(codec.JSON, masterpb.Call_GET_FRAMEWORKS).GetGetFrameworks().GetFrameworks()
	if len(frameworks) != 1 || frameworks[0].GetFrameworkInfo().GetId().GetValue() != f.id.GetValue() || !frameworks[0].GetRecovered() {
		t.Errorf("frameworks after the restart: %v", frameworks)
	}
	recovered := second.operator(codec.JSON, masterpb.Call_GET_AGENTS).GetGetAgents().GetRecoveredAgents()
	if len(recovered) != 1 || recovered[0].GetId().GetValue() != a.id.GetValue() {
		t.Errorf("agents after the restart: %v", recovered)
	}
}

func TestTheSecondMasterRedirectsAndTakesOver(t *testing.T) {
	space := memory.NewSpace()
	first := run(t, space.Open())
	stream := first.subscribe(codec.JSON, multiRole("f"))
	stream.begin()

	listening, ready := make(chan string, 1), make(chan string, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- master.Run(ctx, master.Config{
			Listen: "127.0.0.1:0", Store: space.Open(), Log: slog.New(slog.DiscardHandler),
			State: state.Config{Version: "0.1-test"}, Ready: func(url string) { ready <- url }, Listening: func(url string) { listening <- url },
		})
	}()
	second := &running{t: t, url: <-listening}
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	want := strings.TrimPrefix(first.url, "http:")
	deadline := time.Now().Add(10 * time.Second)
	for {
		status, _, header := second.get("/redirect")
		if status == 307 && header.Get("Location") == want {
			break
		}
		if status != 503 || time.Now().After(deadline) {
			t.Fatalf("the second master answers %d %s, want 307 %s", status, header.Get("Location"), want)
		}
	}
	if status, _, header := second.get("/api/v1"); status != 307 || header.Get("Location") != want+"/api/v1" {
		t.Errorf("/api/v1 of the second master: %d %s", status, header.Get("Location"))
	}
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	if url := <-ready; url != second.url {
		t.Errorf("ready at %s, want %s", url, second.url)
	}
	if _, _, header := second.get("/redirect"); header.Get("Location") != strings.TrimPrefix(second.url, "http:") {
		t.Errorf("the new leader points at %s", header.Get("Location"))
	}
}

// A master that loses its leadership closes its frameworks' streams and ends; what
// frameworks hear next is the new one's.
func TestLostLeadershipClosesStreamsAndEnds(t *testing.T) {
	space := memory.NewSpace()
	handle := space.Open()
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- master.Run(context.Background(), master.Config{
			Listen: "127.0.0.1:0", Store: handle, Log: slog.New(slog.DiscardHandler),
			State: state.Config{Seed: 1, Version: "0.1-test"}, Ready: func(url string) { ready <- url },
		})
	}()
	m := &running{t: t, url: <-ready}
	defer http.DefaultClient.CloseIdleConnections()
	f := m.subscribe(codec.JSON, multiRole("f"))
	f.begin()
	a := m.agent(registration())
	f.want(schedulerpb.Event_OFFERS)
	if err := handle.Close(); err != nil { // as a lease that could not be renewed
		t.Fatal(err)
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), "leadership was lost") {
		t.Errorf("the master ended with %v", err)
	}
	var err error
	if _, err := f.events.Read(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the stream ended with %v, want it broken", err)
	}
	if err := a.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for err == nil { // a frame may have been on its way
		err = a.r.Read(&stoapb.ToAgent{})
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the agent's link goes on")
	}
}
