package state

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"google.golang.org/protobuf/proto"
)

// launched runs a task on a fresh agent and returns its container, or nil and the
// message of TASK_ERROR.
func launched(t *testing.T, cfg Config, f *mesos.FrameworkInfo, info *mesos.TaskInfo) (*container.Spec, string) {
	t.Helper()
	b := newBench(t)
	b.cfg = cfg
	b.agent = New(cfg)
	b.up()
	for _, x := range b.frame(runTaskFrame(1, f, info)) {
		switch x := x.(type) {
		case Launch:
			return x.Spec, ""
		case ToMaster:
			u := x.Msg.GetUpdate().GetStatus()
			if u.GetState() != mesos.TaskState_TASK_ERROR || u.GetReason() != mesos.TaskStatus_REASON_TASK_INVALID || u.GetSource() != mesos.TaskStatus_SOURCE_AGENT {
				t.Fatalf("refused with %v", u)
			}
			return nil, u.GetMessage()
		}
	}
	t.Fatal("neither launched nor refused")
	return nil, ""
}

func TestLimits(t *testing.T) {
	limits := func(cpus, mem float64) func(*mesos.TaskInfo) {
		return func(t *mesos.TaskInfo) {
			t.Limits = map[string]*mesos.Value_Scalar{}
			if cpus != 0 {
				t.Limits["cpus"] = &mesos.Value_Scalar{Value: proto.Float64(cpus)}
			}
			if mem != 0 {
				t.Limits["mem"] = &mesos.Value_Scalar{Value: proto.Float64(mem)}
			}
		}
	}
	resources := func(cpus, mem float64) func(*mesos.TaskInfo) {
		return func(t *mesos.TaskInfo) {
			t.Resources = []*mesos.Resource{scalar("cpus", cpus), scalar("mem", mem)}
		}
	}
	const mb = 1 << 20
	tests := []struct {
		name string
		task *mesos.TaskInfo
		cfs  bool
		want container.Limits
	}{
		{"request is the memory limit", commandTask("t"), false, container.Limits{CPUs: 1, MemorySoft: 64 * mb, MemoryHard: 64 * mb}},
		{"cfs", commandTask("t"), true, container.Limits{CPUs: 1, CPUQuota: 1, MemorySoft: 64 * mb, MemoryHard: 64 * mb}},
		{"at least 32 MB", commandTask("t", resources(0.1, 1)), false, container.Limits{CPUs: 0.1, MemorySoft: 32 * mb, MemoryHard: 32 * mb}},
		{"no memory at all", commandTask("t", resources(0.1, 0)), false, container.Limits{CPUs: 0.1, MemorySoft: 32 * mb, MemoryHard: 32 * mb}},
		{"limits", commandTask("t", limits(2.5, 128)), false, container.Limits{CPUs: 1, CPUQuota: 2.5, MemorySoft: 64 * mb, MemoryHard: 128 * mb}},
		{"cpu limit only", commandTask("t", limits(2, 0)), true, container.Limits{CPUs: 1, CPUQuota: 2, MemorySoft: 64 * mb, MemoryHard: 64 * mb}},
		{"infinite limits", commandTask("t", limits(math.Inf(1), math.Inf(1))), true, container.Limits{CPUs: 1, MemorySoft: 64 * mb}},
		{"executor and task", customTask("t", "e"), false, container.Limits{CPUs: 1.5, MemorySoft: 96 * mb, MemoryHard: 96 * mb}},
		{"executor and limited task", customTask("t", "e", limits(3, 100)), false, container.Limits{CPUs: 1.5, CPUQuota: 3.5, MemorySoft: 96 * mb, MemoryHard: 132 * mb}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig()
			cfg.CFS, cfg.PidsLimit = tt.cfs, 0
			s, why := launched(t, cfg, frameworkInfo("f"), tt.task)
			if s == nil || s.Limits != tt.want {
				t.Errorf("limits %+v (%s), want %+v", s.Limits, why, tt.want)
			}
		})
	}
}

