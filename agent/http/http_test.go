package http

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	agentpb "github.com/stoa-kernel/stoa/api/mesos/v1/agent"
	executorpb "github.com/stoa-kernel/stoa/api/mesos/v1/executor"

	"github.com/stoa-kernel/stoa/agent/sandbox"
	"github.com/stoa-kernel/stoa/agent/state"
	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/internal/listen"
	"github.com/stoa-kernel/stoa/internal/recordio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connections may stand besides streams.
const connections = 16

// fixture is a server on loopback whose loop is the test.
type fixture struct {
	*Server
	url    string
	inputs chan state.Input
	log    *safe
}

type safe struct {
	mu sync.Mutex
	bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Buffer.Write(p)
}

func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Buffer.String()
}

// serve starts a server. loop, if not nil, is called for every input, on the goroutine
// that submits it; otherwise inputs come on the channel.
func serve(t *testing.T, limits Limits, loop func(*Server, state.Input)) *fixture {
	t.Helper()
	f := &fixture{inputs: make(chan state.Input, 64), log: &safe{}}
	work := t.TempDir()
	box := filepath.Join(work, "slaves/S/frameworks/F/executors/E/runs/c")
	if err := errors.Join(sandbox.Create(work, box, ""), os.WriteFile(box+"/stdout", bytes.Repeat([]byte("line\n"), 2000), 0o644)); err != nil {
		t.Fatal(err)
	}
	f.Server = New(Config{
		Submit: func(ctx context.Context, in state.Input) error {
			if loop != nil {
				loop(f.Server, in)
				return nil
			}
			select {
			case f.inputs <- in:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		Files:   sandbox.NewFiles(work),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "metrics") }),
		Log:     slog.New(slog.NewTextHandler(f.log, nil)),
		Version: "1.2.3",
		Limits:  limits,
	})
	f.Recovered()
	server := httptest.NewUnstartedServer(f.Server)
	server.Listener = listen.Limit(server.Listener, connections)
	server.Config.ConnContext = listen.Context
	server.Start()
	t.Cleanup(func() {
		f.Close()
		server.Close()
	})
	f.url = server.URL
	return f
}

func (f *fixture) post(t *testing.T, path string, header map[string]string, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	return resp, string(b)
}

var isJSON = map[string]string{"Content-Type": "application/json"}

const ids = `"executor_id":{"value":"e"},"framework_id":{"value":"f"}`

