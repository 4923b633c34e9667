// Command hello is a web server to deploy: it says which instance and version of its app
// answers, and what its configuration is.
//
//	hello              serve on $PORT0, as an app does
//	hello -get URL     ask one, for scripts on machines without curl
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(log.Ltime)
	url := flag.String("get", "", "ask the server at this `URL` and show its answer, instead of serving")
	flag.Parse()
	err := errors.New("no arguments are taken")
	switch {
	case flag.NArg() > 0:
	case *url != "":
		err = get(*url, os.Stdout)
	default:
		err = listenAndServe()
	}
	if err != nil {
		log.Fatalf("hello: %v", err)
	}
}

func listenAndServe() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	l, err := net.Listen("tcp", ":"+cmp.Or(os.Getenv("PORT0"), "8000"))
	if err != nil {
		return err
	}
	log.Printf("serving on %s", l.Addr())
	return serve(ctx, l, handler(os.Getenv))
}

// serve answers until ctx ends, and then what was asked before: a client that was let in
// is not cut off by an upgrade.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		patience, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		stopped <- server.Shutdown(patience)
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	log.Print("no more requests; goodbye")
	return <-stopped
}

func handler(env func(string) string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s from %s\nversion %s\n", cmp.Or(env("GREETING"), "hello"), cmp.Or(env("MESOS_TASK_ID"), "no task"), cmp.Or(env("MARATHON_APP_VERSION"), "none"))
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return mux
}

func get(url string, to io.Writer) error {
	client := &http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	_, err = io.Copy(to, io.LimitReader(resp.Body, 1<<20))
	return err
}
