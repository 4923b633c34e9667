package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/internal/build"
)

// source is a URI understood.
type source struct {
	http   string // to be downloaded, or
	file   string // to be copied
	output string // name in the sandbox, local
	kind   kind
}

// parse understands a URI. Schemes are file (and absolute paths), http and https. The
// name in the sandbox is output_file, or what follows the last slash, a query
// included, as in Mesos.
func parse(u uri) (source, error) {
	var s source
	value := strings.TrimLeft(u.Value, " \t\r\n\v\f")
	if strings.ContainsAny(value, "\\'\x00") {
		return s, fmt.Errorf("%s: illegal characters in the URI", shown(value))
	}
	scheme, rest, ok := strings.Cut(value, "://")
	switch scheme := strings.ToLower(scheme); {
	case path.IsAbs(value):
		s.file = value
	case !ok:
		return s, fmt.Errorf("%s: neither an absolute path nor a URI with a scheme: give the path from the root", shown(value))
	case scheme == "file":
		host, name, _ := strings.Cut(rest, "/")
		if host != "" && host != "localhost" {
			return s, fmt.Errorf("%s: a file of another host cannot be read: use file:///path or http", shown(value))
		}
		s.file = "/" + name
	case scheme == "http" || scheme == "https":
		if _, err := url.Parse(value); err != nil {
			return s, fmt.Errorf("%s: not a URL: %w", shown(value), errors.Unwrap(err))
		}
		if _, name, _ := strings.Cut(rest, "/"); name == "" {
			return s, fmt.Errorf("%s: Malformed URI (missing path)", shown(value))
		}
		s.http = value
	default:
		return s, fmt.Errorf("%s: scheme %q is not supported: use http, https, file or an absolute path", shown(value), scheme)
	}
	s.output = u.Output
	if s.output == "" {
		s.output = value[strings.LastIndexByte(value, '/')+1:]
	}
	if !filepath.IsLocal(s.output) || path.Clean(s.output) == "." || strings.HasSuffix(s.output, "/") || strings.ContainsRune(s.output, 0) {
		return s, fmt.Errorf("%s: %q is not a file name inside the sandbox", shown(value), s.output)
	}
	s.output = path.Clean(s.output)
	if reserved(s.output) {
		return s, fmt.Errorf("%s: %q is where the task's output goes: set another output_file", shown(value), s.output)
	}
	s.kind = kindOf(s.output)
	return s, nil
}

// reserved says whether name is one of the files the task's output is written to, from
// outside of its container: nothing fetched may stand there.
func reserved(name string) bool {
	name = path.Clean(name)
	return name == "stdout" || name == "stderr" || strings.HasPrefix(name, "stdout.") || strings.HasPrefix(name, "stderr.")
}

// shown is a URI without its password, cut short, for logs and messages.
func shown(value string) string {
	if u, err := url.Parse(value); err == nil && u.User != nil {
		value = u.Redacted()
	}
	if len(value) > 500 {
		value = value[:500] + "…"
	}
	return strings.ToValidUTF8(value, "?")
}

func (f *fetch) download(ctx context.Context, s source) (int64, error) {
	if s.file != "" {
		return f.copy(s)
	}
	return f.get(ctx, s)
}

// copy brings a local file. Only a regular one: a pipe would never end.
func (f *fetch) copy(s source) (int64, error) {
	in, err := os.OpenFile(s.file, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, errors.New("not a regular file")
	}
	return f.store(s.output, in)
}

func (f *fetch) get(ctx context.Context, s source) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := fmt.Errorf("no progress for %s", f.stall)
	watch := time.AfterFunc(f.stall, func() { cancel(stalled) })
	defer watch.Stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.http, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("User-Agent", "stoa/"+build.Version)
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: f.stall}).DialContext,
		DisableCompression:     true, // x.gz is to arrive as x.gz
		MaxResponseHeaderBytes: 1 << 20,
	}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return 0, cause
		}
		var ue *url.Error // it repeats method and URL
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the server answered %s", resp.Status)
	}
	if resp.ContentLength > f.disk.left {
		return 0, f.disk.take(resp.ContentLength)
	}
	n, err := f.store(s.output, &progress{resp.Body, func() { watch.Reset(f.stall) }})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return n, err
}

// progress tells when something was read.
type progress struct {
	r    io.Reader
	tell func()
}

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if n > 0 {
		p.tell()
	}
	return n, err
}

// store writes a file of the sandbox.
func (f *fetch) store(name string, r io.Reader) (n int64, err error) {
	if err := f.disk.take(0); err != nil {
		return 0, err
	}
	out, err := f.create(name, 0o644)
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(spend{out, &f.disk}, r)
	return n, errors.Join(err, out.Close())
}
