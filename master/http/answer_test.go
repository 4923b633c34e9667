package http_test

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	"github.com/stoa-kernel/stoa/internal/codec"
)

func (c *cluster) post(body string, header ...string) (*http.Response, []byte) {
	c.t.Helper()
	r, err := http.NewRequest("POST", "http://"+c.addr+"/api/v1", strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for _, h := range header {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Set(k, v)
	}
	// With its own compression off, the transport shows what was sent.
	client := http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	w, err := client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer w.Body.Close()
	b, err := io.ReadAll(w.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return w, b
}

func TestAnswersAreCompressedWhenAskedAndLong(t *testing.T) {
	c := newCluster(t)
	const state, health = `{"type":"GET_STATE"}`, `{"type":"GET_HEALTH"}`
	_, plain := c.post(state)
	tests := []struct {
		body, encoding string
		zipped         bool
	}{
		{state, "", false},
		{state, "identity", false},
		{state, "gzip;q=0", false},
		{state, "deflate, br", false},
		{state, "gzip", true},
		{state, "deflate, gzip;q=0.5", true},
		{state, "*", true},
		{health, "gzip", false}, // below 1024 bytes
	}
	for _, tt := range tests {
		w, b := c.post(tt.body, "Accept-Encoding: "+tt.encoding)
		if got := w.Header.Get("Content-Encoding") == "gzip"; got != tt.zipped {
			t.Errorf("%s with Accept-Encoding %q: compressed %v, want %v", tt.body, tt.encoding, got, tt.zipped)
			continue
		}
		if !tt.zipped {
			if w.ContentLength != int64(len(b)) {
				t.Errorf("Content-Length %d of %d bytes", w.ContentLength, len(b))
			}
			continue
		}
		z, err := gzip.NewReader(strings.NewReader(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(z)
		if err != nil || string(got) != string(plain) {
			t.Errorf("%q: what is unpacked differs: %v", tt.encoding, err)
		}
	}
}

func TestTheAnswersCodecIsTheAcceptedOne(t *testing.T) {
	c := newCluster(t)
	for accept, want := range map[string]codec.Codec{
		"application/json": codec.JSON, "application/x-protobuf": codec.Protobuf,
		"application/x-protobuf, application/json": codec.JSON, "*/*": codec.JSON,
	} {
		for _, call := range []string{"GET_HEALTH", "GET_STATE", "GET_QUOTA"} {
			w, b := c.post(`{"type":"`+call+`"}`, "Accept: "+accept)
			var m masterpb.Response
			if err := want.Unmarshal(b, &m); err != nil || w.Header.Get("Content-Type") != want.String() || m.GetType().String() != call {
				t.Errorf("%s with Accept %s: %s, %v", call, accept, w.Header.Get("Content-Type"), err)
			}
		}
	}
}

// Calls sent at once on one connection are taken and answered in order.
func TestPipelinedCallsAreAnsweredInOrder(t *testing.T) {
	c := newCluster(t)
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const calls = 60
	var all strings.Builder
	send := func(path, body, header string) {
		fmt.Fprintf(&all, "POST %s HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s", path, header, len(body), body)
	}
	want := make([]string, 0, calls)
	for i := range calls {
		switch i % 3 {
		case 0: // through the loop
			send("/stoa/v1/kill", fmt.Sprintf(`{"framework_id":"nobody%d","task_id":"t"}`, i), "")
			want = append(want, fmt.Sprintf("404 no framework has the id 'nobody%d'", i))
		case 1: // refused by form
			send("/api/v1", `{"type":"READ_FILE"}`, "")
			want = append(want, "400 Failed to validate master::Call: Expecting 'read_file' to be present")
		case 2:
			send("/api/v1/scheduler", fmt.Sprintf(`{"type":"SUPPRESS","framework_id":{"value":%q},"suppress":{"roles":["x"]}}`, c.vars["$FRAMEWORK"]), "Mesos-Stream-Id: "+c.vars["$STREAM"]+"\r\n")
			want = append(want, "202 ")
		}
	}
	if _, err := io.WriteString(conn, all.String()); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	for i, want := range want {
		w, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(w.Body)
		w.Body.Close()
		if got := fmt.Sprintf("%d %s", w.StatusCode, b); got != want || err != nil {
			t.Fatalf("answer %d is %q, want %q", i, got, want)
		}
	}
}

func TestPathsTakeTheLongestPrefix(t *testing.T) {
	c := newCluster(t)
	for _, path := range []string{"/api/v1", "/api/v1/", "/api/v1/operator", "/master/api/v1", "//api//v1//", "/master//api/v1/operator/"} {
		b, _ := c.raw(t, "POST "+path+` json -- {"type":"GET_HEALTH"}`)
		if status, body := c.send(t, b); status != 200 || body != `{"type":"GET_HEALTH","get_health":{"healthy":true}}` {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	for _, path := range []string{"/api/v1/scheduler", "/master/api/v1/scheduler/", "/api/v1/scheduler/x"} {
		b, _ := c.raw(t, "POST "+path+" json -- {}")
		if status, body := c.send(t, b); status != 400 || !strings.Contains(body, "scheduler::Call") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	for _, path := range []string{"/api", "/master", "/", "/apix/v1", "/api/v12", "/master/master/health"} {
		b, _ := c.raw(t, "POST "+path+" json -- {}")
		if status, body := c.send(t, b); status != 404 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}
