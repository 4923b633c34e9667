package http

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoa-kernel/stoa/internal/codec"
)

const followed = "POST /api/v1/scheduler HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nContent-Length: 12\r\nMesos-Stream-Id: s\r\n\r\n"

// following is a follower of a request with that header, as net/http reads it.
func following(t *testing.T, header string) *follower {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(header)))
	if err != nil {
		t.Fatal(err)
	}
	return &follower{server: &Server{Config: Config{Limits: Limits{}.WithDefaults()}}, like: r, codec: codec.JSON, in: bufio.NewReader(strings.NewReader(""))}
}

func TestHeadersThatAreFollowed(t *testing.T) {
	for _, test := range []struct {
		name, header string
		head         bool // the whole header is there
		length       int
		ok           bool
	}{
		{"the same", followed + "{}", true, 12, true},
		{"another length", strings.Replace(followed, "12", "1234", 1), true, 1234, true},
		{"not all there", followed[:len(followed)-1], false, 0, true},
		{"nothing", "", false, 0, true},
		{"the same, otherwise written", strings.Replace(followed, "Host: m\r\n", "host:m\r\n", 1), true, 12, true},
		{"five digits", strings.Replace(followed, "12", "12345", 1), false, 0, false},
		{"a sign", strings.Replace(followed, "12", "+12", 1), false, 0, false},
		{"a length written otherwise", strings.Replace(followed, "Content-Length", "content-length", 1), false, 0, false},
		{"two lengths", strings.Replace(followed, "Content-Length: 12", "Content-Length: 12\r\nContent-Length: 12", 1), false, 0, false},
		{"no length", strings.Replace(followed, "Content-Length: 12\r\n", "", 1), false, 0, false},
		{"chunked", strings.Replace(followed, "Content-Length: 12", "Transfer-Encoding: chunked", 1), false, 0, false},
		{"chunked with a length", strings.Replace(followed, "Host", "Transfer-Encoding: chunked\r\nHost", 1), false, 0, false},
		{"one more", strings.Replace(followed, "Host", "Expect: 100-continue\r\nHost", 1), false, 0, false},
		{"another path", strings.Replace(followed, "scheduler", "executors", 1), false, 0, false},
		{"another method", "G" + followed, false, 0, false},
		{"another stream", strings.Replace(followed, ": s", ": t", 1), false, 0, false},
		{"another host", strings.Replace(followed, ": m", ": n", 1), false, 0, false},
		{"an older protocol", strings.Replace(followed, "1.1", "1.0", 1), false, 0, false},
		{"lines without a return", strings.ReplaceAll(followed, "\r", "") + "\r\n\r\n", false, 0, false},
		{"too long", strings.Repeat("x", 4096), false, 0, false},
	} {
		f := following(t, followed)
		head, length, ok := f.header([]byte(test.header))
		if (head > 0) != test.head || length != test.length || ok != test.ok {
			t.Errorf("%s: header of %d, body of %d, %v", test.name, head, length, ok)
		}
		// With what was learned it is no different.
		if f = following(t, followed); !f.learn([]byte(followed)) {
			t.Fatal("not learned")
		}
		if _, _, ok := f.header([]byte(test.header)); ok && !test.ok {
			t.Errorf("%s: followed once the header is known", test.name)
		}
	}
}

// Whatever is followed means to net/http what it means here.
func TestNothingIsFollowedThatReadsOtherwise(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	const letters = "\r\n :,0123456789-abcLT\x00\t"
	f := following(t, followed)
	if !f.learn([]byte(followed)) {
		t.Fatal("not learned")
	}
	kept := 0
	for range 200_000 {
		b := []byte(followed)
		for range 1 + dice.IntN(3) {
			at := dice.IntN(len(b))
			if dice.IntN(2) == 0 {
				at = bytes.Index(b, []byte("12")) - 3 + dice.IntN(8)
			}
			c := letters[dice.IntN(len(letters))]
			switch dice.IntN(3) {
			case 0:
				b[at] = c
			case 1:
				b = append(b[:at], b[at+1:]...)
			case 2:
				b = append(b[:at], append([]byte{c}, b[at:]...)...)
			}
			if !bytes.Contains(b, []byte("12")) {
				break
			}
		}
		head, length, ok := f.header(b)
		if !ok || head == 0 {
			continue
		}
		kept++
		in := bufio.NewReader(bytes.NewReader(b[:head]))
		r, err := http.ReadRequest(in)
		if err != nil || in.Buffered() > 0 || r.ContentLength != int64(length) || r.Header.Get("Content-Length") != string(b[len(f.before):head-len(f.after)]) {
			t.Fatalf("%q: a body of %d; net/http says %v, %v", b, length, r, err)
		}
		if n, err := strconv.Atoi(r.Header.Get("Content-Length")); err != nil || n != length {
			t.Fatalf("%q: a body of %d", b, length)
		}
	}
	if kept < 1000 {
		t.Errorf("only %d were followed", kept)
	}
}

func TestSlowRequestsAreForNetHTTP(t *testing.T) {
	for _, test := range []struct {
		name, sent string
		after      time.Duration
		back       bool
	}{
		{"quiet for long", "", IdleTimeout, false},
		{"half a header", followed[:20], partial, true},
		{"half a body", followed + "{}", partial, true},
		{"a longer body than there is room for", strings.Replace(followed, "12", "4096", 1), 0, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			f := following(t, followed)
			f.conn, f.in = theirs, bufio.NewReader(theirs)
			go io.WriteString(ours, test.sent)
			began := time.Now()
			back := f.serve(t.Context())
			if rest, _ := f.in.Peek(f.in.Buffered()); back != test.back || time.Since(began) != test.after || string(rest) != test.sent {
				t.Errorf("%s: after %v %v with %q", test.name, time.Since(began), back, rest)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		f := following(t, followed)
		f.conn, f.in = theirs, bufio.NewReader(theirs)
		go func() { // a byte now and then, until the connection is closed
			for i := range followed {
				if _, err := ours.Write([]byte{followed[i]}); err != nil {
					return
				}
				<-time.After(partial * 2 / 5)
			}
		}()
		if began := time.Now(); !f.serve(t.Context()) || time.Since(began) != partial || f.in.Buffered() != 3 {
			t.Errorf("a trickle is followed for %v, %d bytes", time.Since(began), f.in.Buffered())
		}
		ours.Close()
		<-time.After(partial) // until who wrote has seen it
	})
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		f := following(t, followed)
		f.conn, f.in = theirs, bufio.NewReader(theirs)
		f.answer()
		if began := time.Now(); f.flush() || time.Since(began) != f.server.Limits.WriteTimeout {
			t.Errorf("a client that takes nothing is waited for %v", time.Since(began))
		}
		ours.Close()
	})
}
