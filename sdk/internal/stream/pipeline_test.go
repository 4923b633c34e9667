package stream

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"google.golang.org/protobuf/proto"
)

func TestPipeline(t *testing.T) {
	tests := map[string]struct {
		answer  func(w http.ResponseWriter, n int)
		refused int // status
	}{
		"all received":                     {func(w http.ResponseWriter, n int) { w.WriteHeader(http.StatusAccepted) }, 0},
		"one is refused, the others go on": {func(w http.ResponseWriter, n int) { http.Error(w, "no", 202+n/7%2*198) }, 400},
		"the connection ends now and then": {func(w http.ResponseWriter, n int) {
			if n%3 == 0 {
				w.Header().Set("Connection", "close")
			}
			w.WriteHeader(http.StatusAccepted)
		}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got []int
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				var id mesos.TaskID
				if err = errors.Join(err, proto.Unmarshal(body, &id)); err != nil {
					t.Error(err)
				}
				if r.URL.Path != "/calls" || r.Header.Get("Mesos-Stream-Id") != "s" || r.Header.Get("Content-Type") != "application/x-protobuf" {
					t.Errorf("request to %s with %v", r.URL, r.Header)
				}
				n, _ := strconv.Atoi(id.GetValue())
				got = append(got, n)
				test.answer(w, n)
			}))
			defer server.Close()
			at, err := url.Parse(server.URL + "/calls")
			if err != nil {
				t.Fatal(err)
			}
			p := &Pipeline{At: &Endpoint{URL: at, Client: NewClient(nil)}}
			defer p.Close()
			var want []int
			for round := range 2 {
				var calls []proto.Message
				for n := range 10 {
					calls = append(calls, &mesos.TaskID{Value: proto.String(strconv.Itoa(n + 10*round))})
					want = append(want, n+10*round)
				}
				err := p.Call(t.Context(), calls, http.Header{"Mesos-Stream-Id": {"s"}})
				var se *StatusError
				if errors.As(err, &se); (se == nil) != (test.refused == 0) || se != nil && se.Status != test.refused || se == nil && err != nil {
					t.Errorf("%v, want status %d", err, test.refused)
				}
			}
			if test.refused == 0 && !slices.Equal(slices.Compact(got), want) || test.refused != 0 && !slices.Equal(got, want) {
				t.Errorf("received %v, want %v", got, want)
			}
			server.Close()
			if err := p.Call(t.Context(), []proto.Message{&mesos.TaskID{Value: proto.String("x")}, &mesos.TaskID{Value: proto.String("y")}}, nil); err == nil {
				t.Error("no error without a server")
			}
		})
	}
}
