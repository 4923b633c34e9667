package volume

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/internal/account"
)

func disk(role, id string, source *mesos.Resource_DiskInfo_Source) *mesos.Resource {
	return &mesos.Resource{
		Name: proto.String("disk"), Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: proto.Float64(64)},
		Reservations: []*mesos.Resource_ReservationInfo{{Type: mesos.Resource_ReservationInfo_DYNAMIC.Enum(), Role: &role}},
		Disk: &mesos.Resource_DiskInfo{
			Persistence: &mesos.Resource_DiskInfo_Persistence{Id: &id},
			Volume:      &mesos.Volume{ContainerPath: proto.String("data"), Mode: mesos.Volume_RW.Enum()},
			Source:      source,
		},
	}
}

func pathDisk(root string) *mesos.Resource_DiskInfo_Source {
	return &mesos.Resource_DiskInfo_Source{Type: mesos.Resource_DiskInfo_Source_PATH.Enum(), Path: &mesos.Resource_DiskInfo_Source_Path{Root: &root}}
}

func mountDisk(root string) *mesos.Resource_DiskInfo_Source {
	return &mesos.Resource_DiskInfo_Source{Type: mesos.Resource_DiskInfo_Source_MOUNT.Enum(), Mount: &mesos.Resource_DiskInfo_Source_Mount{Root: &root}}
}

