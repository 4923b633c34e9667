// Command checked is a web server whose health the test decides: GET /NAME is answered with
// the status in the file NAME of a directory, 404 if there is none,
// and noted in the file "asked".
//
//	checked HOST DIR        serves on HOST and $PORT0
//	checked HOST DIR N      first uses N MiB of memory
package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

var held []byte

func main() {
	dir := os.Args[2]
	if len(os.Args) > 3 {
		n, err := strconv.Atoi(os.Args[3])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		held = bytes.Repeat([]byte("held"), n<<18)
	}
	asked, err := os.OpenFile(filepath.Join(dir, "asked"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s := &http.Server{
		Addr: net.JoinHostPort(os.Args[1], os.Getenv("PORT0")), ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text, err := os.ReadFile(filepath.Join(dir, filepath.Base(r.URL.Path)))
			code := http.StatusNotFound
			if err == nil {
				code, err = strconv.Atoi(strings.TrimSpace(string(text)))
			}
			if err != nil && !os.IsNotExist(err) {
				code = http.StatusInternalServerError
			}
			fmt.Fprintln(asked, r.URL.Path, code)
			w.WriteHeader(code)
		}),
	}
	fmt.Fprintln(os.Stderr, "checked:", s.ListenAndServe())
	os.Exit(1)
}
