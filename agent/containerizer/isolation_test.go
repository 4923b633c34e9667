package containerizer

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// program executes without a shell.
func program(argv ...string) func(*container.Spec) {
	return func(s *container.Spec) { s.Path, s.Argv = argv[0], argv }
}

func TestNamespaces(t *testing.T) {
	r := newRig(t)
	for _, kind := range []string{"pid", "mnt", "ipc", "uts", "net", "user", "cgroup"} {
		host, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		own := r.cfg.Root && slices.Contains([]string{"pid", "mnt", "ipc", "uts"}, kind)
		if got := r.output(r.spec("readlink /proc/self/ns/" + kind)); got == host == own {
			t.Errorf("namespace %s: %s, the host's is %s", kind, got, host)
		}
	}
	if !r.cfg.Root {
		return
	}
	// A fresh /proc shows the container's processes alone; names and mounts stay inside.
	out := r.output(r.spec(`
		set -- /proc/[0-9]*; echo $#; cat /proc/1/comm; hostname of-the-task; hostname
		mkdir m; mount -t tmpfs none m; grep -c " $PWD/m " /proc/self/mounts`))
	if out != "2\nstoa-init:run\nof-the-task\n1" {
		t.Errorf("in the container:\n%s", out)
	}
	if name, err := os.Hostname(); err != nil || name == "of-the-task" {
		t.Errorf("the host's name: %q %v", name, err)
	}
	if b, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(b), r.root) {
		t.Errorf("a mount of the task is on the host: %v", err)
	}
}

