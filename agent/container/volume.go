package container

import (
	"path"
	"strings"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// VolumePath is the host directory of a persistent volume (Mesos 1.11,
// src/slave/paths.cpp): below the work directory or a PATH disk's root as
// volumes/roles/ROLE/ID, with the slashes of a nested role written as spaces; a MOUNT
// disk's root is the volume. A relative root is below workDir. It is "" for a resource
// that is no persistent volume or has a disk only resource providers serve.
func VolumePath(workDir string, r *mesos.Resource) string {
	persistence := r.GetDisk().GetPersistence()
	if persistence == nil {
		return ""
	}
	root := workDir
	if source := r.GetDisk().GetSource(); source != nil {
		switch source.GetType() {
		case mesos.Resource_DiskInfo_Source_MOUNT:
			return below(workDir, source.GetMount().GetRoot())
		case mesos.Resource_DiskInfo_Source_PATH:
			root = below(workDir, source.GetPath().GetRoot())
		default:
			return ""
		}
	}
	role := r.GetRole()
	if n := len(r.GetReservations()); n > 0 {
		role = r.GetReservations()[n-1].GetRole()
	}
	return path.Join(root, "volumes", "roles", strings.ReplaceAll(role, "/", " "), persistence.GetId())
}

func below(workDir, root string) string {
	if path.IsAbs(root) {
		return path.Clean(root)
	}
	return path.Join(workDir, root)
}
