// Package volume makes and deletes the directories of persistent volumes. Where they lie
// is container.VolumePath's business.
//
// A volume exists or does not, whatever crash comes between: making one ends with
// a rename out of a trash directory, and deleting one begins with a rename into it,
//
//	<root>/volumes/roles/<role>/<id>
//	<root>/volumes/trash/<random>
//
// which Sweep empties at the next start if the process died before it was done.
package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/internal/account"
)

// trash holds what is being made and what is being deleted.
var trash = filepath.Join("volumes", "trash")

// Volumes are the persistent volumes of one agent. Its methods are not to be called
// concurrently.
type Volumes struct{ work string }

// New serves the volumes below workDir and on the disks that volumes name.
func New(workDir string) *Volumes { return &Volumes{filepath.Clean(workDir)} }

// Apply makes and deletes volumes. What is as wanted already is left alone, so that an
// operation interrupted by a crash can be applied again. Volumes are made empty, of mode
// 0755, and belong to the agent until Own.
func (v *Volumes) Apply(create, destroy []*mesos.Resource) error {
	for _, r := range create {
		if err := v.create(r); err != nil {
			return fmt.Errorf("create volume %s: %w", r.GetDisk().GetPersistence().GetId(), err)
		}
	}
	for _, r := range destroy {
		if err := v.destroy(r); err != nil {
			return fmt.Errorf("destroy volume %s: %w", r.GetDisk().GetPersistence().GetId(), err)
		}
	}
	return nil
}

// place is where a volume lies: root is an existing directory of the agent's or of the
// operator's, rel the volume below it, "." for a MOUNT disk.
func (v *Volumes) place(r *mesos.Resource) (root, rel string, err error) {
	path := container.VolumePath(v.work, r)
	if path == "" {
		return "", "", errors.New("not a persistent volume on a disk of this agent")
	}
	if r.GetDisk().GetSource().GetType() == mesos.Resource_DiskInfo_Source_MOUNT {
		return path, ".", nil
	}
	// Role and id came over the network; a name with a slash or a dot-dot in it would
	// have moved the path.
	id := r.GetDisk().GetPersistence().GetId()
	role := filepath.Base(filepath.Dir(path))
	root = filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(path))))
	rel = filepath.Join("volumes", "roles", role, id)
	switch {
	case filepath.Base(path) != id, filepath.Join(root, rel) != path, role == "roles", id == "." || id == "..", strings.ContainsRune(path, 0), len(id) > 255:
		return "", "", fmt.Errorf("role or id make no directory name: %q", path)
	case root != v.work && r.GetDisk().GetSource() == nil:
		return "", "", fmt.Errorf("role or id lead out of %s: %q", v.work, path)
	}
	return root, rel, nil
}

func (v *Volumes) create(r *mesos.Resource) error {
	at, rel, err := v.place(r)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(at)
	if err != nil {
		return err
	}
	defer root.Close()
	if rel == "." {
		return nil // the mounted disk is the volume
	}
	if info, err := root.Lstat(rel); err == nil && info.IsDir() {
		return syncUp(root, rel) // its mode is its user's by now
	} else if err == nil {
		return fmt.Errorf("%s in %s is no directory: remove it, then try again", rel, at)
	}
	if err := root.MkdirAll(filepath.Dir(rel), 0o755); err != nil {
		return err
	}
	if err := root.MkdirAll(trash, 0o700); err != nil {
		return err
	}
	begun := filepath.Join(trash, uuid.NewString())
	if err := root.Mkdir(begun, 0o755); err != nil {
		return err
	}
	if err := root.Chmod(begun, 0o755); err != nil { // whatever the umask
		return err
	}
	if err := root.Rename(begun, rel); err != nil {
		return err
	}
	return syncUp(root, rel)
}

// Restore makes anew, empty, what is missing of volumes the agent has on record: a
// DESTROY was interrupted between the directory and the record. One that cannot be made
// does not stop the others. A DESTROY leaves the directory of the role: where that is
// missing too, the disk is not there, and what tasks would write to an empty directory
// below its mount point would be lost to them.
func (v *Volumes) Restore(list []*mesos.Resource) error {
	var all []error
	for _, r := range list {
		if err := v.restore(r); err != nil {
			all = append(all, fmt.Errorf("restore volume %s: %w", r.GetDisk().GetPersistence().GetId(), err))
		}
	}
	return errors.Join(all...)
}

func (v *Volumes) restore(r *mesos.Resource) error {
	at, rel, err := v.place(r)
	if err != nil || rel == "." {
		return err
	}
	if _, err := os.Stat(filepath.Join(at, filepath.Dir(rel))); err != nil {
		return fmt.Errorf("is its disk mounted? %w", err)
	}
	return v.create(r)
}

func (v *Volumes) destroy(r *mesos.Resource) error {
	at, rel, err := v.place(r)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(at)
	if err != nil {
		return err
	}
	defer root.Close()
	if rel == "." {
		return empty(root)
	}
	if err := root.MkdirAll(trash, 0o700); err != nil {
		return err
	}
	doomed := filepath.Join(trash, uuid.NewString())
	if err := root.Rename(rel, doomed); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := syncUp(root, rel); err != nil {
		return err
	}
	return root.RemoveAll(doomed)
}

// empty deletes what is in a MOUNT disk; the mount point stays.
func empty(root *os.Root) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := root.RemoveAll(e.Name()); err != nil {
			return err
		}
	}
	return syncDir(root, ".")
}

// syncUp makes the name rel durable: in its directory, and its directories' in theirs.
func syncUp(root *os.Root, rel string) error {
	for rel != "." {
		rel = filepath.Dir(rel)
		if err := syncDir(root, rel); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(root *os.Root, rel string) error {
	d, err := root.Open(rel)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Sweep deletes what an earlier process began to delete below the work directory.
func (v *Volumes) Sweep() error {
	root, err := os.OpenRoot(v.work)
	if err != nil {
		return fmt.Errorf("sweep deleted volumes: %w", err)
	}
	defer root.Close()
	if err := root.RemoveAll(trash); err != nil {
		return fmt.Errorf("sweep deleted volumes: %w", err)
	}
	return nil
}

// Own gives a volume's directory, not what is in it, to the user of the task about to
// use it, as Mesos does for volumes that are not shared.
func Own(path, user string) error {
	a, err := account.Lookup(user)
	if err == nil && !a.Mine() {
		err = os.Lchown(path, int(a.UID), int(a.GID))
	}
	if err != nil {
		return fmt.Errorf("give volume %s to user %q: %w", path, user, err)
	}
	return nil
}
