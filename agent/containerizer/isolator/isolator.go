// Package isolator turns what a container is to be (container.Spec) into what its init
// has to do (protocol.Description). Each isolator is a function on these two values;
// All is the table of them. None touches the machine: the containerizer makes the
// cgroups and starts the init.
package isolator

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/agent/containerizer/cgroup"
	"github.com/stoa-kernel/stoa/agent/containerizer/launch"
	"github.com/stoa-kernel/stoa/agent/containerizer/launch/protocol"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/internal/account"
)

// Host is what isolators have to know of the machine and the agent.
type Host struct {
	// Root says that the agent may make namespaces and switch users.
	Root bool
	// Entry gives the way into a container's cgroup; nil without cgroups.
	Entry func(name string) cgroup.Entry
	// ResetOOMScore says that the agent has an oom_score_adj that tasks must not inherit.
	ResetOOMScore bool
	// NewPrivileges lets tasks gain privileges by executing setuid programs.
	NewPrivileges bool
	// LogSize and LogCount rotate stdout and stderr.
	LogSize  int64
	LogCount int
	// Lookup finds users; account.Lookup but in tests.
	Lookup func(name string) (account.Account, error)
}

// Container is the result.
type Container struct {
	// Namespaces are the clone flags of the init.
	Namespaces uintptr
	protocol.Description
}

// Isolator is one aspect.
type Isolator struct {
	Name  string
	Apply func(*Host, *container.Spec, *Container) error
}

// All lists the isolators. Their order does not matter: no two write the same field.
func All() []Isolator {
	return []Isolator{
		{"command", command},
		{"namespaces", namespaces},
		{"cgroups", cgroups},
		{"user", user},
		{"rlimits", rlimits},
		{"capabilities", capabilities},
		{"no_new_privs", privileges},
		{"volumes", volumes},
		{"output", output},
	}
}

// Apply runs all isolators over spec.
func Apply(h *Host, spec *container.Spec) (*Container, error) {
	c := &Container{}
	for _, i := range All() {
		if err := i.Apply(h, spec, c); err != nil {
			return nil, fmt.Errorf("%s: %w", i.Name, err)
		}
	}
	return c, nil
}

// defaultPath is where a program is looked for if the environment has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func command(_ *Host, s *container.Spec, c *Container) error {
	c.Sandbox, c.Argv, c.Env = s.Sandbox, s.Argv, s.Env
	if s.Path == "" || !path.IsAbs(s.Sandbox) {
		return fmt.Errorf("there is no program %q or no absolute sandbox %q", s.Path, s.Sandbox)
	}
	if len(c.Argv) == 0 {
		c.Argv = []string{s.Path} // a program counts on its own name
	}
	for _, list := range [][]string{{s.Path, s.Sandbox}, c.Argv, c.Env} {
		for _, text := range list {
			if strings.IndexByte(text, 0) >= 0 {
				return fmt.Errorf("%q contains a zero byte, which no program can be given", text)
			}
		}
	}
	if strings.Contains(s.Path, "/") {
		c.Paths = []string{s.Path}
		return nil
	}
	search := defaultPath
	for _, e := range s.Env {
		if p, ok := strings.CutPrefix(e, "PATH="); ok {
			search = p
		}
	}
	for dir := range strings.SplitSeq(search, ":") {
		if dir == "" {
			dir = "." // the sandbox, as execvp has it
		}
		c.Paths = append(c.Paths, dir+"/"+s.Path)
	}
	return nil
}

func namespaces(h *Host, _ *container.Spec, c *Container) error {
	if h.Root {
		c.Namespaces = launch.Namespaces
	}
	return nil
}

func cgroups(h *Host, s *container.Spec, c *Container) error {
	if h.Entry != nil {
		e := h.Entry(string(s.ID))
		c.Tasks, c.Cgroup = e.Tasks, e.Dir
	}
	c.ResetOOMScore = h.ResetOOMScore
	return nil
}

func user(h *Host, s *container.Spec, c *Container) error {
	if s.User == "" {
		return nil
	}
	a, err := h.Lookup(s.User)
	if err != nil {
		return err
	}
	if h.Root {
		c.SwitchUser, c.UID, c.GID, c.Groups = true, a.UID, a.GID, a.Groups
		return nil
	}
	me, err := h.Lookup("")
	if err != nil {
		return err
	}
	if me.UID != a.UID {
		return fmt.Errorf("cannot run as %q: the agent is %q and not root", s.User, me.Name)
	}
	return nil
}

