// Command webserver is the app behind the balancer of the tests. It answers with its version
// ($VERSION) and its task, after 5 ms as if it had something to do. With HEALTH=bad its
// /health never answers 200, /ready answers 503 for the first half second. At SIGTERM it
// accepts nothing more and ends when all it has accepted is answered.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	stop, done := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer done()
	answer := fmt.Sprintf("%s %s\n", os.Getenv("VERSION"), os.Getenv("MESOS_TASK_ID"))
	began := time.Now()
	http.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		<-time.After(5 * time.Millisecond)
		fmt.Fprint(w, answer)
	})
	http.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		if os.Getenv("HEALTH") == "bad" {
			http.Error(w, "bad by order", http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if time.Since(began) < 500*time.Millisecond {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	})
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", os.Getenv("PORT0")))
	if err != nil {
		return err
	}
	var server http.Server
	ended := make(chan error, 1)
	go func() {
		<-stop.Done()
		ended <- server.Shutdown(context.Background())
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-ended
}
