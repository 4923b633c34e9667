package isolator

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/agent/containerizer/cgroup"
	"github.com/stoa-kernel/stoa/agent/containerizer/launch"
	"github.com/stoa-kernel/stoa/agent/containerizer/launch/protocol"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/internal/account"
)

func lookup(name string) (account.Account, error) {
	switch name {
	case "":
		return account.Account{Name: "me", UID: 7}, nil
	case "me":
		return account.Account{Name: "me", UID: 7, GID: 8, Groups: []uint32{8, 9}}, nil
	case "alice":
		return account.Account{Name: "alice", UID: 1000, GID: 1001, Groups: []uint32{1001, 5}}, nil
	}
	return account.Account{}, fmt.Errorf("user %q does not exist on this machine", name)
}

func rootHost() Host {
	return Host{Root: true, Lookup: lookup, LogSize: 10, LogCount: 3, ResetOOMScore: true,
		Entry: func(name string) cgroup.Entry {
			return cgroup.Entry{Tasks: []string{"/m/" + name + "/tasks"}, Dir: "/u/" + name}
		}}
}

func plain() *container.Spec {
	return &container.Spec{ID: "c", Sandbox: "/s", Path: "/bin/true", Argv: []string{"true"}}
}

func limit(kind mesos.RLimitInfo_RLimit_Type, bounds ...uint64) *mesos.RLimitInfo_RLimit {
	r := &mesos.RLimitInfo_RLimit{Type: kind.Enum()}
	if len(bounds) > 0 {
		r.Soft = proto.Uint64(bounds[0])
	}
	if len(bounds) > 1 {
		r.Hard = proto.Uint64(bounds[1])
	}
	return r
}

func caps(list ...mesos.CapabilityInfo_Capability) *mesos.CapabilityInfo {
	return &mesos.CapabilityInfo{Capabilities: list}
}