// TestStatus walks the refusals in the order they are tested.
func TestStatus(t *testing.T) {
	f := serve(t, Limits{Body: 1 << 20}, func(s *Server, in state.Input) {
		switch in := in.(type) {
		case state.ExecutorCall:
			if in.Call.GetFrameworkId().GetValue() == "f" {
				s.Answer(state.Answer{Token: in.Token, Status: 202})
			} else {
				s.Answer(state.Answer{Token: in.Token, Status: 400, Message: "Framework cannot be found"})
			}
		case state.ExecutorSubscribe:
			s.Answer(state.Answer{Token: in.Token, Status: 400, Message: "Executor cannot be found"})
		}
	})
	message := `{"type":"MESSAGE",` + ids + `,"message":{"data":"aGk="}}`
	for _, c := range []struct {
		path, contentType, accept, body string
		status                          int
		want                            string
	}{
		{"/api/v1/executor", "application/json", "", message, 202, ""},
		{"/slave(1)/api/v1/executor", "application/json", "", message, 202, ""},
		{"/api/v1/executor/more", "application/json", "", message, 202, ""},
		{"//api/v1//executor", "application/json", "", message, 202, ""},
		{"/api/v1/executor", "application/json", "text/html", message, 202, ""}, // Accept matters for SUBSCRIBE only
		{"/api/v1/executor", "", "", message, 400, "Expecting 'Content-Type' to be present"},
		{"/api/v1/executor", "application/json; charset=utf-8", "", message, 415, "Expecting 'Content-Type' of application/json or application/x-protobuf"},
		{"/api/v1/executor", "application/json", "", "{", 400, "Failed to parse body into JSON: "},
		{"/api/v1/executor", "application/json", "", "[]", 400, "Failed to convert JSON into Call protobuf: "},
		{"/api/v1/executor", "application/json", "", strings.Repeat(`{"a":`, 10_000), 400, "Failed to parse body into JSON: "},
		{"/api/v1/executor", "application/x-protobuf", "", "\xff", 400, "Failed to parse body into Call protobuf: "},
		{"/api/v1/executor", "application/json", "", `{"type":"MESSAGE","message":{"data":""}}`, 400, "executor_id"},
		{"/api/v1/executor", "application/json", "", `{` + ids + `}`, 400, "Failed to validate Executor::Call: Expecting 'type' to be present"},
		{"/api/v1/executor", "application/json", "", `{"type":"SUBSCRIBE",` + ids + `}`, 400, "Expecting 'subscribe' to be present"},
		{"/api/v1/executor", "application/json", "", `{"type":"UPDATE",` + ids + `}`, 400, "Expecting 'update' to be present"},
		{"/api/v1/executor", "application/json", "", `{"type":"MESSAGE",` + ids + `}`, 400, "Expecting 'message' to be present"},
		{"/api/v1/executor", "application/json", "text/html", `{"type":"SUBSCRIBE",` + ids + `,"subscribe":{}}`, 406, "Expecting 'Accept' to allow"},
		{"/api/v1/executor", "application/json", "", `{"type":"SUBSCRIBE",` + ids + `,"subscribe":{}}`, 400, "Executor cannot be found"},
		{"/api/v1/executor", "application/json", "", `{"type":"HEARTBEAT",` + strings.ReplaceAll(ids, `"f"`, `"dummy"`) + `}`, 202, ""},
		{"/api/v1/executor", "application/json", "", strings.Replace(message, `"f"`, `"g"`, 1), 400, "Framework cannot be found"},
		{"/api/v1/executor", "application/json", "", `{"type":"UNKNOWN",` + ids + `}`, 501, "unknown type"},
		{"/api/v1/executor", "application/json", "", strings.Repeat(" ", 2<<20), 413, "longer than 1048576 bytes"},
		{"/api/v1", "application/json", "", `{"type":"GET_HEALTH"}`, 200, `{"type":"GET_HEALTH","get_health":{"healthy":true}}`},
		{"/slave(1)/api/v1", "application/json", "", `{"type":"GET_HEALTH"}`, 200, `{"type":"GET_HEALTH"`},
		{"/api/v1", "", "", `{"type":"GET_HEALTH"}`, 400, "Expecting 'Content-Type' to be present"},
		{"/api/v1", "text/plain", "", `{"type":"GET_HEALTH"}`, 415, "Expecting 'Content-Type' of"},
		{"/api/v1", "application/json", "text/html", `{"type":"GET_HEALTH"}`, 406, "Expecting 'Accept' to allow"},
		{"/api/v1", "application/json", "", `{}`, 400, "Expecting 'type' to be present"},
		{"/api/v1", "application/json", "", `{"type":"LIST_FILES"}`, 400, "Expecting 'list_files' to be present"},
		{"/api/v1", "application/json", "", `{"type":"READ_FILE"}`, 400, "Expecting 'read_file' to be present"},
		{"/api/v1", "application/json", "", `{"type":"READ_FILE","read_file":{"path":"/etc/passwd","offset":0}}`, 404, "no such file in a sandbox"},
		{"/api/v1", "application/json", "", `{"type":"READ_FILE","read_file":{"path":"x","offset":0}}`, 400, "must begin with a slash"},
		{"/api/v1", "application/json", "", `{"type":"GET_STATE"}`, 501, "The agent call GET_STATE is not served"},
		{"/api/v1", "application/json", "", `{"type":"UNKNOWN"}`, 501, "unknown type"},
		{"/state", "", "", "", 404, "there is nothing at '/state'"},
		{"/", "", "", "", 404, "there is nothing at"},
	} {
		header := map[string]string{}
		if c.contentType != "" {
			header["Content-Type"] = c.contentType
		}
		if c.accept != "" {
			header["Accept"] = c.accept
		}
		resp, body := f.post(t, c.path, header, c.body)
		if resp.StatusCode != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %.80s: %d %q, want %d %q", c.path, c.body, resp.StatusCode, body, c.status, c.want)
		}
	}
	for path, want := range map[string]int{"/api/v1": 405, "/api/v1/executor": 405, "/health": 200, "/version": 200, "/metrics": 200, "/metrics/snapshot": 404, "/slave(1)/health": 200, "/nothing": 404} {
		resp, err := http.Get(f.url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want || want == 405 && resp.Header.Get("Allow") != "POST" || want == 200 && path == "/health" && len(body) != 0 {
			t.Errorf("GET %s: %v %q", path, resp.Status, body)
		}
		if path == "/version" {
			var v struct{ Version string }
			if err := json.Unmarshal(body, &v); err != nil || v.Version != "1.2.3" {
				t.Errorf("/version: %s, %v", body, err)
			}
		}
	}
}