func TestSpec(t *testing.T) {
	info := commandTask("t", func(t *mesos.TaskInfo) {
		v := volume("v1")
		v.Reservations[0].Role = proto.String("eng/dev")
		v.Disk.Volume.Mode = mesos.Volume_RO.Enum()
		t.Resources = append(t.Resources, scalar("disk", 100), v)
		t.Command.User = proto.String("alice")
		t.Command.Uris = []*mesos.CommandInfo_URI{{Value: proto.String("file:///x")}}
		t.Command.Environment = &mesos.Environment{Variables: []*mesos.Environment_Variable{
			{Name: proto.String("A"), Value: proto.String("1")}, {Name: proto.String("PATH"), Value: proto.String("/opt")},
			{Name: proto.String("MESOS_ALLOCATION_ROLE"), Value: proto.String("mine")},
		}}
		t.Container = &mesos.ContainerInfo{
			Type:       mesos.ContainerInfo_MESOS.Enum(),
			RlimitInfo: &mesos.RLimitInfo{Rlimits: []*mesos.RLimitInfo_RLimit{{Type: mesos.RLimitInfo_RLimit_RLMT_CORE.Enum()}}},
			LinuxInfo: &mesos.LinuxInfo{
				BoundingCapabilities:  &mesos.CapabilityInfo{Capabilities: []mesos.CapabilityInfo_Capability{mesos.CapabilityInfo_KILL}},
				EffectiveCapabilities: &mesos.CapabilityInfo{},
			},
			NetworkInfos: []*mesos.NetworkInfo{{}},
		}
	})
	cfg := testConfig()
	for _, r := range info.Resources {
		if r.GetDisk().GetPersistence() != nil {
			have, err := resource.Of(r)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Resources = cfg.Resources.Add(have.Unallocate())
		}
	}
	s, why := launched(t, cfg, frameworkInfo("f"), info)
	if s == nil {
		t.Fatal(why)
	}
	if want := "/var/stoa/slaves/A0/frameworks/f/executors/t/runs/" + string(s.ID); s.Sandbox != want {
		t.Errorf("sandbox %s, want %s", s.Sandbox, want)
	}
	if s.User != "alice" || len(s.URIs) != 1 || len(s.Rlimits) != 1 || len(s.Bounding.GetCapabilities()) != 1 || s.Effective == nil || s.DiskLimit != 100<<20 {
		t.Errorf("spec %+v", s)
	}
	if want := []container.Mount{{Source: "/var/stoa/volumes/roles/eng dev/v1", Target: "data", ReadOnly: true}}; !slices.Equal(s.Volumes, want) {
		t.Errorf("volumes %+v, want %+v", s.Volumes, want)
	}
	want := []string{
		"A=1",
		"LIBPROCESS_PORT=0",
		"MESOS_AGENT_ENDPOINT=10.0.0.1:5051",
		"MESOS_ALLOCATION_ROLE=dev",
		"MESOS_CHECKPOINT=1",
		"MESOS_DIRECTORY=" + s.Sandbox,
		"MESOS_EXECUTOR_ID=t",
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=5secs",
		"MESOS_FRAMEWORK_ID=f",
		"MESOS_HTTP_COMMAND_EXECUTOR=1",
		"MESOS_RECOVERY_TIMEOUT=15mins",
		"MESOS_SANDBOX=" + s.Sandbox,
		"MESOS_SLAVE_ID=A0",
		"MESOS_SLAVE_PID=slave(1)@10.0.0.1:5051",
		"MESOS_SUBSCRIPTION_BACKOFF_MAX=2secs",
		"PATH=/opt",
	}
	if !slices.Equal(s.Env, want) {
		t.Errorf("environment\n%s\nwant\n%s", strings.Join(s.Env, "\n"), strings.Join(want, "\n"))
	}
}

func TestExecutorSpec(t *testing.T) {
	s, why := launched(t, testConfig(), frameworkInfo("f"), customTask("t", "e", func(t *mesos.TaskInfo) {
		t.Executor.ShutdownGracePeriod = &mesos.DurationInfo{Nanoseconds: proto.Int64(2500 * int64(time.Millisecond))}
		t.Executor.Command.Shell = proto.Bool(false)
		t.Executor.Command.Value = proto.String("./executor")
	}))
	if s == nil {
		t.Fatal(why)
	}
	if s.Path != "./executor" || !slices.Equal(s.Argv, []string{"./executor"}) || s.User != "nobody" {
		t.Errorf("spec %+v", s)
	}
	for _, want := range []string{"MESOS_EXECUTOR_ID=e", "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=2500ms", "PATH=/usr/bin:/bin"} {
		if !slices.Contains(s.Env, want) {
			t.Errorf("%s is missing in %q", want, s.Env)
		}
	}
	for _, v := range s.Env {
		if strings.HasPrefix(v, "MESOS_ALLOCATION_ROLE=") {
			t.Errorf("an executor has %s: its tasks may differ", v)
		}
	}
}

