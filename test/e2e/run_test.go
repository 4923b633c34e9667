package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// expect compares what a command said, with what differs from run to run left out.
func (r result) expect(t *testing.T, code int, out, err string) {
	t.Helper()
	if r.code != code || normal(r.out) != out || normal(r.err) != err {
		t.Errorf("exit code %d, want %d\n%s\nwant\n%s\nstderr\n%s\nwant\n%s", r.code, code, normal(r.out), out, normal(r.err), err)
	}
}

// What `stoa run` and the verbs around it say to a user.
func TestRun(t *testing.T) {
	t.Parallel()
	c := newUp(t, "--resources", "cpus:4;mem:2048;disk:1024", "--hostname", "box")

	c.stoa("run", "--", "echo", "hello").expect(t, 0, "hello\n", "")
	c.stoa("run", "--", "sh", "-c", "echo out; echo err >&2; exit 3").expect(t, 3, "out\n", "err\nsh-ID.0.1: failed: Command exited with status 3\n")
	c.stoa("run", "--", "sh", "-c", "kill -TERM $$").expect(t, 128+15, "", "sh-ID.0.1: failed: Command terminated with signal Terminated\n")

	r := c.stoa("run", "--instances", "3", "--", "sh", "-c", "echo I am $STOA_INSTANCE")
	lines := strings.Split(strings.TrimSpace(normal(r.out)), "\n")
	slices.Sort(lines)
	if got := strings.Join(lines, "\n"); r.code != 0 || got != "sh-ID.0.1 | I am 0\nsh-ID.1.1 | I am 1\nsh-ID.2.1 | I am 2" {
		t.Errorf("three instances: %d\n%s\n%s", r.code, got, r.err)
	}

	c.env = []string{"STOA_TEST_INHERITED=from here"}
	c.stoa("run", "--env", "GIVEN=a b=c", "--env", "STOA_TEST_INHERITED", "--env", "STOA_TEST_UNSET", "--",
		"sh", "-c", `echo "$GIVEN, $STOA_TEST_INHERITED, ${STOA_TEST_UNSET-not set}"`).expect(t, 0, "a b=c, from here, not set\n", "")

	file := filepath.Join(c.dir, "input.txt")
	if err := os.WriteFile(file, []byte("fetched\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := c.stoa("run", "--uri", "file://"+file, "--", "cat", "input.txt"); r.code != 0 || r.out != "fetched\n" || !strings.Contains(r.err, "input.txt, 8 bytes") {
		t.Errorf("a URI: %+v", r)
	}
	if r := c.stoa("run", "--uri", "file://"+file+".not", "--", "cat", "input.txt"); r.code != 1 || !strings.Contains(r.err, "input.txt.not") {
		t.Errorf("a URI that is not there: %d %s", r.code, r.err)
	}
	if r := c.stoa("run", "--", "/no/such/program"); r.code == 0 || !strings.Contains(r.err, "/no/such/program") {
		t.Errorf("a program that is not there: %d %s", r.code, r.err)
	}

	flag := filepath.Join(c.dir, "flag")
	c.stoa("run", "--restart", "on-failure", "--", "sh", "-c", "test -e "+flag+" || { touch "+flag+"; exit 4; }; echo second time lucky").
		expect(t, 0, "second time lucky\n", "sh-ID.0.1: failed: Command exited with status 4; starts again in AGE\n")
	if root {
		c.stoa("run", "--user", "nobody", "--", "id", "-un").expect(t, 0, "nobody\n", "")
	}
	if limits {
		if r := c.stoa("run", "--mem", "32MB", "--", "dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"); r.code == 0 || !strings.Contains(r.err, "Memory limit exceeded") {
			t.Errorf("more memory than asked for: %d %s", r.code, r.err)
		}
	}
	if left := c.having("STOA_INSTANCE"); len(left) > 0 {
		t.Errorf("all runs have ended, but there are processes %v", left)
	}
}

// Ctrl-C kills a run that is followed; the program ends as the shell expects.
func TestInterruptedRun(t *testing.T) {
	t.Parallel()
	c := newUp(t, "--resources", "cpus:4;mem:2048;disk:1024", "--hostname", "box")
	p := c.begin("run", "--", "sh", "-c", "echo up; exec sleep 1000")
	p.says("up")
	p.signal(os.Interrupt)
	if code := p.exit(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	p.line(p.err, "killing sh-")
	until(t, "nothing runs", func() bool { return strings.HasPrefix(c.stoa("ps").out, "No tasks run.") })
	if left := c.having("STOA_INSTANCE"); len(left) > 0 {
		t.Errorf("it runs still: %v", left)
	}

	// The second ctrl-C leaves a stubborn one to the cluster.
	p = c.begin("run", "--", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done")
	p.says("up")
	p.signal(os.Interrupt)
	p.line(p.err, "ctrl-C again leaves it to the cluster")
	p.signal(os.Interrupt)
	if code := p.exit(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	// Its grace period has an end.
	until(t, "nothing runs", func() bool { return strings.HasPrefix(c.stoa("ps").out, "No tasks run.") })
}

// A run that goes on by itself, looked at and killed.
func TestDetachedRun(t *testing.T) {
	t.Parallel()
	c := newUp(t, "--service-listen", "", "--resources", "cpus:4;mem:2048;disk:1024;ports:[31000-31003]", "--hostname", "box")
	golden(t, "list/ps-none", c.stoa("ps"))
	golden(t, "list/agents", c.stoa("agents"))
	golden(t, "list/frameworks", c.stoa("frameworks"))

	go1, go2 := filepath.Join(c.dir, "go1"), filepath.Join(c.dir, "go2")
	for _, f := range []string{go1, go2} {
		if err := syscall.Mkfifo(f, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	r := c.stoa("run", "--detach", "--name", "web", "--cpus", "0.5", "--mem", "1G", "--", "sh", "-c",
		"echo one; echo two; echo bad >&2; read x <"+go1+"; echo three; echo four; read x <"+go2)
	id := strings.TrimSpace(r.out)
	if r.code != 0 || r.err != "" || !regexp.MustCompile(`^web-[0-9a-f]{8}\n$`).MatchString(r.out) {
		t.Fatalf("--detach: %+v", r)
	}
	logs := c.begin("logs", "-f", "web")
	logs.says("two")
	golden(t, "list/ps", c.stoa("ps"))
	golden(t, "list/ps-wide", c.stoa("ps", "-o", "wide"))
	golden(t, "list/agents-busy", c.stoa("agents", "-o", "wide"))
	golden(t, "list/frameworks-busy", c.stoa("frameworks", "-o", "wide"))
	golden(t, "list/why-running", c.stoa("why", id))
	if err := os.WriteFile(go1, []byte("\n"), 0); err != nil {
		t.Fatal(err)
	}
	logs.says("four")
	c.stoa("logs", "--stdout", "--tail", "2", "web").expect(t, 0, "three\nfour\n", "")
	c.stoa("logs", "--stderr", "web").expect(t, 0, "", "bad\n")
	c.stoa("logs", id+".0.1").expect(t, 0, "one\ntwo\nthree\nfour\n", "bad\n")
	if err := os.WriteFile(go2, []byte("\n"), 0); err != nil {
		t.Fatal(err)
	}
	if code := logs.exit(); code != 0 {
		t.Errorf("logs -f ends with %d when the task has", code)
	}
	golden(t, "list/ps-all", c.stoa("ps", "-a", "-o", "wide"))
	for _, format := range []string{"json", "yaml"} {
		golden(t, "list/ps-"+format, c.stoa("ps", "-a", "-o", format))
		golden(t, "list/agents-"+format, c.stoa("agents", "-o", format))
		golden(t, "list/frameworks-"+format, c.stoa("frameworks", "-o", format))
	}

	id = strings.TrimSpace(c.stoa("run", "-d", "--restart", "always", "--", "sleep", "1000").out)
	until(t, "it runs", func() bool { return strings.Contains(c.stoa("ps").out, "running") })
	c.stoa("kill", id).expect(t, 0, "killing sleep-ID, 1 instances\n", "")
	until(t, "it is killed and stays so", func() bool { return strings.Contains(c.stoa("ps", "-a").out, "killed") })
	c.stoa("kill", id+".0.1").expect(t, 3, "", "error: task sleep-ID.0.1 has ended already: killed\n")

	id = strings.TrimSpace(c.stoa("run", "-d", "--", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done").out)
	stubborn := c.begin("logs", "-f", "--stdout", id)
	stubborn.says("up")
	c.stoa("kill", "--grace", "200ms", id+".0.1").expect(t, 0, "killing sh-ID.0.1\n", "")
	if code := stubborn.exit(); code != 0 {
		t.Errorf("logs -f of a killed task ends with %d", code)
	}

	id = strings.TrimSpace(c.stoa("run", "-d", "--cpus", "64", "--", "true").out)
	golden(t, "list/ps-waiting", c.stoa("ps"))
	golden(t, "list/why-waiting", c.stoa("why", id))
	c.stoa("kill", id).expect(t, 0, "killing true-ID, 1 instances\n", "")
	versions := regexp.MustCompile(`^COMPONENT  VERSION  COMMIT\nstoa  \S+  \S+\nmaster at 127\.0\.0\.1:PORT  1\.11\.0  \S+\n$`)
	if r := c.stoa("version"); r.code != 0 || !versions.MatchString(normal(r.out)) {
		t.Errorf("version: %+v", r)
	}
}

// Mistakes end with 64, no cluster with 69, and each says what to try.
func TestMistakes(t *testing.T) {
	t.Parallel()
	c := &cluster{t: t, addr: "127.0.0.1:1"}
	for _, args := range []string{
		"bogus", "rum -- true", "run --bogus -- true", "run", "run --restart sometimes -- true", "run --mem lots -- true", "run --cpus 0 --instances 501 -- true",
		"run --env =x -- true", "ps extra", "ps -o xml", "why", "why task --cpus 1", "logs", "logs --stdout --stderr x", "logs --tail -2 x", "kill", "kill --grace soon x",
		"up --agents 0", "up --log-level loud", "up --min-allocatable-resources x", "agent --attributes :", "agent --log-files 0", "agent --resources cpus", "master --agent-removal-rate-limit 1",
		"up --gc-delay soon",
	} {
		r := c.stoa(strings.Fields(args)...)
		if r.code != 64 || r.out != "" || !strings.HasPrefix(r.err, "error: ") || !strings.Contains(r.err, "\ntry: ") {
			t.Errorf("stoa %s: exit code %d\n%s%s", args, r.code, r.out, r.err)
		}
	}
	for _, args := range []string{"ps", "agents", "frameworks", "run -- true", "logs x", "kill x", "why x", "why --cpus 1"} {
		r := c.stoa(strings.Fields(args)...)
		if r.code != 69 || !strings.Contains(r.err, "connection refused") || !strings.Contains(r.err, "try:   start one with `stoa up`, or name its address with --addr or STOA_ADDR\n") {
			t.Errorf("stoa %s without a cluster: exit code %d\n%s", args, r.code, r.err)
		}
	}
	c.stoa("version", "--no-headers").expect(t, 0, normal(c.stoa("version", "--no-headers").out), "no master answers at 127.0.0.1:PORT\n")
	for _, args := range []string{"", "--help", "help run", "exit-codes", "completion bash"} {
		if r := c.stoa(strings.Fields(args)...); r.code != 0 || r.out == "" || r.err != "" {
			t.Errorf("stoa %s: %+v", args, r)
		}
	}
}
