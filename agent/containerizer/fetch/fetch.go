// Package fetch brings the files a task asks for (CommandInfo.uris) into its sandbox.
//
// It works in a child process with the task user's credentials, so that a file URI
// reads what the user may read and no more, and so that a decoder fed with a hostile
// archive is not the agent. The child is this program again, with the verb Verb; it is
// given the sandbox as an open directory, the request on its standard input, and ends
// when that is closed: an agent that dies leaves no fetch behind.
//
//	agent                                child (user's uid, gid and groups)
//	  | exec /proc/self/exe fetch          |
//	  | stdin: request as JSON ----------> | os.Root on fd 3, the sandbox
//	  |                                    | log lines -> <sandbox>/stderr
//	  | <---- stdout: why it failed, exit status 1, or nothing, exit status 0
//
// Names and archives are treated as Mesos's fetcher does (1.11, src/launcher/fetcher.cpp,
// docs/fetcher.md), with the differences in source.go and archive.go. CommandInfo.URI.cache
// is accepted and changes nothing: every task gets its own copy.
package fetch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/internal/account"
)

// Verb is the hidden verb of the command line under which the program calls Main.
const Verb = "fetch"

// Fetcher fetches. The zero value has the defaults.
type Fetcher struct {
	// Command starts the child; nil means /proc/self/exe with Verb.
	Command []string
	// Stall is how long a download may make no progress; 0 means 1 min, as Mesos.
	Stall time.Duration
}

// request is what the child is asked to do.
type request struct {
	URIs []uri         `json:"uris"`
	Disk int64         `json:"disk"` // bytes that may be written, 0 for any number
	Wait time.Duration `json:"stall"`
}

type uri struct {
	Value      string `json:"value"`
	Executable bool   `json:"executable,omitempty"`
	Extract    bool   `json:"extract,omitempty"`
	Output     string `json:"output,omitempty"`
}

// Fetch brings spec's URIs into its sandbox, which exists and belongs to spec.User. It
// returns when that is done, has failed, or ctx has ended; no process is left then.
// What was fetched before a failure stays in the sandbox. The message is the one
// frameworks know from Mesos.
func (f *Fetcher) Fetch(ctx context.Context, spec *container.Spec) error {
	if len(spec.URIs) == 0 {
		return nil
	}
	if err := f.fetch(ctx, spec); err != nil {
		return fmt.Errorf("Failed to fetch all URIs for container '%s': %w", spec.ID, err)
	}
	return nil
}

func (f *Fetcher) fetch(ctx context.Context, spec *container.Spec) error {
	r := request{Disk: spec.DiskLimit, Wait: f.Stall}
	if r.Wait == 0 {
		r.Wait = time.Minute
	}
	for _, u := range spec.URIs {
		one := uri{Value: u.GetValue(), Executable: u.GetExecutable(), Extract: u.GetExtract(), Output: u.GetOutputFile()}
		// Refused before a process is started: the form of a URI needs no file.
		if _, err := parse(one); err != nil {
			return err
		}
		r.URIs = append(r.URIs, one)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	user, err := account.Lookup(spec.User)
	if err != nil {
		return err
	}
	sandbox, err := os.OpenFile(spec.Sandbox, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer sandbox.Close()

	argv := f.Command
	if argv == nil {
		argv = []string{"/proc/self/exe", Verb}
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = environment()
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{sandbox}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user.Credential(), Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	var reason, crash capped
	cmd.Stdout, cmd.Stderr = &reason, &crash
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		stdin.Close()
		return fmt.Errorf("start the fetcher: %w", err)
	}
	// The child reads the request to its end before it does anything else; should it
	// have died, Wait says how.
	_, _ = stdin.Write(append(body, '\n'))
	err = cmd.Wait() // closes stdin
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil:
		return nil
	case reason.Len() > 0:
		return errors.New(strings.TrimSpace(reason.String()))
	case crash.Len() > 0:
		line, _, _ := strings.Cut(strings.TrimSpace(crash.String()), "\n")
		return fmt.Errorf("the fetcher crashed (%w): %s", err, line)
	}
	return fmt.Errorf("the fetcher did not end well: %w", err)
}

// environment is what the child needs of the agent's: proxies, trust, and the time zone
// of its log lines.
func environment() []string {
	var env []string
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "TZ"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// capped keeps the first 4 KiB written to it.
type capped struct{ bytes.Buffer }

// Write never fails, so that the child never blocks.
func (c *capped) Write(p []byte) (int, error) {
	if room := 4096 - c.Len(); room > 0 {
		c.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
