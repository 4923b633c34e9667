package http_test

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
)

// Whatever comes on one connection, in whatever order and pieces, is answered as it is on a
// connection of its own.
func TestAcknowledgementsBetweenOtherRequests(t *testing.T) {
	c := newCluster(t)
	expand := func(s string) string {
		for k, v := range c.vars {
			if k != "$OTHER" {
				s = strings.ReplaceAll(s, k, v)
			}
		}
		return s
	}
	ack := func(n int) string {
		one := `{"agent_id":{"value":"$AGENT"},"task_id":{"value":"t"},"uuid":"AAAAAAAAAAAAAAAAAAAAAA=="}`
		return expand(`{"type":"ACKNOWLEDGE","framework_id":{"value":"$FRAMEWORK"},"acknowledgements":[` + strings.Repeat(one+",", n-1) + one + `]}`)
	}
	post := func(body string, headers ...string) string {
		h := "POST /api/v1/scheduler HTTP/1.1\r\nHost: m\r\n"
		if len(headers) == 0 {
			headers = []string{"Content-Type: application/json", expand("Mesos-Stream-Id: $STREAM")}
		}
		return h + strings.Join(headers, "\r\n") + fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	lower := func(s string) string { return strings.Replace(s, "Content-Length", "content-length", 1) }
	revive := expand(`{"type":"REVIVE","framework_id":{"value":"$FRAMEWORK"}}`)
	requests := []struct {
		text   string
		status int
	}{
		{post(ack(1)), 202},
		{post(ack(3)), 202},
		{post(ack(100)), 202}, // longer than any buffer
		{post(revive), 202},
		{post(strings.Replace(ack(1), "AAAAAAAAAAAAAAAAAAAAAA==", "AAAA", 1)), 400},
		{post(ack(2)[1:]), 400},
		{post(""), 400},
		{post(ack(1), "Content-Type: application/json", "Mesos-Stream-Id: another"), 400},
		{post(ack(1), "Content-Type: application/json"), 400},
		{post(ack(1), expand("Mesos-Stream-Id: $STREAM"), "Content-Type: application/json"), 202},
		{post(ack(1), expand("Mesos-Stream-Id: $OTHER_STREAM"), "Content-Type: application/json"), 400},
		{post(ack(1), expand("Mesos-Stream-Id: $STREAM"), "Content-Type: text/plain"), 415},
		{lower(post(ack(1))), 202},
		{post(ack(1), "Connection: Keep-Alive", "Content-Type: application/json", expand("Mesos-Stream-Id: $STREAM")), 202},
		{"GET /health HTTP/1.1\r\nHost: m\r\n\r\n", 200},
		{"GET /nowhere HTTP/1.1\r\nHost: m\r\n\r\n", 404},
		{strings.Replace(post(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(ack(1)), ack(1))), fmt.Sprintf("Content-Length: %d", len(ack(1))+len(fmt.Sprintf("%x", len(ack(1))))+9), "Transfer-Encoding: chunked", 1), 202},
	}
	dice := rand.New(rand.NewPCG(3, 4))
	for round := range 100 {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			t.Fatal(err)
		}
		var all bytes.Buffer
		var want []int
		for range 40 {
			i := dice.IntN(len(requests))
			if dice.IntN(2) == 0 {
				i = dice.IntN(2)
			}
			all.WriteString(requests[i].text)
			want = append(want, requests[i].status)
		}
		go func() {
			for b := all.Bytes(); len(b) > 0; {
				n := min(len(b), 1+dice.IntN(3000))
				if _, err := conn.Write(b[:n]); err != nil {
					t.Error(err)
					return
				}
				b = b[n:]
			}
		}()
		in := bufio.NewReader(conn)
		for i, status := range want {
			r, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatalf("round %d, answer %d: %v", round, i, err)
			}
			if _, err := new(bytes.Buffer).ReadFrom(r.Body); err != nil || r.StatusCode != status || r.Header.Get("Date") == "" {
				t.Fatalf("round %d, answer %d: %d, want %d; %v %v", round, i, r.StatusCode, status, r.Header, err)
			}
			if status == 202 && (len(r.Header) != 2 || r.ContentLength != 0) {
				t.Fatalf("round %d, answer %d has the header %v", round, i, r.Header)
			}
		}
		conn.Close()
	}
}
