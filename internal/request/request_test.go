package request

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	agentpb "github.com/stoa-kernel/stoa/api/mesos/v1/agent"
)

func TestTheLongestPathServes(t *testing.T) {
	routes := Routes[string]{Root: "master", Paths: map[string]string{
		"/api/v1": "operator", "/api/v1/scheduler": "scheduler", "/master/link": "link", "/master": "root",
	}}
	for _, tt := range []struct{ path, to, below string }{
		{"/api/v1", "operator", ""},
		{"/api/v1/", "operator", ""},
		{"//api//v1/operator", "operator", "operator"},
		{"/api/v1/scheduler", "scheduler", ""},
		{"/master/api/v1/scheduler/a/b/", "scheduler", "a/b"},
		{"/master/link", "link", ""},
		{"/master", "root", ""},
		{"/api", "", ""},
		{"/slave/api/v1", "", ""},
		{"/master/master/api/v1", "root", "api/v1"},
		{"/", "", ""},
		{"", "", ""},
	} {
		to, below, ok := routes.Find(tt.path)
		if to != tt.to || below != tt.below || ok != (tt.to != "") {
			t.Errorf("%q: %q, %q, %v; want %q, %q", tt.path, to, below, ok, tt.to, tt.below)
		}
	}
}

func TestRefusalsSayBackLittle(t *testing.T) {
	w := httptest.NewRecorder()
	if IsPost(w, httptest.NewRequest(strings.Repeat("A", 1000), "/", nil)) {
		t.Fatal("that is no POST")
	}
	if w.Code != 405 || w.Header().Get("Allow") != "POST" || w.Body.Len() > 300 || !strings.HasPrefix(w.Body.String(), "Expecting one of { 'POST' }, but received 'AAA") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if !IsPost(w, httptest.NewRequest("POST", "/", nil)) {
		t.Error("a POST is refused")
	}
}

// all reports whether nothing of a room is taken.
func (r *room) all() bool {
	ok := r.TryAcquire(r.size)
	if ok {
		r.Release(r.size)
	}
	return ok
}

// TestLargeBodiesShareABudget: a body waits for it, gives up in time, and gives it back.
func TestLargeBodiesShareABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBodies(4<<20, time.Second, 4<<20)
		read := func(size int) (*Body, *Refusal) {
			content := bytes.Repeat([]byte("x"), size)
			body, refused := b.Read(httptest.NewRecorder(), httptest.NewRequest("POST", "/", bytes.NewReader(content)))
			if refused == nil && !bytes.Equal(body.Bytes, content) {
				t.Errorf("of %d bytes %d came", size, len(body.Bytes))
			}
			return body, refused
		}
		for _, size := range []int{600 << 10, 4 << 20} { // the second has to take all there is
			first, refused := read(size)
			if refused != nil {
				t.Fatalf("%+v", refused)
			}
			began := time.Now()
			second, refused := read(size)
			if refused == nil || refused.Status != 503 || time.Since(began) != patience {
				t.Fatalf("a second body after %v: %+v", time.Since(began), refused)
			}
			second.Release()
			for _, size := range []int{small / 2, small, 4<<20 + 300<<10 - size} {
				other, refused := read(min(size, 3<<20))
				if refused != nil {
					t.Fatalf("a body of %d bytes waits for those of another size: %+v", size, refused)
				}
				other.Release()
			}
			go func() {
				<-time.After(patience / 2)
				first.Release()
				first.Release() // no more than it took
			}()
			third, refused := read(size)
			if refused != nil {
				t.Fatalf("nothing was given back: %+v", refused)
			}
			third.Release()
		}
		if !b.middle.all() || !b.large.all() {
			t.Error("the budget is not what it was")
		}
	})
}

