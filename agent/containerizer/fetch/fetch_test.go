package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/internal/account"
)

// TestMain is the child, as the program is for Verb; and as root it runs all tests as
// nobody too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Verb {
		os.Exit(Main())
	}
	if os.Geteuid() == 0 {
		if status := unprivileged(); status != 0 {
			os.Exit(status)
		}
	}
	goleak.VerifyTestMain(m)
}

func unprivileged() int {
	nobody, err := account.Lookup("nobody")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "fetch-nobody-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.WriteFile(dir+"/test", binary, 0o755), os.Mkdir(dir+"/tmp", 0o777), os.Chmod(dir+"/tmp", 0o777))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cmd := exec.Command(dir + "/test")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir+"/tmp", "GOCOVERDIR="+dir+"/tmp")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: nobody.Credential()}
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "as nobody: %v\n%s", err, out)
		return 1
	}
	return 0
}

// someone is the user tasks run as in the tests: nobody, where that is possible.
func someone(t *testing.T) account.Account {
	t.Helper()
	name := ""
	if os.Geteuid() == 0 {
		name = "nobody"
	}
	a, err := account.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// box is a sandbox that only its owner and the agent can enter.
func box(t *testing.T) *container.Spec {
	t.Helper()
	a := someone(t)
	dir := filepath.Join(t.TempDir(), "c1")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if !a.Mine() {
		if err := os.Chown(dir, int(a.UID), int(a.GID)); err != nil {
			t.Fatal(err)
		}
	}
	return &container.Spec{ID: "c1", Sandbox: dir, User: a.Name}
}

func with(spec *container.Spec, uris ...*mesos.CommandInfo_URI) *container.Spec {
	spec.URIs = uris
	return spec
}

func u(value string) *mesos.CommandInfo_URI {
	return &mesos.CommandInfo_URI{Value: &value}
}

// readable puts a file where every user can read it.
func readable(t *testing.T, name string, content []byte) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "source-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	name = filepath.Join(dir, name)
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(name, content, 0o644)); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFetch(t *testing.T) {
	file := readable(t, "input.txt", []byte("from a file"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/dir/tool":
			io.WriteString(w, "#!/bin/sh\n")
		case "/moved":
			http.Redirect(w, r, "/dir/tool", http.StatusFound)
		case "/private":
			if user, password, _ := r.BasicAuth(); user != "me" || password != "pw" {
				w.WriteHeader(http.StatusUnauthorized)
			}
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()

	spec := box(t)
	tool := u(server.URL + "/dir/tool?x=1")
	tool.Executable, tool.OutputFile = proto.Bool(true), proto.String("bin/run")
	cached := u("file://localhost" + file)
	cached.Cache, cached.OutputFile = proto.Bool(true), proto.String("again.txt")
	err := (&Fetcher{}).Fetch(t.Context(), with(spec, u(file), u("file://"+file), cached, tool, u(" "+server.URL+"/moved"),
		u(strings.Replace(server.URL, "://", "://me:pw@", 1)+"/private"), u(server.URL+"/dir/tool?q=1")))
	if err != nil {
		t.Fatal(err)
	}
	a := someone(t)
	for name, want := range map[string]struct {
		content string
		mode    fs.FileMode
	}{
		"input.txt": {"from a file", 0o644},
		"again.txt": {"from a file", 0o644},
		"bin/run":   {"#!/bin/sh\n", 0o755},
		"moved":     {"#!/bin/sh\n", 0o644},
		"private":   {"", 0o644},
		"tool?q=1":  {"#!/bin/sh\n", 0o644},
	} {
		path := filepath.Join(spec.Sandbox, name)
		b, err := os.ReadFile(path)
		if err != nil || string(b) != want.content {
			t.Errorf("%s: %q, %v", name, b, err)
			continue
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != want.mode || info.Sys().(*syscall.Stat_t).Uid != a.UID {
			t.Errorf("%s: %v, %+v, %v", name, info.Mode(), info.Sys(), err)
		}
	}
	log, err := os.ReadFile(filepath.Join(spec.Sandbox, "stderr"))
	if err != nil || !strings.Contains(string(log), "fetch: "+file+" -> input.txt, 11 bytes") || strings.Contains(string(log), "pw@") {
		t.Errorf("log %s, %v", log, err)
	}
}

func TestFailures(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/short":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "only this")
		case "/ftp":
			http.Redirect(w, r, "ftp://127.0.0.1/x", http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/big":
			w.Header().Set("Content-Length", "3000000")
		case "/endless":
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		default:
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer server.Close()
	pipe := readable(t, "x", nil) + ".pipe"
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	refused := httptest.NewServer(nil)
	refused.Close()
	for _, c := range []struct {
		value, output, want string
	}{
		{server.URL + "/no", "", "the server answered 418 I'm a teapot"},
		{server.URL + "/short", "", "unexpected EOF"},
		{server.URL + "/ftp", "", "unsupported protocol scheme"},
		{server.URL + "/round", "", "stopped after 10 redirects"},
		{server.URL + "/big", "", "more than the task's disk of 2 MB"},
		{server.URL + "/endless", "", "more than the task's disk of 2 MB"},
		{refused.URL + "/x", "", "connection refused"},
		{"/no/such/file", "", "no such file or directory"},
		{"/etc", "", "not a regular file"},
		{pipe, "", "not a regular file"},
		{"file://otherhost/etc/passwd", "", "a file of another host"},
		{"ftp://x/y", "", `scheme "ftp" is not supported: use http, https, file or an absolute path`},
		{"hdfs://x/y", "", `scheme "hdfs" is not supported`},
		{"relative/path", "", "neither an absolute path nor a URI"},
		{"http://host", "", "Malformed URI (missing path)"},
		{"http://host/", "", "Malformed URI (missing path)"},
		{"http://host/dir/", "", "not a file name inside the sandbox"},
		{"http://host/..", "", "not a file name inside the sandbox"},
		{"http://host:port/x", "", "not a URL"},
		{"http://host/a'b", "", "illegal characters"},
		{"/etc/passwd", "../x", "not a file name inside the sandbox"},
		{"/etc/passwd", "/tmp/x", "not a file name inside the sandbox"},
		{"/etc/passwd", "a/../../x", "not a file name inside the sandbox"},
		{"/etc/passwd", "dir/", "not a file name inside the sandbox"},
		{"/etc/passwd", "stdout", "where the task's output goes"},
		{"/etc/passwd", "./stderr", "where the task's output goes"},
	} {
		spec := box(t)
		spec.DiskLimit = 2 << 20
		one := u(c.value)
		if c.output != "" {
			one.OutputFile = &c.output
		}
		err := (&Fetcher{}).Fetch(t.Context(), with(spec, one))
		if err == nil || !strings.HasPrefix(err.Error(), "Failed to fetch all URIs for container 'c1': "+c.value+": ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.value, err, c.want)
		}
	}
}

// TestCredentials: what the task's user may not read is not fetched for him.
func TestCredentials(t *testing.T) {
	secret := readable(t, "secret", []byte("s"))
	if err := os.Chmod(secret, 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		if err := os.Chmod(secret, 0); err != nil {
			t.Fatal(err)
		}
	}
	spec := box(t)
	err := (&Fetcher{}).Fetch(t.Context(), with(spec, u(secret)))
	if err == nil || !strings.Contains(err.Error(), "the task's user may not: open "+secret) {
		t.Fatal(err)
	}
	if log, _ := os.ReadFile(spec.Sandbox + "/stderr"); !strings.Contains(string(log), "failed: "+secret) {
		t.Errorf("the sandbox's stderr does not say so: %q", log)
	}
	spec.User = "no-such-user"
	if err := (&Fetcher{}).Fetch(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Fatal(err)
	}
}

func TestNothingToFetch(t *testing.T) {
	if err := (&Fetcher{Command: []string{"/no/such/program"}}).Fetch(t.Context(), &container.Spec{}); err != nil {
		t.Fatal(err)
	}
}

func TestChildThatDies(t *testing.T) {
	for script, want := range map[string]string{
		"exit 3":                            "exit status 3",
		"kill -9 $$":                        "signal: killed",
		"echo 'panic: oops' >&2; exit 2":    "the fetcher crashed (exit status 2): panic: oops",
		"yes | head -c 1000000 >&2; exit 4": "exit status 4",
	} {
		f := &Fetcher{Command: []string{"/bin/sh", "-c", script}}
		if err := f.Fetch(t.Context(), with(box(t), u("/etc/passwd"))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", script, err)
		}
	}
	f := &Fetcher{Command: []string{"/no/such/program"}}
	if err := f.Fetch(t.Context(), with(box(t), u("/etc/passwd"))); err == nil || !strings.Contains(err.Error(), "start the fetcher") {
		t.Error(err)
	}
}

// hanging serves one byte and then nothing; asked is closed when it was asked.
func hanging(t *testing.T) (url string, asked <-chan struct{}) {
	t.Helper()
	began := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "x")
		http.NewResponseController(w).Flush()
		close(began)
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	return server.URL + "/x", began
}

func TestCancel(t *testing.T) {
	url, asked := hanging(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	killed := errors.New("killed")
	go func() {
		<-asked
		cancel(killed)
	}()
	if err := (&Fetcher{}).Fetch(ctx, with(box(t), u(url))); !errors.Is(err, killed) {
		t.Fatal(err)
	}
}

func TestStall(t *testing.T) {
	url, _ := hanging(t)
	f := &Fetcher{Stall: 50 * time.Millisecond}
	if err := f.Fetch(t.Context(), with(box(t), u(url))); err == nil || !strings.Contains(err.Error(), "no progress for 50ms") {
		t.Fatal(err)
	}
}

// TestAgentDies: the child ends when the agent does.
func TestAgentDies(t *testing.T) {
	url, asked := hanging(t)
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command("/proc/self/exe", Verb)
	cmd.ExtraFiles = []*os.File{dir}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(stdin, `{"uris":[{"value":%q}],"stall":60000000000}`+"\n", url)
	<-asked
	stdin.Close()
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatal(err)
	}
}
