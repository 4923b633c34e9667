package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestAnAnswerNamesTaskAndVersion(t *testing.T) {
	env := map[string]string{"GREETING": "Salve", "MESOS_TASK_ID": "hello.instance-1._app.1", "MARATHON_APP_VERSION": "2026-01-02T03:04:05.678Z"}
	url := start(t, func(name string) string { return env[name] })
	var b strings.Builder
	if err := get(url, &b); err != nil || b.String() != "Salve from hello.instance-1._app.1\nversion 2026-01-02T03:04:05.678Z\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	b.Reset()
	if err := get(url+"/health", &b); err != nil || b.String() != "ok\n" {
		t.Errorf("health: %q, %v", b.String(), err)
	}
	if err := get(url+"/nothing", &b); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a page that is not there: %v", err)
	}
}

// What was asked before the end is answered.
func TestAnEndLetsRequestsFinish(t *testing.T) {
	asked, finish := make(chan bool), make(chan bool)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- serve(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked <- true
			<-finish
			_, _ = io.WriteString(w, "in time") // the client says what came
		}))
	}()
	var b strings.Builder
	got := make(chan error, 1)
	go func() { got <- get("http://"+l.Addr().String(), &b) }()
	<-asked
	stop()
	close(finish)
	if err := <-got; err != nil || b.String() != "in time" {
		t.Errorf("%q, %v", b.String(), err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func start(t *testing.T, env func(string) string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, l, handler(env)) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}