func TestRecovering(t *testing.T) {
	f := serve(t, Limits{}, nil)
	f.recovered.Store(false)
	for _, path := range []string{"/api/v1", "/api/v1/executor"} {
		if resp, body := f.post(t, path, nil, ""); resp.StatusCode != 503 || body != "Agent has not finished recovery" {
			t.Errorf("%s: %d %q", path, resp.StatusCode, body)
		}
	}
	if resp, _ := f.post(t, "/health", nil, ""); resp.StatusCode != 200 {
		t.Errorf("/health: %d", resp.StatusCode)
	}
}

// subscribe opens a stream as an executor does.
func (f *fixture) subscribe(t *testing.T, c codec.Codec) *http.Response {
	t.Helper()
	call := &executorpb.Call{Type: executorpb.Call_SUBSCRIBE.Enum(), Subscribe: &executorpb.Call_Subscribe{},
		ExecutorId: &mesos.ExecutorID{Value: proto.String("e")}, FrameworkId: &mesos.FrameworkID{Value: proto.String("f")}}
	body, err := c.Append(nil, call)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/api/v1/executor", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", c.String())
	req.Header.Set("Accept", c.String())
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// An executor that is quiet keeps its stream, however many connections come.
func TestAFloodLeavesStreams(t *testing.T) {
	streams := make(chan state.Stream, 1)
	f := serve(t, Limits{}, func(s *Server, in state.Input) {
		if in, ok := in.(state.ExecutorSubscribe); ok {
			s.Answer(state.Answer{Token: in.Token, Status: 200})
			streams <- in.Stream
		}
	})
	resp := f.subscribe(t, codec.JSON)
	for range 3 * connections {
		conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if r, _ := f.post(t, "/api/v1", isJSON, `{"type":"GET_HEALTH"}`); r.StatusCode != 200 {
		t.Fatal(r.Status)
	}
	f.Send(<-streams, message(1))
	b, err := recordio.NewReader(resp.Body, 0).Read()
	if err != nil || !bytes.Contains(b, []byte("MESSAGE")) {
		t.Fatalf("%s %v", b, err)
	}
}

func message(n int) *executorpb.Event {
	return &executorpb.Event{Type: executorpb.Event_MESSAGE.Enum(), Message: &executorpb.Event_Message{Data: fmt.Appendf(nil, "%d", n)}}
}

func TestStream(t *testing.T) {
	for c := range codec.Count {
		t.Run(c.String(), func(t *testing.T) {
			f := serve(t, Limits{}, func(s *Server, in state.Input) {
				if in, ok := in.(state.ExecutorSubscribe); ok {
					// Events may come before and after the answer.
					s.Send(in.Stream, message(0))
					s.Answer(state.Answer{Token: in.Token, Status: 200})
					for n := 1; n < 1000; n++ {
						s.Send(in.Stream, message(n))
					}
					s.CloseStream(in.Stream)
					s.Send(in.Stream, message(1000)) // too late
				} else {
					t.Errorf("input %T", in) // the core closed it: it is not told
				}
			})
			resp := f.subscribe(t, c)
			if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != c.String() {
				t.Fatalf("%s %s", resp.Status, resp.Header)
			}
			r := recordio.NewReader(resp.Body, 0)
			for n := range 1000 {
				b, err := r.Read()
				if err != nil {
					t.Fatal(err)
				}
				var e executorpb.Event
				if err := c.Unmarshal(b, &e); err != nil {
					t.Fatal(err)
				}
				if !proto.Equal(&e, message(n)) {
					t.Fatalf("event %d is %v", n, &e)
				}
			}
			if _, err := r.Read(); err != io.EOF {
				t.Fatalf("at the end: %v", err)
			}
			if f.Streams() != 0 {
				t.Fatal("the stream is still there")
			}
		})
	}
}

// TestExecutorGone: the loop is told once when the executor goes.
func TestExecutorGone(t *testing.T) {
	f := serve(t, Limits{}, nil)
	go func() {
		in := (<-f.inputs).(state.ExecutorSubscribe)
		f.Answer(state.Answer{Token: in.Token, Status: 200})
	}()
	resp := f.subscribe(t, codec.JSON)
	resp.Body.Close()
	if in, ok := (<-f.inputs).(state.ExecutorGone); !ok || in.Stream == 0 {
		t.Fatalf("input %#v", in)
	}
}

// TestClose: at the agent's end streams break off, so that executors come back, and
// calls that wait are answered.
func TestClose(t *testing.T) {
	f := serve(t, Limits{}, nil)
	go func() {
		in := (<-f.inputs).(state.ExecutorSubscribe)
		f.Answer(state.Answer{Token: in.Token, Status: 200})
		<-f.inputs // the call, which gets no answer
		f.Close()
	}()
	resp := f.subscribe(t, codec.JSON)
	answer, body := f.post(t, "/api/v1/executor", isJSON, `{"type":"MESSAGE",`+ids+`,"message":{"data":""}}`)
	if answer.StatusCode != 503 || !strings.Contains(body, "going down") {
		t.Fatalf("%d %s", answer.StatusCode, body)
	}
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("the stream ended with %v", err)
	}
	if resp, _ := f.post(t, "/api/v1/executor", isJSON, `{"type":"SUBSCRIBE",`+ids+`,"subscribe":{}}`); resp.StatusCode != 503 {
		t.Fatalf("subscribed to a closed server: %d", resp.StatusCode)
	}
}