func TestArgv(t *testing.T) {
	tests := []struct {
		shell bool
		value string
		args  []string
		path  string
		argv  []string
	}{
		{true, "echo $A", nil, "/bin/sh", []string{"sh", "-c", "echo $A"}},
		{true, "echo", []string{"ignored"}, "/bin/sh", []string{"sh", "-c", "echo"}},
		{false, "/bin/echo", []string{"echo", "a b"}, "/bin/echo", []string{"echo", "a b"}},
		{false, "echo", nil, "echo", []string{"echo"}},
	}
	for _, tt := range tests {
		s, why := launched(t, testConfig(), frameworkInfo("f"), commandTask("t", func(i *mesos.TaskInfo) {
			i.Command = &mesos.CommandInfo{Shell: proto.Bool(tt.shell), Value: proto.String(tt.value), Arguments: tt.args}
		}))
		if s == nil || s.Path != tt.path || !slices.Equal(s.Argv, tt.argv) {
			t.Errorf("shell %v %q %q: %+v %s", tt.shell, tt.value, tt.args, s, why)
		}
	}
}

func TestUser(t *testing.T) {
	withUser := func(u string) *mesos.TaskInfo {
		return commandTask("t", func(t *mesos.TaskInfo) {
			if u != "" {
				t.Command.User = proto.String(u)
			}
		})
	}
	tests := []struct {
		name             string
		switches         bool
		framework, user  string
		want, wantReason string
	}{
		{"framework's", true, "bob", "", "bob", ""},
		{"command's wins", true, "bob", "alice", "alice", ""},
		{"none", true, "", "", "", ""},
		{"cannot switch, same user", false, "me", "", "", ""},
		{"cannot switch, none", false, "", "", "", ""},
		{"cannot switch, framework's", false, "bob", "", "", `user "bob"`},
		{"cannot switch, command's", false, "me", "root", "", `user "root"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig()
			cfg.SwitchUser, cfg.AgentUser = tt.switches, "me"
			f := frameworkInfo("f")
			f.User = proto.String(tt.framework)
			s, why := launched(t, cfg, f, withUser(tt.user))
			if tt.wantReason != "" {
				if s != nil || !strings.Contains(why, tt.wantReason) {
					t.Errorf("launched %v, refused with %q", s, why)
				}
				return
			}
			if s == nil || s.User != tt.want {
				t.Errorf("user %+v (%s), want %q", s, why, tt.want)
			}
		})
	}
}

// TestRefusals has each field of a later version, and each value that cannot be
// carried out: the message names it.
func TestRefusals(t *testing.T) {
	in := func(c func(*mesos.ContainerInfo)) func(*mesos.TaskInfo) {
		return func(t *mesos.TaskInfo) {
			t.Container = &mesos.ContainerInfo{Type: mesos.ContainerInfo_MESOS.Enum()}
			c(t.Container)
		}
	}
	linux := func(l *mesos.LinuxInfo) func(*mesos.TaskInfo) {
		return in(func(c *mesos.ContainerInfo) { c.LinuxInfo = l })
	}
	onVolume := func(change func(*mesos.Resource)) func(*mesos.TaskInfo) {
		return func(t *mesos.TaskInfo) {
			v := volume("v1")
			change(v)
			t.Resources = append(t.Resources, v)
		}
	}
	variable := func(v *mesos.Environment_Variable) func(*mesos.TaskInfo) {
		return func(t *mesos.TaskInfo) {
			t.Command.Environment = &mesos.Environment{Variables: []*mesos.Environment_Variable{v}}
		}
	}
	health := func(c *mesos.CommandInfo) func(*mesos.TaskInfo) {
		return func(t *mesos.TaskInfo) { t.HealthCheck = &mesos.HealthCheck{Command: c} }
	}
	tests := []struct {
		names  string
		custom bool
		change func(*mesos.TaskInfo)
	}{
		{"health_check.command.user", false, health(&mesos.CommandInfo{User: proto.String("u")})},
		{"health_check.command.uris", false, health(&mesos.CommandInfo{Uris: []*mesos.CommandInfo_URI{{}}})},
		{"health_check.command.value", false, health(&mesos.CommandInfo{})},
		{"health_check.command contains a NUL", false, health(&mesos.CommandInfo{Value: proto.String("x"), Arguments: []string{"\x00"}})},
		{"check.command.command.user", false, func(t *mesos.TaskInfo) {
			t.Check = &mesos.CheckInfo{Command: &mesos.CheckInfo_Command{Command: &mesos.CommandInfo{User: proto.String("u")}}}
		}},
		{"neither command nor executor", false, func(t *mesos.TaskInfo) { t.Command = nil }},
		{"both command and executor", true, func(t *mesos.TaskInfo) { t.Command = &mesos.CommandInfo{} }},
		{"executor.type DEFAULT", true, func(t *mesos.TaskInfo) { t.Executor.Type = mesos.ExecutorInfo_DEFAULT.Enum() }},
		{"executor.command is missing", true, func(t *mesos.TaskInfo) { t.Executor.Command = nil }},
		{"executor_id", true, func(t *mesos.TaskInfo) { t.Executor.ExecutorId = executorID("..") }},
		{"task_id", false, func(t *mesos.TaskInfo) { t.TaskId = taskID("a/../../b") }},
		{"command.value is missing", false, func(t *mesos.TaskInfo) { t.Command.Value = nil }},
		{"NUL", false, func(t *mesos.TaskInfo) { t.Command.Value = proto.String("a\x00b") }},
		{"container.docker", false, in(func(c *mesos.ContainerInfo) { c.Type = mesos.ContainerInfo_DOCKER.Enum() })},
		{"container.docker", false, in(func(c *mesos.ContainerInfo) { c.Docker = &mesos.ContainerInfo_DockerInfo{} })},
		{"container.mesos.image", false, in(func(c *mesos.ContainerInfo) { c.Mesos = &mesos.ContainerInfo_MesosInfo{Image: &mesos.Image{}} })},
		{"container.volumes", false, in(func(c *mesos.ContainerInfo) { c.Volumes = []*mesos.Volume{{}} })},
		{"container.hostname", false, in(func(c *mesos.ContainerInfo) { c.Hostname = proto.String("h") })},
		{"container.tty_info", false, in(func(c *mesos.ContainerInfo) { c.TtyInfo = &mesos.TTYInfo{} })},
		{"container.network_infos", false, in(func(c *mesos.ContainerInfo) { c.NetworkInfos = []*mesos.NetworkInfo{{Name: proto.String("cni")}} })},
		{"container.linux_info.seccomp", false, linux(&mesos.LinuxInfo{Seccomp: &mesos.SeccompInfo{}})},
		{"container.linux_info.share_pid_namespace", false, linux(&mesos.LinuxInfo{SharePidNamespace: proto.Bool(true)})},
		{"container.linux_info.ipc_mode", false, linux(&mesos.LinuxInfo{IpcMode: mesos.LinuxInfo_SHARE_PARENT.Enum()})},
		{"container.linux_info.shm_size", false, linux(&mesos.LinuxInfo{ShmSize: proto.Uint32(1)})},
		{"executor.container.docker", true, func(t *mesos.TaskInfo) {
			t.Executor.Container = &mesos.ContainerInfo{Type: mesos.ContainerInfo_DOCKER.Enum()}
		}},
		{"command.environment variable S of type SECRET", false, variable(&mesos.Environment_Variable{Name: proto.String("S"), Secret: &mesos.Secret{}})},
		{"command.environment variable", false, variable(&mesos.Environment_Variable{Name: proto.String("A=B"), Value: proto.String("")})},
		{"persistence id", false, onVolume(func(r *mesos.Resource) { r.Disk.Persistence.Id = proto.String("../..") })},
		{"container_path", false, onVolume(func(r *mesos.Resource) { r.Disk.Volume.ContainerPath = proto.String("/etc") })},
		{"container_path", false, onVolume(func(r *mesos.Resource) { r.Disk.Volume.ContainerPath = proto.String("a/../..") })},
		{"source of its own", false, onVolume(func(r *mesos.Resource) { r.Disk.Volume.HostPath = proto.String("/etc") })},
	}
	for _, tt := range tests {
		t.Run(tt.names, func(t *testing.T) {
			info := commandTask("t")
			if tt.custom {
				info = customTask("t", "e")
			}
			tt.change(info)
			if s, why := launched(t, testConfig(), frameworkInfo("f"), info); s != nil || !strings.Contains(why, tt.names) {
				t.Errorf("launched %v, refused with %q", s, why)
			}
		})
	}
}

func TestDurationText(t *testing.T) {
	tests := []struct {
		d    time.Duration
		want string
	}{
		{0, "0ns"}, {15 * time.Minute, "15mins"}, {5 * time.Second, "5secs"}, {2500 * time.Millisecond, "2500ms"},
		{90 * time.Second, "90secs"}, {time.Hour, "1hrs"}, {36 * time.Hour, "36hrs"}, {7 * 24 * time.Hour, "1weeks"}, {10 * 24 * time.Hour, "10days"},
		{1500 * time.Microsecond, "1500us"}, {time.Nanosecond, "1ns"}, {-time.Second, "-1secs"},
		{time.Second + time.Nanosecond, "1.000000001secs"},
	}
	for _, tt := range tests {
		if got := durationText(tt.d); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.d, got, tt.want)
		}
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1023: "1023B", 1024: "1KB", 64 << 20: "64MB", 64<<20 + 4096: "65540KB", 1 << 30: "1GB", 1 << 50: "1024TB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
