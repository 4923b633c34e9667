package scheduler

import (
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"google.golang.org/protobuf/proto"
)

// Shell is a command for /bin/sh -c.
func Shell(command string) *mesos.CommandInfo {
	return &mesos.CommandInfo{Shell: proto.Bool(true), Value: proto.String(command)}
}

// Exec is a command without a shell; args do not include the program's own name, which is
// passed as argument 0.
func Exec(program string, args ...string) *mesos.CommandInfo {
	return &mesos.CommandInfo{
		Shell: proto.Bool(false), Value: proto.String(program),
		Arguments: append([]string{program}, args...),
	}
}

// Env adds a variable to a command's environment and returns the command.
func Env(c *mesos.CommandInfo, name, value string) *mesos.CommandInfo {
	if c.Environment == nil {
		c.Environment = new(mesos.Environment)
	}
	c.Environment.Variables = append(c.Environment.Variables, &mesos.Environment_Variable{Name: &name, Value: &value})
	return c
}

// Task is a command task on the agent of a pool, with resources taken from it. The id must
// be one the framework never used before; it is the name too.
func Task(id string, pool *Pool, command *mesos.CommandInfo, resources ...[]*mesos.Resource) *mesos.TaskInfo {
	t := &mesos.TaskInfo{
		Name: &id, TaskId: &mesos.TaskID{Value: &id}, AgentId: pool.Agent, Command: command,
	}
	for _, r := range resources {
		t.Resources = append(t.Resources, r...)
	}
	return t
}

// Launch starts tasks.
func Launch(tasks ...*mesos.TaskInfo) *mesos.Offer_Operation {
	return &mesos.Offer_Operation{
		Type:   mesos.Offer_Operation_LAUNCH.Enum(),
		Launch: &mesos.Offer_Operation_Launch{TaskInfos: tasks},
	}
}

// Reserve reserves resources; they carry the new reservation.
func Reserve(resources ...*mesos.Resource) *mesos.Offer_Operation {
	return &mesos.Offer_Operation{
		Type:    mesos.Offer_Operation_RESERVE.Enum(),
		Reserve: &mesos.Offer_Operation_Reserve{Resources: resources},
	}
}

// Unreserve takes the last reservation off resources.
func Unreserve(resources ...*mesos.Resource) *mesos.Offer_Operation {
	return &mesos.Offer_Operation{
		Type:      mesos.Offer_Operation_UNRESERVE.Enum(),
		Unreserve: &mesos.Offer_Operation_Unreserve{Resources: resources},
	}
}

// Create makes persistent volumes of reserved disk.
func Create(volumes ...*mesos.Resource) *mesos.Offer_Operation {
	return &mesos.Offer_Operation{
		Type:   mesos.Offer_Operation_CREATE.Enum(),
		Create: &mesos.Offer_Operation_Create{Volumes: volumes},
	}
}

// Destroy deletes persistent volumes and what is in them.
func Destroy(volumes ...*mesos.Resource) *mesos.Offer_Operation {
	return &mesos.Offer_Operation{
		Type:    mesos.Offer_Operation_DESTROY.Enum(),
		Destroy: &mesos.Offer_Operation_Destroy{Volumes: volumes},
	}
}

// WithID gives an operation an id, so that the master reports what becomes of it. LAUNCH
// takes none.
func WithID(op *mesos.Offer_Operation, id string) *mesos.Offer_Operation {
	op.Id = &mesos.OperationID{Value: &id}
	return op
}

// Refuse are filters that keep the same resources away for so many seconds; 0 is not at all.
func Refuse(seconds float64) *mesos.Filters {
	return &mesos.Filters{RefuseSeconds: &seconds}
}
