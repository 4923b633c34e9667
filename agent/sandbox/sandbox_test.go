package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/internal/account"
)

// TestMain can run as another user: what a user leaves in his sandbox is made by a
// child with his credentials.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("SANDBOX_MESS") != "":
		if err := mess(os.Getenv("SANDBOX_MESS")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case os.Getenv("SANDBOX_UNPRIVILEGED") == "" && os.Geteuid() == 0:
		// The same tests as root and as nobody.
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
	dir, err := os.MkdirTemp("", "sandbox-nobody-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// The test binary lies where nobody may not go.
	binary, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.WriteFile(dir+"/test", binary, 0o755), os.Mkdir(dir+"/tmp", 0o777), os.Chmod(dir+"/tmp", 0o777))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cmd := exec.Command(dir+"/test", "-test.run=.")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SANDBOX_UNPRIVILEGED=1", "TMPDIR="+dir+"/tmp", "GOCOVERDIR="+dir+"/tmp")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: nobody.Credential()}
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "as nobody: %v\n%s", err, out)
		return 1
	}
	return 0
}

// mess is what a hostile task leaves behind.
func mess(box string) error {
	return errors.Join(
		os.Symlink("/", filepath.Join(box, "root")),
		os.Symlink("/etc/passwd", filepath.Join(box, "passwd")),
		os.Symlink("../../../../../../../..", filepath.Join(box, "up")),
		unix.Mkfifo(filepath.Join(box, "pipe"), 0o666),
		os.MkdirAll(filepath.Join(box, "a/b/c"), 0o700),
		os.WriteFile(filepath.Join(box, "a/b/c/file"), []byte("x"), 0o400),
		os.Chmod(filepath.Join(box, "a/b/c"), 0o500),
		os.Chmod(filepath.Join(box, "a/b"), 0),
	)
}

func someone() string {
	if os.Geteuid() == 0 {
		return "nobody"
	}
	return ""
}

func messAs(t *testing.T, name, box string) {
	t.Helper()
	a, err := account.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	if a.Mine() {
		if err := mess(box); err != nil {
			t.Fatal(err)
		}
		return
	}
	// As in production the binary is opened by root and executed by the user.
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"SANDBOX_MESS=" + "."}
	cmd.Dir = box
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.Credential()}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// place is a work directory that the user can reach.
func place(t *testing.T) string {
	t.Helper()
	work, err := os.MkdirTemp("", "work-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(work) })
	if err := os.Chmod(work, 0o755); err != nil {
		t.Fatal(err)
	}
	return work
}

func box(work, container string) string {
	return filepath.Join(work, "slaves/S0/frameworks/F1/executors/E 1/runs", container)
}

func TestCreate(t *testing.T) {
	work := place(t)
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	owner, err := account.Lookup(someone())
	if err != nil {
		t.Fatal(err)
	}
	for _, container := range []string{"c1", "c2", "c2"} {
		if err := Create(work, box(work, container), someone()); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(box(work, container))
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		if info.Mode() != fs.ModeDir|0o750 || st.Uid != owner.UID || st.Gid != owner.GID {
			t.Fatalf("%s: %v, uid %d", container, info.Mode(), st.Uid)
		}
		if target, err := os.Readlink(box(work, "latest")); err != nil || target != container {
			t.Fatalf("latest is %q, %v", target, err)
		}
	}
}

// TestCreateFollowsNoLink: what an executor's directory was swapped for is not built in.
func TestCreateFollowsNoLink(t *testing.T) {
	for _, at := range []string{"runs", "runs/c1"} {
		work, outside := place(t), t.TempDir()
		link := filepath.Join(work, "slaves/S0/frameworks/F1/executors/E 1", at)
		if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o755), os.Symlink(outside, link)); err != nil {
			t.Fatal(err)
		}
		if err := Create(work, box(work, "c1"), someone()); err == nil {
			t.Errorf("built a sandbox through the link %s", at)
		}
		if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
			t.Errorf("outside there are %v, %v", left, err)
		}
	}
}

func TestRefusedPaths(t *testing.T) {
	work := place(t)
	for _, path := range []string{
		work, "/etc", box(work, "latest"), box(work, ".."), box(work, "."), box(work, "../../c"), box(work, "c/d"),
		work + "/slaves/../../x/slaves/S0/frameworks/F1/executors/E1/runs/c", work + "x/slaves/S0/frameworks/F1/executors/E1/runs/c",
		work + "/slaves/S0/frameworks//executors/E1/runs/c", work + "/meta/S0/frameworks/F1/executors/E1/runs/c",
	} {
		if err := Create(work, path, ""); err == nil {
			t.Errorf("Create(%s) succeeded", path)
		}
		if err := Remove(t.Context(), work, path); err == nil {
			t.Errorf("Remove(%s) succeeded", path)
		}
	}
	if err := Create(work, box(work, "c"), "no-such-user"); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Error(err)
	}
}

func TestRemove(t *testing.T) {
	work := place(t)
	outside := filepath.Join(work, "outside")
	if err := os.WriteFile(outside, []byte("keep"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{"c1", "c2"} {
		if err := Create(work, box(work, c), someone()); err != nil {
			t.Fatal(err)
		}
	}
	messAs(t, someone(), box(work, "c2"))
	for i := range 2100 { // more than one reading of the directory
		if err := os.WriteFile(filepath.Join(box(work, "c2"), fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The newest goes first: its link goes with it, what the other needs stays.
	for range 2 {
		if err := Remove(t.Context(), work, box(work, "c2")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(box(work, "latest")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("latest: %v", err)
	}
	if _, err := os.Stat(box(work, "c1")); err != nil {
		t.Fatal(err)
	}
	if err := Remove(t.Context(), work, box(work, "c1")); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(work, "slaves/S0"))
	if err != nil || len(left) != 0 {
		t.Fatalf("left %v, %v", left, err)
	}
	if b, err := os.ReadFile(outside); err != nil || string(b) != "keep" {
		t.Fatal("what a link pointed to is gone")
	}
}

func TestRemoveEndsWithItsContext(t *testing.T) {
	work := place(t)
	if err := Create(work, box(work, "c"), ""); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(box(work, "c"), "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Remove(ctx, work, box(work, "c")); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// TestMounted: a volume mounted into a sandbox does not go with the sandbox.
func TestMounted(t *testing.T) {
	work := place(t)
	if err := Create(work, box(work, "c"), ""); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(box(work, "c"), "data dir")
	volume := filepath.Join(work, "volume")
	if err := errors.Join(os.Mkdir(at, 0o755), os.Mkdir(volume, 0o755), os.WriteFile(volume+"/f", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(volume, at, "", unix.MS_BIND, ""); err != nil {
		if os.Geteuid() == 0 {
			t.Fatal(err)
		}
		return // only root can mount
	}
	err := Remove(t.Context(), work, box(work, "c"))
	if unmount := unix.Unmount(at, 0); unmount != nil {
		t.Fatal(unmount)
	}
	if err == nil || !strings.Contains(err.Error(), at) {
		t.Fatal(err)
	}
	if _, err := os.Stat(volume + "/f"); err != nil {
		t.Fatal(err)
	}
	if err := Remove(t.Context(), work, box(work, "c")); err != nil {
		t.Fatal(err)
	}
}

func TestUsed(t *testing.T) {
	used, err := Used(t.TempDir())
	if err != nil || used <= 0 || used > 1 {
		t.Fatalf("%v, %v", used, err)
	}
	if _, err := Used("/no/such/directory"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}