func TestWholeDescription(t *testing.T) {
	s := &container.Spec{
		ID: "c", Sandbox: "/s", Path: "prog", Argv: []string{"p", "x"}, Env: []string{"A=1", "PATH=/a::/b"}, User: "alice",
		Rlimits:  []*mesos.RLimitInfo_RLimit{limit(mesos.RLimitInfo_RLimit_RLMT_NOFILE, 5, 6), limit(mesos.RLimitInfo_RLimit_RLMT_CORE)},
		Bounding: caps(mesos.CapabilityInfo_CHOWN, mesos.CapabilityInfo_KILL), Effective: caps(mesos.CapabilityInfo_KILL),
		Volumes: []container.Mount{{Source: "/v", Target: "data/./x/", ReadOnly: true}},
	}
	h := rootHost()
	got, err := Apply(&h, s)
	if err != nil {
		t.Fatal(err)
	}
	want := &Container{
		Namespaces: launch.Namespaces,
		Description: protocol.Description{
			Sandbox: "/s", Paths: []string{"/a/prog", "./prog", "/b/prog"}, Argv: []string{"p", "x"}, Env: []string{"A=1", "PATH=/a::/b"},
			SwitchUser: true, UID: 1000, GID: 1001, Groups: []uint32{1001, 5}, NoNewPrivileges: true, ResetOOMScore: true,
			Tasks: []string{"/m/c/tasks"}, Cgroup: "/u/c",
			Rlimits:     []protocol.Rlimit{{Resource: unix.RLIMIT_NOFILE, Soft: 5, Hard: 6}, {Resource: unix.RLIMIT_CORE, Soft: unix.RLIM_INFINITY, Hard: unix.RLIM_INFINITY}},
			SetBounding: true, SetEffective: true, Bounding: 1<<unix.CAP_CHOWN | 1<<unix.CAP_KILL, Effective: 1 << unix.CAP_KILL,
			Mounts: []protocol.Mount{{Source: "/v", Target: "data/x", ReadOnly: true}}, LogSize: 10, LogCount: 3,
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestWithoutRoot(t *testing.T) {
	h := Host{Lookup: lookup, NewPrivileges: true}
	s := plain()
	s.Argv, s.User = nil, "me"
	got, err := Apply(&h, s)
	if err != nil {
		t.Fatal(err)
	}
	want := &Container{Description: protocol.Description{Sandbox: "/s", Paths: []string{"/bin/true"}, Argv: []string{"/bin/true"}, LogCount: 1}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestProgramIsLookedForInADefaultPath(t *testing.T) {
	h := rootHost()
	s := plain()
	s.Path = "ls"
	got, err := Apply(&h, s)
	if err != nil || len(got.Paths) == 0 || got.Paths[len(got.Paths)-1] != "/bin/ls" {
		t.Errorf("paths %v, %v", got, err)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		want    string
		without bool // root
		change  func(*container.Spec)
	}{
		{"no program", false, func(s *container.Spec) { s.Path = "" }},
		{"no absolute sandbox", false, func(s *container.Spec) { s.Sandbox = "s" }},
		{"zero byte", false, func(s *container.Spec) { s.Env = []string{"A=\x00"} }},
		{"zero byte", false, func(s *container.Spec) { s.Argv = []string{"a\x00"} }},
		{`user "bob" does not exist`, false, func(s *container.Spec) { s.User = "bob" }},
		{`cannot run as "alice": the agent is "me" and not root`, true, func(s *container.Spec) { s.User = "alice" }},
		{"unknown limit", false, func(s *container.Spec) {
			s.Rlimits = []*mesos.RLimitInfo_RLimit{limit(mesos.RLimitInfo_RLimit_UNKNOWN, 1, 1)}
		}},
		{"soft bound 2 above hard bound 1", false, func(s *container.Spec) {
			s.Rlimits = []*mesos.RLimitInfo_RLimit{limit(mesos.RLimitInfo_RLimit_RLMT_CPU, 2, 1)}
		}},
		{"give both", false, func(s *container.Spec) {
			s.Rlimits = []*mesos.RLimitInfo_RLimit{limit(mesos.RLimitInfo_RLimit_RLMT_CPU, 2)}
		}},
		{"cannot set capabilities", true, func(s *container.Spec) { s.Effective = caps() }},
		{"unknown capability", false, func(s *container.Spec) { s.Bounding = caps(mesos.CapabilityInfo_UNKNOWN) }},
		{"unknown capability", false, func(s *container.Spec) { s.Effective = caps(mesos.CapabilityInfo_Capability(1063)) }},
		{"not within the bounding set", false, func(s *container.Spec) {
			s.Bounding, s.Effective = caps(mesos.CapabilityInfo_CHOWN), caps(mesos.CapabilityInfo_KILL)
		}},
		{"is not absolute", false, func(s *container.Spec) { s.Volumes = []container.Mount{{Source: "v", Target: "t"}} }},
		{"not a path within", false, func(s *container.Spec) { s.Volumes = []container.Mount{{Source: "/v", Target: "a/../../b"}} }},
		{"not a path within", false, func(s *container.Spec) { s.Volumes = []container.Mount{{Source: "/v", Target: "/t"}} }},
		{"not a path within", false, func(s *container.Spec) { s.Volumes = []container.Mount{{Source: "/v"}} }},
		{"the sandbox itself", false, func(s *container.Spec) { s.Volumes = []container.Mount{{Source: "/v", Target: "./"}} }},
		{"cannot be read-only", true, func(s *container.Spec) { s.Volumes = []container.Mount{{Source: "/v", Target: "t", ReadOnly: true}} }},
	} {
		h, s := rootHost(), plain()
		h.Root = !c.without
		c.change(s)
		if _, err := Apply(&h, s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one that says %q", err, c.want)
		}
	}
}

// TestEveryLimitOfTheAPI: whatever type a framework may name has a number.
func TestEveryLimitOfTheAPI(t *testing.T) {
	for n, name := range mesos.RLimitInfo_RLimit_Type_name {
		if _, ok := resources[mesos.RLimitInfo_RLimit_Type(n)]; ok == (n == 0) {
			t.Errorf("%s: number %v", name, ok)
		}
	}
	for n, name := range mesos.CapabilityInfo_Capability_name {
		if _, err := set(caps(mesos.CapabilityInfo_Capability(n))); (err != nil) != (n == 0) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
