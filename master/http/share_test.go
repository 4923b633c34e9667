package http

import (
	"testing"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
)

// alike is a plain task; change makes it another one.
func alike(change func(*mesos.TaskInfo)) *mesos.TaskInfo {
	t := &mesos.TaskInfo{
		AgentId: &mesos.AgentID{Value: proto.String("a")},
		Command: &mesos.CommandInfo{Value: proto.String("true")},
		Resources: []*mesos.Resource{{
			Name: proto.String("cpus"), Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: proto.Float64(1)},
			AllocationInfo: &mesos.Resource_AllocationInfo{Role: proto.String("r")},
		}},
	}
	if change != nil {
		change(t)
	}
	return t
}

func launchOf(tasks ...*mesos.TaskInfo) *schedulerpb.Call {
	return &schedulerpb.Call{Accept: &schedulerpb.Call_Accept{Operations: []*mesos.Offer_Operation{
		{Launch: &mesos.Offer_Operation_Launch{TaskInfos: tasks}},
	}}}
}

func TestTasksAlikeShareWhatTheySay(t *testing.T) {
	a, b := alike(nil), alike(nil)
	share(launchOf(a, b))
	if a.AgentId != b.AgentId || a.Command != b.Command || a.Resources[0] != b.Resources[0] {
		t.Error("two tasks alike keep everything twice")
	}
}

// Whatever differs, in any field, must arrive as it was said.
func TestWhatDiffersIsNotShared(t *testing.T) {
	unknown := []byte{0xc2, 0x3e, 0x01, 'x'}
	for name, change := range map[string]func(*mesos.TaskInfo){
		"agent":             func(t *mesos.TaskInfo) { t.AgentId.Value = proto.String("b") },
		"unknown of agent":  func(t *mesos.TaskInfo) { t.AgentId.ProtoReflect().SetUnknown(unknown) },
		"command":           func(t *mesos.TaskInfo) { t.Command.Value = proto.String("false") },
		"no command":        func(t *mesos.TaskInfo) { t.Command = nil },
		"shell":             func(t *mesos.TaskInfo) { t.Command.Shell = proto.Bool(true) },
		"user":              func(t *mesos.TaskInfo) { t.Command.User = proto.String("nobody") },
		"arguments":         func(t *mesos.TaskInfo) { t.Command.Arguments = []string{"x"} },
		"uris":              func(t *mesos.TaskInfo) { t.Command.Uris = []*mesos.CommandInfo_URI{{}} },
		"environment":       func(t *mesos.TaskInfo) { t.Command.Environment = &mesos.Environment{} },
		"amount":            func(t *mesos.TaskInfo) { t.Resources[0].Scalar.Value = proto.Float64(2) },
		"name":              func(t *mesos.TaskInfo) { t.Resources[0].Name = proto.String("mem") },
		"allocation role":   func(t *mesos.TaskInfo) { t.Resources[0].AllocationInfo.Role = proto.String("s") },
		"empty allocation":  func(t *mesos.TaskInfo) { t.Resources[0].AllocationInfo.Role = nil },
		"no allocation":     func(t *mesos.TaskInfo) { t.Resources[0].AllocationInfo = nil },
		"role":              func(t *mesos.TaskInfo) { t.Resources[0].Role = proto.String("r") },
		"reservations":      func(t *mesos.TaskInfo) { t.Resources[0].Reservations = []*mesos.Resource_ReservationInfo{{}} },
		"disk":              func(t *mesos.TaskInfo) { t.Resources[0].Disk = &mesos.Resource_DiskInfo{} },
		"revocable":         func(t *mesos.TaskInfo) { t.Resources[0].Revocable = &mesos.Resource_RevocableInfo{} },
		"shared":            func(t *mesos.TaskInfo) { t.Resources[0].Shared = &mesos.Resource_SharedInfo{} },
		"unknown of amount": func(t *mesos.TaskInfo) { t.Resources[0].Scalar.ProtoReflect().SetUnknown(unknown) },
		"one resource more": func(t *mesos.TaskInfo) { t.Resources = append(t.Resources, t.Resources[0]) },
		"no resources":      func(t *mesos.TaskInfo) { t.Resources = nil },
	} {
		first, last := alike(nil), alike(nil)
		other := alike(change)
		want := []*mesos.TaskInfo{proto.CloneOf(first), proto.CloneOf(other), proto.CloneOf(last)}
		call := launchOf(first, other, last)
		share(call)
		for i, got := range call.Accept.Operations[0].Launch.TaskInfos {
			if !proto.Equal(got, want[i]) {
				t.Errorf("%s: task %d changed to %v", name, i, got)
			}
		}
	}
}
