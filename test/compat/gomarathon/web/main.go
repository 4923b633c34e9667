// Command web is the app of the tests: a web server that says which version and which task
// it is. With HEALTH=bad its /health answers 503.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s %s", os.Getenv("VERSION"), os.Getenv("MESOS_TASK_ID"))
	})
	http.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		if os.Getenv("HEALTH") == "bad" {
			http.Error(w, "bad by order", http.StatusServiceUnavailable)
		}
	})
	if err := http.ListenAndServe(net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT0")), nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
