package http

import (
	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
)

// share lets tasks of one LAUNCH keep once what they have in common. Most launches are of
// many tasks alike, and the master keeps each TaskInfo for as long as its task lives; with
// a million of them this is a third of its memory and of what the collector walks. Only
// scalar resources and plain commands are compared, the rest stays as it came.
func share(call *schedulerpb.Call) {
	for _, op := range call.GetAccept().GetOperations() {
		tasks := op.GetLaunch().GetTaskInfos()
		for i := 1; i < len(tasks); i++ {
			t, before := tasks[i], tasks[i-1]
			if known(t.AgentId) && known(before.AgentId) && t.AgentId.GetValue() == before.AgentId.GetValue() {
				t.AgentId = before.AgentId
			}
			if sameResources(t.Resources, before.Resources) {
				t.Resources = before.Resources
			}
			if sameCommand(t.Command, before.Command) {
				t.Command = before.Command
			}
		}
	}
}

func sameResources(a, b []*mesos.Resource) bool {
	if len(a) != len(b) {
		return false
	}
	for i, x := range a {
		if !sameResource(x, b[i]) {
			return false
		}
	}
	return true
}

func sameResource(a, b *mesos.Resource) bool {
	return scalar(a) && scalar(b) && equal(a.Name, b.Name) && equal(a.Role, b.Role) &&
		equal(a.Scalar.Value, b.Scalar.Value) && (a.AllocationInfo == nil) == (b.AllocationInfo == nil) &&
		(a.AllocationInfo == nil || equal(a.AllocationInfo.Role, b.AllocationInfo.Role))
}

// scalar says that nothing but a name, a number and roles is set.
func scalar(r *mesos.Resource) bool {
	return r.GetType() == mesos.Value_SCALAR && r.Scalar != nil && r.Ranges == nil && r.Set == nil &&
		r.ProviderId == nil && r.Reservation == nil && r.Reservations == nil && r.Disk == nil &&
		r.Revocable == nil && r.Shared == nil && known(r) && known(r.Scalar) && known(r.AllocationInfo)
}

func sameCommand(a, b *mesos.CommandInfo) bool {
	return plain(a) && plain(b) && equal(a.Value, b.Value) && equal(a.Shell, b.Shell) && equal(a.User, b.User)
}

func plain(c *mesos.CommandInfo) bool {
	return c != nil && c.Uris == nil && c.Environment == nil && c.Arguments == nil && known(c)
}

// known says that a message has no field of a newer protocol.
func known(m proto.Message) bool { return len(m.ProtoReflect().GetUnknown()) == 0 }

func equal[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}