// resources are the numbers of setrlimit.
var resources = map[mesos.RLimitInfo_RLimit_Type]uint32{
	mesos.RLimitInfo_RLimit_RLMT_CPU: unix.RLIMIT_CPU, mesos.RLimitInfo_RLimit_RLMT_FSIZE: unix.RLIMIT_FSIZE,
	mesos.RLimitInfo_RLimit_RLMT_DATA: unix.RLIMIT_DATA, mesos.RLimitInfo_RLimit_RLMT_STACK: unix.RLIMIT_STACK,
	mesos.RLimitInfo_RLimit_RLMT_CORE: unix.RLIMIT_CORE, mesos.RLimitInfo_RLimit_RLMT_RSS: unix.RLIMIT_RSS,
	mesos.RLimitInfo_RLimit_RLMT_NPROC: unix.RLIMIT_NPROC, mesos.RLimitInfo_RLimit_RLMT_NOFILE: unix.RLIMIT_NOFILE,
	mesos.RLimitInfo_RLimit_RLMT_MEMLOCK: unix.RLIMIT_MEMLOCK, mesos.RLimitInfo_RLimit_RLMT_AS: unix.RLIMIT_AS,
	mesos.RLimitInfo_RLimit_RLMT_LOCKS: unix.RLIMIT_LOCKS, mesos.RLimitInfo_RLimit_RLMT_SIGPENDING: unix.RLIMIT_SIGPENDING,
	mesos.RLimitInfo_RLimit_RLMT_MSGQUEUE: unix.RLIMIT_MSGQUEUE, mesos.RLimitInfo_RLimit_RLMT_NICE: unix.RLIMIT_NICE,
	mesos.RLimitInfo_RLimit_RLMT_RTPRIO: unix.RLIMIT_RTPRIO, mesos.RLimitInfo_RLimit_RLMT_RTTIME: unix.RLIMIT_RTTIME,
}

// rlimits follows Mesos 1.11 (src/posix/rlimits.cpp): neither bound given means none,
// and one alone is an error.
func rlimits(_ *Host, s *container.Spec, c *Container) error {
	for _, r := range s.Rlimits {
		number, ok := resources[r.GetType()]
		if !ok {
			return fmt.Errorf("unknown limit %s", r.GetType())
		}
		soft, hard := uint64(unix.RLIM_INFINITY), uint64(unix.RLIM_INFINITY)
		switch {
		case r.Soft != nil && r.Hard != nil:
			soft, hard = r.GetSoft(), r.GetHard()
			if soft > hard {
				return fmt.Errorf("%s: soft bound %d above hard bound %d", r.GetType(), soft, hard)
			}
		case r.Soft != nil || r.Hard != nil:
			return fmt.Errorf("%s: give both the soft and the hard bound, or none for no bound", r.GetType())
		}
		c.Rlimits = append(c.Rlimits, protocol.Rlimit{Resource: number, Soft: soft, Hard: hard})
	}
	return nil
}

func capabilities(h *Host, s *container.Spec, c *Container) error {
	if s.Bounding == nil && s.Effective == nil {
		return nil
	}
	if !h.Root {
		return fmt.Errorf("an agent that is not root cannot set capabilities")
	}
	var err error
	if s.Bounding != nil {
		c.SetBounding = true
		if c.Bounding, err = set(s.Bounding); err != nil {
			return err
		}
	}
	if s.Effective != nil {
		c.SetEffective = true
		if c.Effective, err = set(s.Effective); err != nil {
			return err
		}
		if c.SetBounding && c.Effective&^c.Bounding != 0 {
			return fmt.Errorf("effective capabilities %s are not within the bounding set %s", s.Effective, s.Bounding)
		}
	}
	return nil
}

func set(info *mesos.CapabilityInfo) (uint64, error) {
	var bits uint64
	for _, one := range info.GetCapabilities() {
		// Mesos's numbers are Linux's plus 1000.
		n := int(one) - int(mesos.CapabilityInfo_CHOWN)
		if n < 0 || n > unix.CAP_LAST_CAP {
			return 0, fmt.Errorf("unknown capability %s", one)
		}
		bits |= 1 << n
	}
	return bits, nil
}

func privileges(h *Host, _ *container.Spec, c *Container) error {
	c.NoNewPrivileges = !h.NewPrivileges
	return nil
}

func volumes(h *Host, s *container.Spec, c *Container) error {
	for _, v := range s.Volumes {
		switch {
		case !path.IsAbs(v.Source):
			return fmt.Errorf("source %q is not absolute", v.Source)
		case v.Target == "" || path.IsAbs(v.Target) || slices.Contains(strings.Split(v.Target, "/"), ".."):
			return fmt.Errorf("target %q is not a path within the sandbox", v.Target)
		case v.ReadOnly && !h.Root:
			return fmt.Errorf("volume %q cannot be read-only: the agent is not root and can mount nothing", v.Target)
		}
		target := path.Clean(v.Target)
		if target == "." {
			return fmt.Errorf("target %q is the sandbox itself", v.Target)
		}
		c.Mounts = append(c.Mounts, protocol.Mount{Source: v.Source, Target: target, ReadOnly: v.ReadOnly})
	}
	return nil
}

func output(h *Host, _ *container.Spec, c *Container) error {
	c.LogSize, c.LogCount = h.LogSize, uint32(max(h.LogCount, 1))
	return nil
}