func TestNoAnswer(t *testing.T) {
	f := serve(t, Limits{AnswerTimeout: time.Millisecond}, func(*Server, state.Input) {})
	resp, body := f.post(t, "/api/v1/executor", isJSON, `{"type":"MESSAGE",`+ids+`,"message":{"data":""}}`)
	if resp.StatusCode != 503 || !strings.Contains(body, "did not answer within 1ms") {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	f.Answer(state.Answer{Token: 1, Status: 202}) // too late; harmless
}

// TestSlowExecutor: one that reads nothing is cut off, by its queue or by time.
func TestSlowExecutor(t *testing.T) {
	big := &executorpb.Event{Type: executorpb.Event_MESSAGE.Enum(), Message: &executorpb.Event_Message{Data: make([]byte, 1<<20)}}
	for name, c := range map[string]struct {
		limits Limits
		events int
	}{
		"queue": {Limits{Stream: 8 << 20, WriteTimeout: time.Minute}, 100},
		"time":  {Limits{Stream: 1 << 30, WriteTimeout: 50 * time.Millisecond}, 40},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, c.limits, nil)
			conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			body := `{"type":"SUBSCRIBE",` + ids + `,"subscribe":{}}`
			fmt.Fprintf(conn, "POST /api/v1/executor HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAccept: application/x-protobuf\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			in := (<-f.inputs).(state.ExecutorSubscribe)
			f.Answer(state.Answer{Token: in.Token, Status: 200})
			for range c.events {
				f.Send(in.Stream, big)
			}
			if gone, ok := (<-f.inputs).(state.ExecutorGone); !ok || gone.Stream != in.Stream {
				t.Fatalf("input %#v", gone)
			}
			// The line was written before the loop was told; then the connection closes.
			if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !strings.Contains(err.Error(), "reset") {
				t.Fatal(err)
			}
			if f.CutOff.Load() != 1 || !strings.Contains(f.log.String(), "executor stream cut off") {
				t.Fatalf("%d cut off, log %q", f.CutOff.Load(), f.log)
			}
		})
	}
}

// TestSlowBody: a body that does not come costs its sender the connection, in time.
func TestSlowBody(t *testing.T) {
	f := serve(t, Limits{BodyTimeout: 20 * time.Millisecond}, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 408 {
		t.Fatal(resp.Status)
	}
}

func TestFiles(t *testing.T) {
	f := serve(t, Limits{}, nil)
	header := map[string]string{"Content-Type": "application/json", "Accept": "application/x-protobuf", "Accept-Encoding": "gzip"}
	resp, body := f.post(t, "/api/v1", header, `{"type":"READ_FILE","read_file":{"path":"/frameworks/F/executors/E/runs/latest/stdout","offset":5}}`)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Encoding") != "gzip" || resp.Header.Get("Content-Type") != "application/x-protobuf" {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	z, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var r agentpb.Response
	if err := proto.Unmarshal(plain, &r); err != nil {
		t.Fatal(err)
	}
	if r.GetReadFile().GetSize() != 10_000 || !bytes.Equal(r.GetReadFile().GetData(), bytes.Repeat([]byte("line\n"), 1999)) {
		t.Fatalf("size %d, %d bytes", r.GetReadFile().GetSize(), len(r.GetReadFile().GetData()))
	}
	header["Accept-Encoding"] = "gzip;q=0"
	resp, body = f.post(t, "/api/v1", header, `{"type":"LIST_FILES","list_files":{"path":"/frameworks/F/executors/E/runs/latest"}}`)
	if err := proto.Unmarshal([]byte(body), &r); err != nil || resp.Header.Get("Content-Encoding") != "" {
		t.Fatal(err, resp.Header)
	}
	if infos := r.GetListFiles().GetFileInfos(); len(infos) != 1 || infos[0].GetPath() != "/frameworks/F/executors/E/runs/latest/stdout" {
		t.Fatalf("%v", infos)
	}
}
