package view

import (
	"slices"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/master/state"
	"google.golang.org/protobuf/proto"
)

// taskMessage is a task as GET_TASKS shows it.
func taskMessage(t *state.Task) *mesos.Task {
	info := t.Info
	m := &mesos.Task{
		Name:              proto.String(info.GetName()),
		TaskId:            info.TaskId,
		FrameworkId:       &mesos.FrameworkID{Value: proto.String(string(t.Framework))},
		AgentId:           &mesos.AgentID{Value: proto.String(string(t.Agent))},
		State:             t.State.Enum(),
		Resources:         info.Resources,
		Statuses:          t.Statuses,
		Labels:            info.Labels,
		Discovery:         info.Discovery,
		Container:         info.Container,
		HealthCheck:       info.HealthCheck,
		KillPolicy:        info.KillPolicy,
		Limits:            info.Limits,
		StatusUpdateState: nil,
	}
	if t.Executor != "" {
		m.ExecutorId = &mesos.ExecutorID{Value: proto.String(string(t.Executor))}
	}
	if len(t.StatusUUID) > 0 {
		m.StatusUpdateState = t.StatusState.Enum()
		m.StatusUpdateUuid = t.StatusUUID
	}
	if t.User != "" {
		m.User = proto.String(t.User)
	}
	return m
}

// capabilities are what every agent of ours can do.
var capabilities = func() []*mesos.AgentInfo_Capability {
	var out []*mesos.AgentInfo_Capability
	for _, c := range []mesos.AgentInfo_Capability_Type{
		mesos.AgentInfo_Capability_MULTI_ROLE,
		mesos.AgentInfo_Capability_HIERARCHICAL_ROLE,
		mesos.AgentInfo_Capability_RESERVATION_REFINEMENT,
		mesos.AgentInfo_Capability_AGENT_OPERATION_FEEDBACK,
		mesos.AgentInfo_Capability_TASK_RESOURCE_LIMITS,
	} {
		out = append(out, &mesos.AgentInfo_Capability{Type: c.Enum()})
	}
	return out
}()

// agentMessage is an agent as GET_AGENTS shows it.
func agentMessage(a *state.Agent) *masterpb.Response_GetAgents_Agent {
	return &masterpb.Response_GetAgents_Agent{
		AgentInfo:          a.Info,
		Active:             proto.Bool(a.Connected),
		Deactivated:        proto.Bool(false),
		Version:            proto.String(a.Version),
		Pid:                proto.String("slave(1)@" + a.Address),
		RegisteredTime:     timeInfo(a.Registered),
		ReregisteredTime:   timeInfo(a.Reregistered),
		TotalResources:     endpointFormat(a.Total),
		AllocatedResources: endpointFormat(a.Allocated),
		OfferedResources:   endpointFormat(a.Offered),
		Capabilities:       capabilities,
	}
}

// frameworkMessage is a framework as GET_FRAMEWORKS shows it.
func frameworkMessage(f *state.Framework, offers []*mesos.Offer) *masterpb.Response_GetFrameworks_Framework {
	again := f.Reregistered
	if again.IsZero() {
		again = f.Registered
	}
	constraints := f.Constraints
	if constraints == nil {
		constraints = &schedulerpb.OfferConstraints{}
	}
	return &masterpb.Response_GetFrameworks_Framework{
		FrameworkInfo:      f.Info,
		Active:             proto.Bool(f.Connected),
		Connected:          proto.Bool(f.Connected),
		Recovered:          proto.Bool(f.Recovered),
		RegisteredTime:     timeInfo(f.Registered),
		ReregisteredTime:   timeInfo(again),
		UnregisteredTime:   timeInfo(f.Unregistered),
		Offers:             offers,
		AllocatedResources: endpointFormat(f.Allocated),
		OfferedResources:   endpointFormat(f.Offered),
		OfferConstraints:   constraints,
	}
}

func offerMessage(o *state.Offer, agent *state.Agent) *mesos.Offer {
	m := &mesos.Offer{
		Id:             &mesos.OfferID{Value: proto.String(string(o.ID))},
		FrameworkId:    &mesos.FrameworkID{Value: proto.String(string(o.Framework))},
		AgentId:        &mesos.AgentID{Value: proto.String(string(o.Agent))},
		Hostname:       proto.String(""),
		Resources:      endpointFormat(o.Resources),
		AllocationInfo: &mesos.Resource_AllocationInfo{Role: proto.String(o.Role)},
	}
	if agent != nil {
		m.Hostname = proto.String(agent.Info.GetHostname())
		m.Attributes = agent.Info.GetAttributes()
	}
	return m
}

func timeInfo(t time.Time) *mesos.TimeInfo {
	if t.IsZero() {
		return nil
	}
	return &mesos.TimeInfo{Nanoseconds: proto.Int64(t.UnixNano())}
}

// endpointFormat is how Mesos shows resources to operators: with reservations[], and for
// at most one reservation also in the older form with role and reservation (Mesos 1.11,
// src/common/resources_utils.cpp).
func endpointFormat(rs resource.Resources) []*mesos.Resource {
	list := rs.Proto()
	out := make([]*mesos.Resource, len(list))
	for i, r := range list {
		c := &mesos.Resource{
			ProviderId: r.ProviderId, Name: r.Name, Type: r.Type,
			Scalar: r.Scalar, Ranges: r.Ranges, Set: r.Set,
			AllocationInfo: r.AllocationInfo, Reservations: r.Reservations,
			Disk: r.Disk, Revocable: r.Revocable, Shared: r.Shared,
		}
		switch len(r.Reservations) {
		case 0:
			c.Role = proto.String("*")
		case 1:
			only := r.Reservations[0]
			c.Role = only.Role
			if only.GetType() == mesos.Resource_ReservationInfo_DYNAMIC {
				c.Reservation = &mesos.Resource_ReservationInfo{Principal: only.Principal, Labels: only.Labels}
			}
		}
		out[i] = c
	}
	return out
}

// scalars is quantities as unreserved resources, as GET_ROLES and GET_QUOTA show them.
func scalars(q resource.Quantities) []*mesos.Resource {
	var out []*mesos.Resource
	for _, x := range q {
		out = append(out, &mesos.Resource{
			Name:   proto.String(x.Name),
			Type:   mesos.Value_SCALAR.Enum(),
			Scalar: &mesos.Value_Scalar{Value: proto.Float64(x.Value.Float())},
		})
	}
	return out
}

// roleResources are the names GET_ROLES shows, as Mesos does.
var roleResources = []string{"cpus", "disk", "gpus", "mem"}

func roleMessage(r *state.Role, used resource.Quantities) *mesos.Role {
	m := &mesos.Role{Name: proto.String(r.Name), Weight: proto.Float64(r.Weight)}
	for _, f := range r.Frameworks {
		m.Frameworks = append(m.Frameworks, &mesos.FrameworkID{Value: proto.String(string(f))})
	}
	m.Resources = slices.DeleteFunc(scalars(used), func(r *mesos.Resource) bool {
		return !slices.Contains(roleResources, r.GetName())
	})
	return m
}