func TestApply(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	work, other := t.TempDir(), t.TempDir()
	v := New(work)
	for _, c := range []struct {
		r    *mesos.Resource
		path string
	}{
		{disk("db", "v1", nil), work + "/volumes/roles/db/v1"},
		{disk("db/prod", "v1", nil), work + "/volumes/roles/db prod/v1"},
		{disk("db", "v2", pathDisk(other)), other + "/volumes/roles/db/v2"},
		{disk("db", "v3", pathDisk("disks")), work + "/disks/volumes/roles/db/v3"},
	} {
		if err := os.MkdirAll(work+"/disks", 0o755); err != nil {
			t.Fatal(err)
		}
		one := []*mesos.Resource{c.r}
		for range 2 { // again, as after a crash
			if err := v.Apply(one, nil); err != nil {
				t.Fatal(err)
			}
		}
		if info, err := os.Stat(c.path); err != nil || info.Mode() != fs.ModeDir|0o755 {
			t.Fatalf("%s: %v, %v", c.path, info, err)
		}
		file := filepath.Join(c.path, "file")
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := v.Apply(one, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(file); err != nil {
			t.Fatalf("creating a volume that is there changed it: %v", err)
		}
		for range 2 {
			if err := v.Apply(nil, one); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := os.Lstat(c.path); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s is still there: %v", c.path, err)
		}
	}
}

// TestApplyAgain: a volume that is there is left as its user made it.
func TestApplyAgain(t *testing.T) {
	work := t.TempDir()
	v, one := New(work), []*mesos.Resource{disk("db", "v", nil)}
	path := container.VolumePath(work, one[0])
	if err := errors.Join(v.Apply(one, nil), os.Chmod(path, 0o700), v.Apply(one, nil), v.Restore(one)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Fatalf("%v, %v", info, err)
	}
	if err := errors.Join(v.Apply(nil, one), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := v.Apply(one, nil); err == nil || !strings.Contains(err.Error(), "no directory") {
		t.Fatalf("a file is taken for a volume: %v", err)
	}
}

// TestRestore: what an interrupted DESTROY left is made whole, and nothing is made where
// a disk is not mounted, which does not keep the others from being made.
func TestRestore(t *testing.T) {
	work, away := t.TempDir(), t.TempDir()
	v := New(work)
	list := []*mesos.Resource{
		disk("db", "gone", pathDisk(away+"/nothing")), disk("db", "away", pathDisk(away)), disk("db", "m", mountDisk(away+"/nothing")), disk("db", "v", nil),
	}
	if err := errors.Join(v.Apply(list[3:], nil), v.Apply(nil, list[3:])); err != nil {
		t.Fatal(err)
	}
	err := v.Restore(list)
	if err == nil || !strings.Contains(err.Error(), "volume gone: is its disk mounted?") || !strings.Contains(err.Error(), "volume away: is its disk mounted?") {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(away); err != nil || len(left) != 0 {
		t.Fatalf("made %v, %v", left, err)
	}
	if info, err := os.Stat(container.VolumePath(work, list[3])); err != nil || info.Mode() != fs.ModeDir|0o755 {
		t.Fatalf("%v, %v", info, err)
	}
}

func TestMountDisk(t *testing.T) {
	root := t.TempDir()
	v, one := New(t.TempDir()), []*mesos.Resource{disk("db", "v", mountDisk(root))}
	if err := errors.Join(v.Apply(one, nil), os.MkdirAll(root+"/a/b", 0o755), v.Apply(nil, one)); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(root); err != nil || len(left) != 0 {
		t.Fatalf("left %v, %v", left, err)
	}
	if err := v.Apply([]*mesos.Resource{disk("db", "v", mountDisk(root+"/nothing"))}, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

// TestHostile: names that lead elsewhere make and delete nothing.
func TestHostile(t *testing.T) {
	parent := t.TempDir()
	work := filepath.Join(parent, "work")
	if err := errors.Join(os.MkdirAll(filepath.Join(work, "volumes/roles/db"), 0o755), os.WriteFile(parent+"/keep", nil, 0o600), os.WriteFile(work+"/keep", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	v := New(work)
	for _, r := range []*mesos.Resource{
		disk("db", "..", nil), disk("db", ".", nil), disk("db", "", nil), disk("..", "v", nil), disk(".", "v", nil), disk("", "v", nil),
		disk("db", "../../../keep", nil), disk("db", "../../../../keep", nil), disk("..", "..", nil), disk("db", "a/b", nil),
		disk("..", "keep", nil), disk("db", "x\x00y", nil), disk("db", strings.Repeat("x", 256), nil), disk("db", "../..", nil),
		{Name: proto.String("disk")},
		disk("db", "v", &mesos.Resource_DiskInfo_Source{Type: mesos.Resource_DiskInfo_Source_RAW.Enum()}),
	} {
		one := []*mesos.Resource{r}
		if err := v.Apply(one, nil); err == nil {
			t.Errorf("created %v", r)
		}
		if err := v.Apply(nil, one); err == nil {
			t.Errorf("destroyed %v", r)
		}
	}
	for _, keep := range []string{parent + "/keep", work + "/keep", work + "/volumes/roles/db"} {
		if _, err := os.Stat(keep); err != nil {
			t.Error(err)
		}
	}
}

// TestLinks: a volume's content may link anywhere; deleting it removes the links only.
func TestLinks(t *testing.T) {
	work, outside := t.TempDir(), t.TempDir()
	v, r := New(work), disk("db", "v", nil)
	one := []*mesos.Resource{r}
	if err := errors.Join(v.Apply(one, nil), os.WriteFile(outside+"/keep", nil, 0o600),
		os.Symlink(outside, filepath.Join(container.VolumePath(work, r), "out")), v.Apply(nil, one)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(outside + "/keep"); err != nil {
		t.Fatal(err)
	}
}

func TestSweep(t *testing.T) {
	work := t.TempDir()
	v := New(work)
	if err := errors.Join(v.Sweep(), os.MkdirAll(work+"/volumes/trash/x/y", 0o700), v.Sweep()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(work + "/volumes/trash"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestOwn(t *testing.T) {
	dir := t.TempDir()
	name := ""
	if os.Geteuid() == 0 {
		name = "nobody"
	}
	if err := Own(dir, name); err != nil {
		t.Fatal(err)
	}
	a, err := account.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != a.UID || st.Gid != a.GID {
		t.Fatalf("owner %d:%d, want %d:%d", st.Uid, st.Gid, a.UID, a.GID)
	}
	if err := Own(dir, "no-such-user"); err == nil {
		t.Fatal("gave it to nobody real")
	}
}