// TestNothingIsInherited: environment, descriptors, signals and directory are the
// task's own.
func TestNothingIsInherited(t *testing.T) {
	r := newRig(t)
	t.Setenv("OF_THE_AGENT", "1")
	s := r.spec("", program("/usr/bin/env"))
	s.Env = []string{"A=b c", "PATH=/bin"}
	if out := r.output(s); out != "A=b c\nPATH=/bin" {
		t.Errorf("environment:\n%s", out)
	}

	secret, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	// As careless code would leave it: without close-on-exec.
	careless, err := unix.Dup(int(secret.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(careless)
	out := r.output(r.spec("for f in /proc/$$/fd/*; do echo ${f##*/} $(readlink $f | sed 's/:.*//; s|^/.*/dev/null$|/dev/null|'); done"))
	// The shell may open one of its own, from 10 on. In a chroot the null device has a
	// longer path.
	if !strings.HasPrefix(out, "0 /dev/null\n1 pipe\n2 pipe") || strings.Count(out, "\n") > 3 {
		t.Errorf("descriptors:\n%s", out)
	}

	s = r.spec("", program("/bin/grep", "Sig[BI][lg]", "/proc/self/status"))
	if out := strings.Join(strings.Fields(r.output(s)), " "); out != "SigBlk: 0000000000000000 SigIgn: 0000000000000000" {
		t.Errorf("signals: %s", out)
	}
	s = r.spec("", program("/bin/pwd"))
	if out := r.output(s); out != s.Sandbox {
		t.Errorf("directory %q, want %q", out, s.Sandbox)
	}
	s = r.spec("umask; touch new; stat -c %a new; cat /proc/self/oom_score_adj")
	if out := r.output(s); out != "0022\n644\n0" {
		t.Errorf("umask and score %q", out)
	}
	// A session of its own, without a terminal.
	s = r.spec("read pid name state parent group session terminal rest </proc/$$/stat; echo $terminal $session $pid")
	if f := strings.Fields(r.output(s)); len(f) != 3 || f[0] != "0" || f[1] != f[2] {
		t.Errorf("terminal, session, pid: %v", f)
	}
}

func TestArguments(t *testing.T) {
	r := newRig(t)
	s := r.spec("", func(s *container.Spec) {
		s.Path, s.Argv = "printf", []string{"anything", "%s|", "a b", "", "$HOME", "ü"}
	})
	if out := r.output(s); out != "a b||$HOME|ü|" {
		t.Errorf("got %q", out)
	}
	// A script without a #! line is the shell's, as execvp has it.
	s = r.spec("", func(s *container.Spec) {
		s.Path, s.Argv, s.Env = "script", []string{"script", "x"}, []string{"PATH=/nowhere::/bin"}
		if err := os.WriteFile(filepath.Join(s.Sandbox, "script"), []byte("echo got $1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	})
	if out := r.output(s); out != "got x" {
		t.Errorf("got %q", out)
	}
}

func TestUser(t *testing.T) {
	r := newRig(t)
	id := "id -u; id -g; id -G; grep NoNewPrivs /proc/self/status | tr -d '\\t'; touch new && stat -c %U new"
	s := r.spec(id, as("nobody"))
	if out := r.output(s); out != "65534\n65534\n65534\nNoNewPrivs:1\nnobody" {
		t.Errorf("as nobody:\n%s", out)
	}
	// Output belongs to the task's user, so that it can be cleaned up.
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(s.Sandbox, "stdout"), &st); err != nil || st.Uid != 65534 {
		t.Errorf("stdout belongs to %d %v", st.Uid, err)
	}
	me := strconv.Itoa(os.Geteuid())
	if out := r.output(r.spec("id -u")); out != me {
		t.Errorf("as the agent's user: %s, want %s", out, me)
	}
	if !r.cfg.Root {
		s := r.spec("id -u", func(s *container.Spec) { s.User = "root" })
		r.n.Launch(s)
		if f := next[container.Failed](r, s.ID); !strings.Contains(f.Message, `cannot run as "root"`) {
			t.Errorf("got %+v", f)
		}
		r.n.Destroy(s.ID)
		next[container.Destroyed](r, s.ID)
	}
}

// TestInitIsNotTheTasks: a task under the same user cannot trace its init, nor end it.
func TestInitIsNotTheTasks(t *testing.T) {
	r := newRig(t)
	s := r.spec("kill -TERM $PPID; kill -HUP $PPID; ls /proc/$PPID/fd >/dev/null 2>&1 && echo open; exit 3", as("nobody"))
	if !r.cfg.Root {
		s = r.spec("kill -TERM $PPID; kill -HUP $PPID; exit 3")
	}
	if e := r.run(s); !e.Known || wait(e) != 3<<8 || r.read(s.ID, "stdout") != "" {
		t.Errorf("got %+v, stdout %q", e, r.read(s.ID, "stdout"))
	}
}

func TestRlimits(t *testing.T) {
	r := newRig(t)
	s := r.spec("ulimit -Sn; ulimit -Hn; ulimit -c", func(s *container.Spec) {
		s.Rlimits = []*mesos.RLimitInfo_RLimit{
			{Type: mesos.RLimitInfo_RLimit_RLMT_NOFILE.Enum(), Soft: proto.Uint64(100), Hard: proto.Uint64(200)},
			{Type: mesos.RLimitInfo_RLimit_RLMT_CORE.Enum(), Soft: proto.Uint64(0), Hard: proto.Uint64(0)},
		}
	})
	if out := r.output(s); out != "100\n200\n0" {
		t.Errorf("got %q", out)
	}
}

func capabilities(list ...mesos.CapabilityInfo_Capability) *mesos.CapabilityInfo {
	return &mesos.CapabilityInfo{Capabilities: list}
}

func TestCapabilities(t *testing.T) {
	r := newRig(t)
	const show = "grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status | tr -d '\\t'"
	const chown, kill = mesos.CapabilityInfo_CHOWN, mesos.CapabilityInfo_KILL // 1 and 32
	if !r.cfg.Root {
		s := r.spec(show, func(s *container.Spec) { s.Effective = capabilities(kill) })
		r.n.Launch(s)
		if f := next[container.Failed](r, s.ID); !strings.Contains(f.Message, "cannot set capabilities") {
			t.Errorf("got %+v", f)
		}
		r.n.Destroy(s.ID)
		next[container.Destroyed](r, s.ID)
		return
	}
	for _, c := range []struct {
		name                string
		user                string
		bounding, effective *mesos.CapabilityInfo
		want                string
	}{
		{"root, bounded", "", capabilities(chown, kill), nil, "21 21 21"},
		{"root, less", "", capabilities(chown, kill), capabilities(kill), "20 20 21"},
		{"root, none", "", capabilities(), capabilities(), "0 0 0"},
		{"root, effective alone", "", nil, capabilities(chown), "1 1 1"},
		{"user, bounded", "nobody", capabilities(chown, kill), nil, "0 0 21"},
		{"user, given", "nobody", capabilities(chown, kill), capabilities(kill), "20 20 21"},
	} {
		s := r.spec(show, func(s *container.Spec) { s.Bounding, s.Effective = c.bounding, c.effective })
		if c.user != "" {
			as(c.user)(s)
		}
		var got []string
		for line := range strings.Lines(r.output(s)) {
			_, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			n, err := strconv.ParseUint(value, 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, strconv.FormatUint(n, 16))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: permitted, effective, bounding %v, want %s", c.name, got, c.want)
		}
	}
}

func TestVolumes(t *testing.T) {
	r := newRig(t)
	source := filepath.Join(r.root, "volume")
	if err := errors.Join(os.Mkdir(source, 0o755), os.WriteFile(filepath.Join(source, "old"), []byte("kept\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	s := r.spec("cat deep/data/old; echo new >deep/data/new", func(s *container.Spec) {
		s.Volumes = []container.Mount{{Source: source, Target: "deep/data"}}
	})
	if out := r.output(s); out != "kept" {
		t.Errorf("got %q", out)
	}
	if b, err := os.ReadFile(filepath.Join(source, "new")); err != nil || string(b) != "new\n" {
		t.Errorf("what the task wrote: %q %v", b, err)
	}
	if b, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(b), r.root) {
		t.Errorf("a volume is mounted on the host: %v", err)
	}
	if !r.cfg.Root {
		return
	}
	s = r.spec("cat data/old; touch data/no || echo refused", func(s *container.Spec) {
		s.Volumes = []container.Mount{{Source: source, Target: "data", ReadOnly: true}}
	})
	if out := r.output(s); out != "kept\nrefused" {
		t.Errorf("read only: %q", out)
	}
	// A link in the sandbox must not lead the mount out of it.
	s = r.spec("exit 0", func(s *container.Spec) {
		s.Volumes = []container.Mount{{Source: source, Target: "link/data"}}
		if err := os.Symlink("/tmp", filepath.Join(s.Sandbox, "link")); err != nil {
			t.Fatal(err)
		}
	})
	r.n.Launch(s)
	next[container.Forked](r, s.ID)
	r.n.Go(s.ID)
	if f := next[container.Failed](r, s.ID); !strings.Contains(f.Message, "mount a volume") {
		t.Errorf("got %+v", f)
	}
	r.n.Destroy(s.ID)
	next[container.Destroyed](r, s.ID)
}
