package http_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/api/mesosjson"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/frame"
	"github.com/stoa-kernel/stoa/internal/recordio"
	"github.com/stoa-kernel/stoa/master"
	masterhttp "github.com/stoa-kernel/stoa/master/http"
	"github.com/stoa-kernel/stoa/master/state"
	"github.com/stoa-kernel/stoa/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is what docs/api-errors.md describes.
type cluster struct {
	t    *testing.T
	addr string
	vars map[string]string
	uuid []byte
	// hashes asks the loop for the core's.
	hashes chan chan<- uint64
}

type framework struct {
	id, stream string
	events     *recordio.Reader
	passed     []*schedulerpb.Event // read while another kind was looked for
}

func newCluster(t *testing.T) *cluster { return newClusterWith(t, 0) }

// newClusterWith lets so many connections stand.
func newClusterWith(t *testing.T, connections int) *cluster {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	hashes := make(chan chan<- uint64)
	go func() {
		done <- master.Run(ctx, master.Config{
			Listen: "127.0.0.1:0", Store: memory.New(), Log: slog.New(slog.DiscardHandler),
			// Pings would be changes.
			State:       state.Config{Seed: 1, Version: "test", AgentPingInterval: time.Hour},
			Connections: connections,
			Hashes:      hashes,
			Limits:      masterhttp.Limits{BodyTimeout: 3 * time.Second, FilesTimeout: 300 * time.Millisecond, HeaderTimeout: 500 * time.Millisecond},
			Ready:       func(url string) { ready <- url },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the master ended with %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	c := &cluster{t: t, hashes: hashes, addr: strings.TrimPrefix(<-ready, "http://"), uuid: []byte("0123456789abcdef")}
	agentID := c.agent()
	own := c.subscribe("own", "a")
	offer := own.offer(t)
	c.launch(own, offer, agentID, "t")
	offer = own.offer(t)
	other := c.subscribe("other", "b")
	// The offer is the whole agent: give the other framework its share.
	c.decline(own, offer)
	offer = other.offer(t)
	c.launch(other, offer, agentID, "o")
	c.decline(other, other.offer(t))
	c.call(own, `{"type":"REVIVE"}`)
	c.vars = map[string]string{
		"$FRAMEWORK": own.id, "$STREAM": own.stream, "$OTHER": other.id, "$OTHER_STREAM": other.stream,
		"$AGENT": agentID, "$OFFER": own.offer(t), "$UUID": base64.StdEncoding.EncodeToString(c.uuid),
	}
	for _, f := range []*framework{own, other} {
		go func() { // ends with the stream
			for {
				if _, err := f.events.Read(); err != nil {
					return
				}
			}
		}()
	}
	return c
}

// agent connects an agent that runs whatever it is told to.
func (c *cluster) agent() (id string) {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: m\r\nConnection: Upgrade\r\nUpgrade: %s\r\nContent-Length: 0\r\n\r\n", frame.Path, frame.Protocol)
	buffered := bufio.NewReader(conn)
	if w, err := http.ReadResponse(buffered, nil); err != nil || w.StatusCode != http.StatusSwitchingProtocols {
		c.t.Fatalf("upgrade: %v %v", w, err)
	}
	r, w := frame.NewReader(buffered), frame.NewWriter(conn)
	send := func(m *stoapb.ToMaster) error { return errors.Join(w.Write(m), w.Flush()) }
	scalar := func(name string, v float64) *mesos.Resource {
		return &mesos.Resource{Name: &name, Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: &v}}
	}
	resources := []*mesos.Resource{scalar("cpus", 4), scalar("mem", 1024)}
	if err := send(&stoapb.ToMaster{Body: &stoapb.ToMaster_Register{Register: &stoapb.Register{
		Protocol: proto.Uint32(1), StoaVersion: proto.String("test"), Ip: proto.String("127.0.0.1"), BootId: proto.String("boot"), Resources: resources,
		Info: &mesos.AgentInfo{Hostname: proto.String("host"), Port: proto.Int32(5051), Resources: resources},
	}}}); err != nil {
		c.t.Fatal(err)
	}
	var m stoapb.ToAgent
	if err := r.Read(&m); err != nil || m.GetRegistered() == nil {
		c.t.Fatalf("registration: %v %v", &m, err)
	}
	id = m.GetRegistered().GetAgentId().GetValue()
	go func() { // ends with the connection
		for {
			var m stoapb.ToAgent
			if r.Read(&m) != nil {
				return
			}
			var out *stoapb.ToMaster
			switch {
			case m.GetPing() != nil:
				out = &stoapb.ToMaster{Body: &stoapb.ToMaster_Pong{Pong: &stoapb.Pong{Seq: m.GetPing().Seq}}}
			case m.GetRunTask() != nil:
				run := m.GetRunTask()
				out = &stoapb.ToMaster{Body: &stoapb.ToMaster_Update{Update: &stoapb.Update{
					FrameworkId: run.GetFramework().Id, LatestState: mesos.TaskState_TASK_RUNNING.Enum(),
					Status: &mesos.TaskStatus{
						TaskId: run.GetTask().TaskId, AgentId: run.GetTask().AgentId, State: mesos.TaskState_TASK_RUNNING.Enum(),
						Source: mesos.TaskStatus_SOURCE_EXECUTOR.Enum(), Uuid: c.uuid, Timestamp: proto.Float64(1),
					},
				}}}
			default:
				continue
			}
			if send(out) != nil {
				return
			}
		}
	}()
	return id
}

func (c *cluster) subscribe(name, role string) *framework {
	c.t.Helper()
	body := fmt.Sprintf(`{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":%q,"role":%q,"failover_timeout":3600}}}`, name, role)
	r, err := http.NewRequest("POST", "http://"+c.addr+"/api/v1/scheduler", strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { w.Body.Close() })
	f := &framework{stream: w.Header.Get("Mesos-Stream-Id"), events: recordio.NewReader(w.Body, 0)}
	f.id = f.event(c.t, schedulerpb.Event_SUBSCRIBED).GetSubscribed().GetFrameworkId().GetValue()
	return f
}

// event is the next of a kind.
func (f *framework) event(t *testing.T, kind schedulerpb.Event_Type) *schedulerpb.Event {
	t.Helper()
	for i, e := range f.passed {
		if e.GetType() == kind {
			f.passed = slices.Delete(f.passed, i, i+1)
			return e
		}
	}
	for {
		b, err := f.events.Read()
		if err != nil {
			t.Fatal(err)
		}
		var e schedulerpb.Event
		if err := mesosjson.Unmarshal(b, &e); err != nil {
			t.Fatal(err)
		}
		if e.GetType() == kind {
			return &e
		}
		f.passed = append(f.passed, &e)
	}
}

func (f *framework) offer(t *testing.T) string {
	t.Helper()
	return f.event(t, schedulerpb.Event_OFFERS).GetOffers().GetOffers()[0].GetId().GetValue()
}

func (c *cluster) call(f *framework, body string) {
	c.t.Helper()
	body = fmt.Sprintf(`{"framework_id":{"value":%q},%s`, f.id, body[1:])
	r, err := http.NewRequest("POST", "http://"+c.addr+"/api/v1/scheduler", strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Mesos-Stream-Id", f.stream)
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	b, err := io.ReadAll(w.Body)
	w.Body.Close()
	if w.StatusCode != 202 || err != nil {
		c.t.Fatalf("%s: %d %s %v", body, w.StatusCode, b, err)
	}
}

func (c *cluster) launch(f *framework, offer, agent, task string) {
	c.t.Helper()
	c.call(f, fmt.Sprintf(`{"type":"ACCEPT","accept":{"offer_ids":[{"value":%q}],"filters":{"refuse_seconds":0},"operations":[{"type":"LAUNCH","launch":{"task_infos":[`+
		`{"name":"t","task_id":{"value":%q},"agent_id":{"value":%q},"command":{"value":"sleep 1000"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1}},{"name":"mem","type":"SCALAR","scalar":{"value":64}}]}]}}]}}`,
		offer, task, agent))
	f.event(c.t, schedulerpb.Event_UPDATE)
}

func (c *cluster) decline(f *framework, offer string) {
	c.t.Helper()
	c.call(f, fmt.Sprintf(`{"type":"DECLINE","decline":{"offer_ids":[{"value":%q}],"filters":{"refuse_seconds":86400}}}`, offer))
}

// row is one line of a table.
type row struct {
	line                           int
	call, wrong, request, expected string
	status                         int
}

func rows(t *testing.T) []row {
	t.Helper()
	b, err := os.ReadFile("../../docs/api-errors.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []row
	for i, line := range strings.Split(string(b), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "|") || len(cells) != 5 {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		status, err := strconv.Atoi(cells[3])
		if err != nil {
			continue // the head
		}
		out = append(out, row{i + 1, cells[0], cells[1], strings.Trim(cells[2], "`"), cells[4], status})
	}
	if len(out) < 90 {
		t.Fatalf("only %d rows read: the page's form changed", len(out))
	}
	return out
}

var repeat = regexp.MustCompile(`(\d+)×'([^']*)'`)

// request makes the bytes of a request; half says that the client stops there.
func (c *cluster) raw(t *testing.T, text string) (b []byte, half bool) {
	t.Helper()
	for k, v := range c.vars {
		// Longer names first is not needed: no name is the beginning of one in use
		// except $OTHER of $OTHER_STREAM.
		if k == "$OTHER" {
			continue
		}
		text = strings.ReplaceAll(text, k, v)
	}
	text = strings.ReplaceAll(text, "$OTHER", c.vars["$OTHER"])
	head, body, hasBody := strings.Cut(text, " -- ")
	grow := func(s string) string {
		return repeat.ReplaceAllStringFunc(s, func(m string) string {
			p := repeat.FindStringSubmatch(m)
			n, err := strconv.Atoi(p[1])
			if err != nil {
				t.Fatal(err)
			}
			return strings.Repeat(p[2], n)
		})
	}
	head, body = grow(head), grow(body)
	body, half = strings.CutSuffix(body, "…")
	content := []byte(body)
	if digits, ok := strings.CutPrefix(body, "hex:"); ok {
		var err error
		if content, err = hex.DecodeString(strings.ReplaceAll(digits, " ", "")); err != nil {
			t.Fatalf("%v in %.60s", err, digits)
		}
	}
	words := strings.Fields(head)
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\nHost: m\r\nConnection: close\r\n", words[0], words[1])
	chunked := false
	for _, w := range words[2:] {
		switch name, value, _ := strings.Cut(w, "="); name {
		case "json":
			out.WriteString("Content-Type: application/json\r\n")
		case "protobuf":
			out.WriteString("Content-Type: application/x-protobuf\r\n")
		case ":stream":
			out.WriteString("Mesos-Stream-Id: " + c.vars["$STREAM"] + "\r\n")
		case "chunked":
			chunked = true
		default:
			out.WriteString(name + ": " + value + "\r\n")
		}
	}
	switch {
	case chunked:
		fmt.Fprintf(&out, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(content), content)
		if !half {
			out.WriteString("0\r\n\r\n")
		}
	case hasBody || words[0] == "POST":
		n := len(content)
		if half {
			n += 100
		}
		fmt.Fprintf(&out, "Content-Length: %d\r\n\r\n%s", n, content)
	default:
		out.WriteString("\r\n")
	}
	return out.Bytes(), half
}

// send writes a request and reads the answer, even if the server answers before it has
// read all.
func (c *cluster) send(t *testing.T, b []byte) (int, string) {
	t.Helper()
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = conn.Write(b) // cut short when the server has seen enough
	}()
	w, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer w.Body.Close()
	if w.Header.Get("Mesos-Stream-Id") != "" {
		record, err := recordio.NewReader(w.Body, 0).Read()
		if err != nil {
			t.Fatalf("stream: %v", err)
		}
		var e schedulerpb.Event
		if err := mesosjson.Unmarshal(record, &e); err != nil {
			t.Fatal(err)
		}
		return w.StatusCode, "ERROR: " + e.GetError().GetMessage()
	}
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatalf("answer cut short: %v", err)
	}
	conn.Close()
	<-written
	return w.StatusCode, string(body)
}

// state is all that operators can see of the cluster.
func (c *cluster) state(t *testing.T) string {
	t.Helper()
	var all string
	for _, call := range []string{"GET_STATE", "GET_ROLES", "GET_QUOTA", "GET_WEIGHTS"} {
		b, _ := c.raw(t, `POST /api/v1 json -- {"type":"`+call+`"}`)
		status, body := c.send(t, b)
		if status != 200 {
			t.Fatalf("%s: %d %s", call, status, body)
		}
		all += body
	}
	return all
}

// hash is of all that the core can observe.
func (c *cluster) hash() uint64 {
	answer := make(chan uint64, 1)
	c.hashes <- answer
	return <-answer
}

func TestBadRequestsGetTheDocumentedAnswer(t *testing.T) {
	c := newCluster(t)
	before := c.state(t)
	if strings.Count(before, `"TASK_RUNNING"`) < 2 || !strings.Contains(before, c.vars["$OFFER"]) {
		t.Fatalf("the cluster is not as the page says: %s", before)
	}

	// All that is allocated on a request's way bounds what it can hold.
	allocated := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.TotalAlloc
	}
	other, _ := c.raw(t, `POST /api/v1/scheduler json Mesos-Stream-Id=$OTHER_STREAM -- {"type":"REVIVE","framework_id":{"value":"$OTHER"},"revive":{"roles":["x"]}}`)

	hash := c.hash()
	for _, r := range rows(t) {
		b, half := c.raw(t, r.request)
		start := allocated()
		status, body := c.send(t, b)
		if n := allocated() - start; n > 64<<20 {
			t.Errorf("line %d, %s, %s: cost %d MiB", r.line, r.call, r.wrong, n>>20)
		}
		want, open := strings.CutSuffix(r.expected, "…")
		for k, v := range c.vars {
			want = strings.ReplaceAll(want, k, v)
		}
		if status != r.status || !open && body != want || !strings.HasPrefix(body, want) {
			t.Errorf("line %d, %s, %s: %d %q, documented %d %q", r.line, r.call, r.wrong, status, body, r.status, r.expected)
		}
		if half && status != 408 {
			t.Errorf("line %d: half a request was answered %d", r.line, status)
		}
		if status, body := c.send(t, other); status != 202 {
			t.Fatalf("line %d: the other framework's call was answered %d %s", r.line, status, body)
		}
		if after := c.hash(); after != hash {
			t.Fatalf("line %d, %s, %s: the core's state changed", r.line, r.call, r.wrong)
		}
		if after := c.state(t); after != before {
			t.Fatalf("line %d, %s, %s: the cluster changed\nfrom %s\nto   %s", r.line, r.call, r.wrong, before, after)
		}
	}
	// The hash would have shown the least change.
	least, _ := c.raw(t, `POST /api/v1/scheduler json :stream -- {"type":"SUPPRESS","framework_id":{"value":"$FRAMEWORK"}}`)
	if status, body := c.send(t, least); status != 202 || c.hash() == hash {
		t.Errorf("SUPPRESS was answered %d %s and changed nothing", status, body)
	}
}

// A flood of connections that say nothing, or only begin to, costs those who hold them,
// not the agent, the frameworks' streams or whoever comes and asks.
func TestAFloodOfConnectionsStarvesNobody(t *testing.T) {
	const room, flood = 8, 100
	c := newClusterWith(t, room)
	http.DefaultClient.CloseIdleConnections()
	hash := c.hash()
	call, _ := c.raw(t, `POST /api/v1/scheduler json Mesos-Stream-Id=$OTHER_STREAM -- {"type":"REVIVE","framework_id":{"value":"$OTHER"},"revive":{"roles":["x"]}}`)
	var conns []net.Conn
	for i := range flood {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
		say := []string{"", "POST /api/v1", "POST /api/v1/scheduler HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"}[i%3]
		_, _ = io.WriteString(conn, say) // perhaps closed by now
		if status, body := c.send(t, call); status != 202 {
			t.Fatalf("after %d connections the other framework's call was answered %d %s", i+1, status, body)
		}
	}
	for i, conn := range conns[:flood-room] {
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		var timeout net.Error
		if _, err := io.ReadAll(conn); errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("connection %d of the flood still stands", i)
		}
	}
	if c.hash() != hash {
		t.Error("the agent or a framework lost its connection")
	}
}

// Clients that say a little and then nothing, all at once, while another framework
// works on.
func TestSlowClientsHoldUpNobody(t *testing.T) {
	c := newCluster(t)
	var conns []net.Conn
	for i := range 200 {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
		say := "POST /api/v1/scheduler HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\n"
		switch i % 4 {
		case 1:
			say += "Content-Length: 1000000\r\n\r\n{"
		case 2:
			say += "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"typ"
		case 3:
			say = ""
		}
		if _, err := io.WriteString(conn, say); err != nil {
			t.Fatal(err)
		}
	}
	call, _ := c.raw(t, `POST /api/v1/scheduler json Mesos-Stream-Id=$OTHER_STREAM -- {"type":"REVIVE","framework_id":{"value":"$OTHER"},"revive":{"roles":["x"]}}`)
	for range 100 {
		if status, body := c.send(t, call); status != 202 {
			t.Fatalf("the other framework's call was answered %d %s", status, body)
		}
	}
	for i, conn := range conns {
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(conn)
		if err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
			t.Errorf("client %d is still served: %v", i, err)
		}
		if want := i%4 == 1 || i%4 == 2; want != bytes.Contains(b, []byte(" 408 ")) {
			t.Errorf("client %d was told %q", i, b)
		}
	}
}
