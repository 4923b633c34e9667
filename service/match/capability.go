package match

import (
	"maps"
	"slices"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// Capability returns "" or what app needs that no agent of this version has, in words:
// "container type DOCKER". Such an app waits.
func Capability(app *marathon.App) string {
	if c := app.Container; c != nil {
		switch {
		case c.Type == "DOCKER":
			return "container type DOCKER"
		case c.Docker != nil:
			return "container image " + c.Docker.Image
		}
		for i := range c.Volumes {
			v := &c.Volumes[i]
			switch {
			case v.External != nil:
				return "external volume " + v.ContainerPath
			case v.Secret != "":
				return "secret volume " + v.ContainerPath
			case v.Persistent == nil:
				return "host volume " + v.HostPath
			}
		}
		if l := c.LinuxInfo; l != nil {
			switch {
			case l.Seccomp != nil:
				return "container.linuxInfo.seccomp"
			case l.IPCInfo != nil && l.IPCInfo.Mode == "SHARE_PARENT":
				return "ipcInfo mode SHARE_PARENT"
			case l.IPCInfo != nil && l.IPCInfo.ShmSize != 0:
				return "ipcInfo shmSize"
			}
		}
	}
	for _, n := range app.Networks {
		if n.Mode != marathon.HostNetwork {
			return "network mode " + n.Mode
		}
	}
	for _, name := range slices.Sorted(maps.Keys(app.Env)) {
		if app.Env[name].Secret != "" {
			return "secret for environment variable " + name
		}
	}
	if app.TTY != nil && *app.TTY {
		return "a TTY"
	}
	return ""
}
