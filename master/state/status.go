package state

import (
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// status makes a TaskStatus of the master's own: without a uuid, so that it is not to be
// acknowledged. The state is given as a partition-aware framework reads it.
func (m *Master) status(f *framework, t *mesos.TaskID, a *mesos.AgentID, s mesos.TaskState, reason mesos.TaskStatus_Reason, message string) *mesos.TaskStatus {
	now := m.now.Seconds()
	s = f.told(s)
	return &mesos.TaskStatus{
		TaskId:    t,
		AgentId:   a,
		State:     &s,
		Source:    mesos.TaskStatus_SOURCE_MASTER.Enum(),
		Reason:    &reason,
		Message:   &message,
		Timestamp: &now,
	}
}

// withoutData is a status as it is kept: without its data, which can be large.
func withoutData(s *mesos.TaskStatus) *mesos.TaskStatus {
	if s.Data == nil {
		return s
	}
	c := copyStatus(s)
	c.Data = nil
	return c
}

// The copies below are of one level: what they point to is shared, and never changed.
// They replace proto.Clone where a task passes by.

func copyStatus(s *mesos.TaskStatus) *mesos.TaskStatus {
	c := &mesos.TaskStatus{
		TaskId: s.TaskId, State: s.State, Message: s.Message, Source: s.Source,
		Reason: s.Reason, Data: s.Data, AgentId: s.AgentId, ExecutorId: s.ExecutorId,
		Timestamp: s.Timestamp, Uuid: s.Uuid, Healthy: s.Healthy, CheckStatus: s.CheckStatus,
		Labels: s.Labels, ContainerStatus: s.ContainerStatus, UnreachableTime: s.UnreachableTime,
		Limitation: s.Limitation, ProbeResults: s.ProbeResults,
	}
	c.ProtoReflect().SetUnknown(s.ProtoReflect().GetUnknown())
	return c
}

func copyTask(t *mesos.TaskInfo) *mesos.TaskInfo {
	c := &mesos.TaskInfo{
		Name: t.Name, TaskId: t.TaskId, AgentId: t.AgentId, Resources: t.Resources,
		Executor: t.Executor, Command: t.Command, Container: t.Container,
		HealthCheck: t.HealthCheck, Check: t.Check, KillPolicy: t.KillPolicy, Data: t.Data,
		Labels: t.Labels, Discovery: t.Discovery, MaxCompletionTime: t.MaxCompletionTime,
		Limits: t.Limits, Probes: t.Probes,
	}
	if u := t.ProtoReflect().GetUnknown(); len(u) > 0 {
		c.ProtoReflect().SetUnknown(u)
	}
	return c
}

func copyExecutor(e *mesos.ExecutorInfo) *mesos.ExecutorInfo {
	c := &mesos.ExecutorInfo{
		Type: e.Type, ExecutorId: e.ExecutorId, FrameworkId: e.FrameworkId, Command: e.Command,
		Container: e.Container, Resources: e.Resources, Name: e.Name, Source: e.Source,
		Data: e.Data, Discovery: e.Discovery, ShutdownGracePeriod: e.ShutdownGracePeriod,
		Labels: e.Labels,
	}
	if u := e.ProtoReflect().GetUnknown(); len(u) > 0 {
		c.ProtoReflect().SetUnknown(u)
	}
	return c
}

func copyHealthCheck(h *mesos.HealthCheck) *mesos.HealthCheck {
	c := &mesos.HealthCheck{
		DelaySeconds: h.DelaySeconds, IntervalSeconds: h.IntervalSeconds, TimeoutSeconds: h.TimeoutSeconds,
		ConsecutiveFailures: h.ConsecutiveFailures, GracePeriodSeconds: h.GracePeriodSeconds,
		Type: h.Type, Command: h.Command, Http: h.Http, Tcp: h.Tcp,
	}
	c.ProtoReflect().SetUnknown(h.ProtoReflect().GetUnknown())
	return c
}

func copyOperation(o *mesos.Offer_Operation) *mesos.Offer_Operation {
	c := &mesos.Offer_Operation{
		Type: o.Type, Id: o.Id, Launch: o.Launch, LaunchGroup: o.LaunchGroup,
		Reserve: o.Reserve, Unreserve: o.Unreserve, Create: o.Create, Destroy: o.Destroy,
		GrowVolume: o.GrowVolume, ShrinkVolume: o.ShrinkVolume,
		CreateDisk: o.CreateDisk, DestroyDisk: o.DestroyDisk,
	}
	c.ProtoReflect().SetUnknown(o.ProtoReflect().GetUnknown())
	return c
}

func copyOperationStatus(s *mesos.OperationStatus) *mesos.OperationStatus {
	c := &mesos.OperationStatus{
		OperationId: s.OperationId, State: s.State, Message: s.Message,
		ConvertedResources: s.ConvertedResources, Uuid: s.Uuid, AgentId: s.AgentId,
		ResourceProviderId: s.ResourceProviderId,
	}
	c.ProtoReflect().SetUnknown(s.ProtoReflect().GetUnknown())
	return c
}