// TestLargeBodiesStayOffTheHeap: those of any way of coming, however often they grow.
func TestLargeBodiesStayOffTheHeap(t *testing.T) {
	content := strings.Repeat("0123456789abcde\n", 12<<20/16)
	allocated := func(f func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	for _, length := range []int64{-1, 12 << 20} {
		r := httptest.NewRequest("POST", "/", iotest.HalfReader(strings.NewReader(content)))
		r.ContentLength = length
		b := NewBodies(12<<20, time.Second, 16<<20)
		var body *Body
		var refused *Refusal
		took := allocated(func() { body, refused = b.Read(httptest.NewRecorder(), r) })
		if refused != nil || string(body.Bytes) != content {
			t.Fatalf("announced %d: %+v, %d bytes came", length, refused, len(body.Bytes))
		}
		if took > 4*small {
			t.Errorf("announced %d: %d bytes of the heap for a body of %d", length, took, len(content))
		}
		body.Release()
		if body.far != nil || !b.large.all() {
			t.Error("something is kept")
		}
	}
	b := NewBodies(10<<20, time.Second, 16<<20)
	r := httptest.NewRequest("POST", "/", struct{ io.Reader }{strings.NewReader(content)})
	r.ContentLength = -1
	if took := allocated(func() {
		body, refused := b.Read(httptest.NewRecorder(), r)
		if body.Release(); refused == nil || refused.Status != 413 {
			t.Errorf("too long: %+v", refused)
		}
	}); took > 4*small {
		t.Errorf("%d bytes of the heap for a body that is too long", took)
	}
}

func TestBodiesThatAreRefused(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	for name, tt := range map[string]struct {
		body    io.Reader
		length  int64
		status  int
		message string
	}{
		"announced too long": {strings.NewReader("x"), 90<<10 + 1, 413, "The body is longer than 92160 bytes"},
		"too long":           {strings.NewReader(long), -1, 413, "The body is longer than 92160 bytes"},
		"late":               {iotest.ErrReader(os.ErrDeadlineExceeded), -1, 408, "The body did not arrive within 3s"},
		"broken":             {iotest.ErrReader(io.ErrUnexpectedEOF), -1, 400, "The body could not be read: unexpected EOF"},
	} {
		b := NewBodies(90<<10, 3*time.Second, 1<<20)
		r := httptest.NewRequest("POST", "/", tt.body)
		r.ContentLength = tt.length
		body, refused := b.Read(httptest.NewRecorder(), r)
		body.Release()
		if refused == nil || refused.Status != tt.status || refused.Message != tt.message {
			t.Errorf("%s: %+v", name, refused)
		}
		if !b.middle.all() || !b.large.all() {
			t.Errorf("%s: keeps some of the budget", name)
		}
	}
	b := NewBodies(len(long), time.Second, 1<<20)
	if body, refused := b.Read(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader(long))); refused != nil || string(body.Bytes) != long {
		t.Errorf("of just the length allowed: %+v", refused)
	}
}

func TestCallsThatAreRefused(t *testing.T) {
	b := NewBodies(1<<20, time.Second, 1<<20)
	for name, tt := range map[string]struct {
		contentType, body string
		status            int
		message           string
	}{
		"no type":                 {"", `{}`, 400, "Expecting 'Content-Type' to be present"},
		"another type":            {"text/plain", `{}`, 415, "Expecting 'Content-Type' of application/json or application/x-protobuf"},
		"parameters":              {"application/json; charset=utf-8", `{}`, 415, "Expecting 'Content-Type' of"},
		"no JSON":                 {"application/json", `{`, 400, "Failed to parse body into JSON: "},
		"no call":                 {"application/json", `{"type":{}}`, 400, "Failed to convert JSON into Call protobuf: "},
		"no protobuf":             {"application/x-protobuf", "\xff", 400, "Failed to parse body into Call protobuf: "},
		"too many of no messages": {"application/json", `{"x":[` + strings.Repeat("0,", 210_000) + `0]}`, 413, "The body holds more than 200000 elements of lists"},
		"no call, and much of it": {"application/json", `{"type":{},"x":[` + strings.Repeat("{},", 100_000) + `0]}`, 400, "Failed to convert JSON into Call protobuf: "},
		"too many":                {"application/json", `{"x":[` + strings.Repeat("{},", 210_000) + `{}]}`, 413, "The body holds more than 200000 messages"},
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(tt.body))
		if tt.contentType != "" {
			r.Header.Set("Content-Type", tt.contentType)
		}
		release, refused := b.Call(httptest.NewRecorder(), r, new(agentpb.Call))
		release()
		release()
		if refused == nil || refused.Status != tt.status || !strings.HasPrefix(refused.Message, tt.message) {
			t.Errorf("%s: %+v", name, refused)
		}
		if !b.middle.all() || !b.large.all() || !b.calls.all() || !b.decoding.TryAcquire(1) {
			t.Fatalf("%s: keeps some of the budget", name)
		}
		b.decoding.Release(1)
	}
}

