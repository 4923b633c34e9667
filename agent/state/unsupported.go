package state

import (
	"fmt"
	"path"
	"strings"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// refusal says why a task cannot run here, "" if it can. A field that this version
// does not carry out is named: a task is never launched without it.
func (a *Agent) refusal(f *framework, t *mesos.TaskInfo) string {
	switch {
	case !pathSafe(t.GetTaskId().GetValue()):
		return fmt.Sprintf("task_id %q cannot be used as a directory's name", t.GetTaskId().GetValue())
	case t.GetCommand() == nil && t.GetExecutor() == nil:
		return "the task has neither command nor executor; set exactly one"
	case t.GetCommand() != nil && t.GetExecutor() != nil:
		return "the task has both command and executor; set exactly one"
	}
	command, field := t.GetCommand(), "command"
	if e := t.GetExecutor(); e != nil {
		if !pathSafe(e.GetExecutorId().GetValue()) {
			return fmt.Sprintf("executor_id %q cannot be used as a directory's name", e.GetExecutorId().GetValue())
		}
		if e.GetType() == mesos.ExecutorInfo_DEFAULT {
			return unsupported("executor.type DEFAULT")
		}
		if e.GetCommand() == nil {
			return "executor.command is missing: a custom executor needs the command that starts it"
		}
		command, field = e.GetCommand(), "executor.command"
		if why := containerRefusal("executor.container", e.GetContainer()); why != "" {
			return why
		}
		if t.GetContainer() != nil {
			// The executor would have to carry it out, and is not asked to here.
			if why := containerRefusal("container", t.GetContainer()); why != "" {
				return why
			}
		}
	} else if why := containerRefusal("container", t.GetContainer()); why != "" {
		return why
	}
	if why := commandRefusal(field, command); why != "" {
		return why
	}
	if why := checkRefusal(t); why != "" {
		return why
	}
	for _, rs := range [][]*mesos.Resource{t.GetResources(), t.GetExecutor().GetResources()} {
		for _, r := range rs {
			if why := volumeRefusal(r); why != "" {
				return why
			}
		}
	}
	if user := a.user(f, command); !a.cfg.SwitchUser && user != "" && user != a.cfg.AgentUser {
		return fmt.Sprintf("the task asks for user %q but the agent runs as %q and cannot switch users; "+
			"run the agent as root, or set CommandInfo.user and FrameworkInfo.user to %q", user, a.cfg.AgentUser, a.cfg.AgentUser)
	}
	return ""
}

// commandRefusal checks what no process could be given.
func commandRefusal(field string, c *mesos.CommandInfo) string {
	if c.GetValue() == "" {
		return field + ".value is missing: it is the shell command or the path of the program"
	}
	for _, text := range append([]string{c.GetValue()}, c.GetArguments()...) {
		if strings.IndexByte(text, 0) >= 0 {
			return field + " contains a NUL character"
		}
	}
	for _, v := range c.GetEnvironment().GetVariables() {
		if v.GetSecret() != nil || v.GetType() == mesos.Environment_Variable_SECRET {
			return unsupported(field + ".environment variable " + v.GetName() + " of type SECRET")
		}
		if v.GetName() == "" || strings.ContainsAny(v.GetName(), "=\x00") || strings.IndexByte(v.GetValue(), 0) >= 0 {
			return fmt.Sprintf("%s.environment variable %q is not one that a process can have", field, v.GetName())
		}
	}
	return ""
}

// user a command runs as (as Mesos 1.11: CommandInfo.user before FrameworkInfo.user).
func (a *Agent) user(f *framework, c *mesos.CommandInfo) string {
	if u := c.GetUser(); u != "" {
		return u
	}
	return f.info.GetUser()
}

func unsupported(field string) string {
	return field + " is not supported by this version; remove it from the task"
}

func containerRefusal(field string, c *mesos.ContainerInfo) string {
	switch {
	case c == nil:
		return ""
	case c.GetType() == mesos.ContainerInfo_DOCKER || c.GetDocker() != nil:
		return unsupported(field + ".docker")
	case c.GetMesos().GetImage() != nil:
		return unsupported(field + ".mesos.image")
	case len(c.GetVolumes()) > 0:
		return unsupported(field + ".volumes")
	case c.Hostname != nil:
		return unsupported(field + ".hostname")
	case c.GetTtyInfo() != nil:
		return unsupported(field + ".tty_info")
	case c.GetLinuxInfo().GetSeccomp() != nil:
		return unsupported(field + ".linux_info.seccomp")
	case c.GetLinuxInfo().GetSharePidNamespace():
		return unsupported(field + ".linux_info.share_pid_namespace")
	case c.GetLinuxInfo().GetIpcMode() == mesos.LinuxInfo_SHARE_PARENT:
		return unsupported(field + ".linux_info.ipc_mode SHARE_PARENT")
	case c.GetLinuxInfo().GetShmSize() != 0:
		return unsupported(field + ".linux_info.shm_size")
	}
	for _, n := range c.GetNetworkInfos() {
		// Without a name it is the host's network, which is what the task gets.
		if n.GetName() != "" || len(n.GetIpAddresses()) > 0 || len(n.GetPortMappings()) > 0 || len(n.GetGroups()) > 0 {
			return unsupported(field + ".network_infos")
		}
	}
	return ""
}

// volumeRefusal checks what of a persistent volume becomes a path.
func volumeRefusal(r *mesos.Resource) string {
	p := r.GetDisk().GetPersistence()
	if p == nil {
		return ""
	}
	if !pathSafe(p.GetId()) {
		return fmt.Sprintf("persistence id %q cannot be used as a directory's name", p.GetId())
	}
	v := r.GetDisk().GetVolume()
	target := v.GetContainerPath()
	if target == "" || path.IsAbs(target) || strings.HasPrefix(path.Clean(target)+"/", "../") {
		return fmt.Sprintf("container_path %q of persistent volume %s must be relative and inside the sandbox", target, p.GetId())
	}
	if v.GetHostPath() != "" || v.GetImage() != nil || v.GetSource() != nil {
		return "persistent volume " + p.GetId() + " has a source of its own; only container_path and mode may be set"
	}
	return ""
}
