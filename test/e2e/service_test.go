package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// What the command line says of apps, from the first deployment to the last.
func TestServiceCommandLine(t *testing.T) {
	t.Parallel()
	c := newUp(t, "--resources", "cpus:4;mem:2048;disk:1024;ports:[31000-31099]", "--hostname", "127.0.0.1")
	file := func(greeting string) string {
		t.Helper()
		path := filepath.Join(c.dir, "greet.yaml")
		text := "id: /team/greet\ncmd: 'echo \"$GREETING from $MESOS_TASK_ID\"; exec sleep 1000'\ninstances: 2\ncpus: 0.1\nmem: 32\nenv: {GREETING: " + greeting + "}\nportDefinitions: []\n"
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// says runs a command that has to succeed, and gives what it says on stdout.
	says := func(args ...string) string {
		t.Helper()
		r := c.stoa(args...)
		if r.code != 0 {
			t.Fatalf("stoa %s: exit code %d\n%s%s", args, r.code, r.out, r.err)
		}
		return r.out
	}

	golden(t, "service/list-none", c.stoa("app", "list"))
	golden(t, "service/dry-run", c.stoa("app", "apply", "-f", file("hello"), "--dry-run"))
	if out := says("app", "list"); !strings.HasPrefix(out, "There are no apps.") {
		t.Errorf("--dry-run has done something:\n%s", out)
	}
	if out := says("app", "apply", "-f", file("hello")); !strings.HasSuffix(out, "/team/greet  2 instances\n") {
		t.Errorf("apply:\n%s", out)
	}
	golden(t, "service/nothing", c.stoa("app", "apply", "-f", file("hello")))
	golden(t, "service/list", c.stoa("app", "list"))
	golden(t, "service/groups", c.stoa("group", "list"))

	// The logs of all instances, and of those that are started later.
	logs := c.begin("logs", "-f", "/team/greet")
	logs.says("hello from team_greet.instance-")
	golden(t, "service/change", c.stoa("app", "apply", "-f", file("moin"), "--dry-run"))
	says("app", "apply", "-f", file("moin"))
	line := logs.says("moin from team_greet.instance-")
	if !regexp.MustCompile(`^team_greet\.[0-9a-f]{8} \| moin from team_greet\.instance-`).MatchString(line) {
		t.Errorf("a line of logs: %q", line)
	}
	if out := says("app", "scale", "team/greet", "3"); out != "" {
		t.Errorf("scale says on stdout:\n%s", out)
	}
	if n := strings.Count(says("app", "show", "/team/greet", "--no-headers"), "running  -"); n != 3 {
		t.Errorf("%d tasks run, want 3", n)
	}
	golden(t, "service/versions", c.stoa("app", "versions", "/team/greet"))
	says("app", "suspend", "/team/greet")
	golden(t, "service/suspended", c.stoa("app", "list"))
	says("app", "resume", "/team/greet")
	if out := says("app", "list"); !strings.Contains(out, "3/3") {
		t.Errorf("resumed:\n%s", out)
	}
	golden(t, "service/rollback", c.stoa("app", "rollback", "/team/greet", "--dry-run"))
	says("app", "rollback", "/team/greet")
	says("app", "restart", "/team/greet")
	if out := says("why", "/team/greet"); out == "" {
		t.Error("why says nothing")
	}

	// What cannot be done in time, and what is in the way.
	r := c.stoa("app", "scale", "/team/greet", "100", "--timeout", "100ms")
	if r.code != 2 || !strings.Contains(r.err, "it goes on\n") || !strings.Contains(r.err, "stoa deployment watch ") {
		t.Errorf("more than there is room for: exit code %d\n%s", r.code, r.err)
	}
	until(t, "what fits is there", func() bool { return strings.Contains(says("deployment", "list"), " 60 of 100 ") })
	golden(t, "service/deployments", c.stoa("deployment", "list"))
	r = c.stoa("app", "restart", "/team/greet")
	if r.code != 5 || !strings.Contains(r.err, "by 127.0.0.1, step 1 of 1") || !strings.Contains(r.err, "--force") {
		t.Errorf("a locked app: exit code %d\n%s", r.code, r.err)
	}
	watch := c.begin("deployment", "watch")
	watch.line(watch.err, "scale /team/greet: ")
	watch.signal(os.Interrupt)
	if code := watch.exit(); code != 130 || !strings.Contains(watch.err.String(), "follows it again") {
		t.Errorf("a watch that is interrupted: exit code %d\n%s", code, watch.err)
	}
	until(t, "the queue shows it", func() bool { return strings.Contains(says("queue", "list"), "/team/greet") })
	watch = c.begin("deployment", "watch")
	watch.line(watch.err, "scale /team/greet: ")
	id := strings.Fields(says("deployment", "list", "--no-headers"))[0]
	says("deployment", "rollback", id)
	if code := watch.exit(); code != 1 || !strings.Contains(watch.err.String(), "error: deployment "+id+" failed\nwhy:   it was taken back by 127.0.0.1") {
		t.Errorf("a deployment that is taken back: exit code %d\n%s", code, watch.err)
	}

	says("app", "delete", "/team/greet")
	if code := logs.exit(); code != 0 {
		t.Errorf("logs -f of an app that is deleted: exit code %d", code)
	}
	if r := c.stoa("app", "show", "/team/greet"); r.code != 3 {
		t.Errorf("a deleted app: exit code %d\n%s", r.code, r.out)
	}
	if r := c.stoa("logs", "/team/nothing"); r.code != 3 || !strings.Contains(r.err, "no app /team/nothing is known") {
		t.Errorf("logs of no app: exit code %d\n%s", r.code, r.err)
	}
	bad := filepath.Join(c.dir, "bad.json")
	if err := os.WriteFile(bad, []byte(`[{"id":"/UPPER","cmd":"true","cpus":-1}]`), 0o644); err != nil {
		t.Fatal(err)
	}
	golden(t, "service/invalid", c.stoa("app", "apply", "-f", bad))

	// What the documents show is taken, without a warning.
	text, err := os.ReadFile("../../docs/services.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 5 {
		t.Errorf("only %d examples were found", len(blocks))
	}
	for _, b := range blocks {
		path := filepath.Join(c.dir, "example.yaml")
		if err := os.WriteFile(path, []byte(b[1]), 0o644); err != nil {
			t.Fatal(err)
		}
		if r := c.stoa("app", "apply", "-f", path, "--dry-run"); r.code != 0 || r.err != "" || !strings.HasPrefix(r.out, "+ /shop/") {
			t.Errorf("%s\nexit code %d\n%s%s", b[1], r.code, r.out, r.err)
		}
	}
}

// What make run does: a first time, one that ends by kill -9, and once more.
func TestMakeRun(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	if out, err := exec.Command("go", "build", "-o", filepath.Join(c.dir, "bin")+"/", "../../examples/hello").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, to := range map[string]string{"bin/stoa": filepath.Join(bin, "stoa"), "examples": "../../examples"} {
		to, err := filepath.Abs(to)
		if err == nil {
			err = os.Symlink(to, filepath.Join(c.dir, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// In place of the wordcount, which has a test of its own: it holds the script.
	hold := filepath.Join(c.dir, "hold")
	if err := os.WriteFile(filepath.Join(c.dir, "bin/wordcount"), []byte("#!/bin/sh\nwhile test -e "+hold+"; do sleep 0.05; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("../../scripts/run.sh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.clean)
	begin := func() *process {
		t.Helper()
		return start(t, []string{"STOA_DATA_DIR=" + c.dir + "/data", "ONCE=1"}, "/bin/sh", "-c", "cd "+c.dir+" && exec sh "+script+` "$@"`,
			"run.sh", "--master-listen", "127.0.0.1:0", "--agent-listen", "127.0.0.1:0", "--run-listen", "127.0.0.1:0", "--service-listen", "127.0.0.1:0",
			"--hostname", "127.0.0.1", "--cgroups-root", c.cgroups)
	}
	first := begin()
	if code := first.exit(); code != 0 || !strings.Contains(first.out.String(), "Hello from hello.instance-") {
		t.Errorf("the first time: exit code %d\n%s%s", code, first.out, first.err)
	}
	c.none()

	if err := os.WriteFile(hold, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	killed := begin()
	killed.says("Hello from hello.instance-")
	for _, pid := range c.processes() {
		if argv, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.HasPrefix(string(argv), "bin/stoa\x00up\x00") {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		}
	}
	if err := os.Remove(hold); err != nil {
		t.Fatal(err)
	}
	if code := killed.exit(); code == 0 {
		t.Error("a run whose cluster was killed ends with 0")
	}
	if n := len(c.having("GREETING")); n == 0 {
		t.Error("kill -9 of the cluster has ended the app")
	}

	again := begin()
	if code := again.exit(); code != 0 || !strings.Contains(again.out.String(), "nothing to change\n/hello  2 instances  http://127.0.0.1:") ||
		!strings.Contains(again.out.String(), "Hello from hello.instance-") {
		t.Errorf("again: exit code %d\n%s%s", code, again.out, again.err)
	}
	c.none()
}