// TestHeavyCallsShareRoom: what is decoded counts until it is released, the body only until
// it is decoded.
func TestHeavyCallsShareRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBodies(1<<20, time.Second, 1<<20)
		call := func(body string) (func(), *Refusal) {
			r := httptest.NewRequest("POST", "/", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			call := new(agentpb.Call)
			release, refused := b.Call(httptest.NewRecorder(), r, call)
			if refused == nil && call.GetType() != agentpb.Call_GET_HEALTH {
				t.Errorf("decoded: %v", call)
			}
			if !b.middle.all() || !b.large.all() {
				t.Error("a body is kept that was decoded")
			}
			return release, refused
		}
		const light = `{"type":"GET_HEALTH"}`
		heavy := `{"type":"GET_HEALTH","x":[` + strings.Repeat("{},", 20_000) + `{}]}` // shorter than 64 KiB
		release, refused := call(heavy)
		if refused != nil || b.calls.all() {
			t.Fatalf("%+v, or it takes no room", refused)
		}
		began := time.Now()
		if _, refused := call(heavy); refused == nil || refused.Status != 503 || time.Since(began) != patience {
			t.Fatalf("another one after %v: %+v", time.Since(began), refused)
		}
		if _, refused := call(light); refused != nil {
			t.Fatalf("a light one waits: %+v", refused)
		}
		release()
		release()
		synctest.Wait()
		if release, refused = call(heavy); refused != nil {
			t.Fatalf("nothing was given back: %+v", refused)
		}
		release()
		if !b.calls.all() {
			t.Error("the room is not what it was")
		}
	})
}

// TestSlowBody: a body that does not come costs its sender the connection, in time.
// A client that announces much and sends little costs little.
func TestMemoryComesWithTheBytes(t *testing.T) {
	for _, length := range []int64{-1, 60_000, 1 << 20} {
		r := httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader(strings.Repeat("x", 1000)), iotest.ErrReader(os.ErrDeadlineExceeded)))
		r.ContentLength = length
		body, refused := NewBodies(1<<20, time.Second, 1<<20).Read(httptest.NewRecorder(), r)
		if refused == nil || refused.Status != 408 || cap(body.Bytes) > first {
			t.Errorf("announced %d, sent 1000: %+v, %d bytes held", length, refused, cap(body.Bytes))
		}
		body.Release()
	}
}

func TestSlowBody(t *testing.T) {
	b := NewBodies(1<<20, 20*time.Millisecond, 1<<20)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.Deadlines(w, r, time.Minute)
		body, refused := b.Read(w, r)
		defer body.Release()
		if refused != nil {
			refused.Write(w)
		}
	}))
	defer server.Close()
	body, never := io.Pipe()
	defer never.Close()
	resp, err := http.Post(server.URL, "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); resp.StatusCode != 408 || string(text) != "The body did not arrive within 20ms" || err != nil {
		t.Errorf("%s %s %v", resp.Status, text, err)
	}
}
