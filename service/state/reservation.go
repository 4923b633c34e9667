package state

import (
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
)

// reserved notes that RESERVE and CREATE go out for an instance, which waits on for the
// offer that brings back what was reserved.
func (s *Service) reserved(i *instance.Instance) {
	s.set(i, safe)
	s.after(s.cfg.ReservationTimeout, timerReservation, i.ID)
}

// operation takes the end of an operation; its id says of which instance it is.
func (s *Service) operation(st *mesos.OperationStatus) {
	if len(st.GetUuid().GetValue()) > 0 {
		defer func() { s.emit(AcknowledgeOperation{st}) }() // behind what it led to
	}
	id := st.GetOperationId().GetValue()
	i := s.instances[match.InstanceOf(id)]
	if i == nil || i.Reservation == nil {
		return
	}
	switch st.GetState() {
	case mesos.OperationState_OPERATION_FINISHED:
		switch {
		case match.Destroys(id) && s.garbage[i.ID]:
			s.drop(i)
		case match.Creates(id) && !i.Reservation.Done:
			r := *i.Reservation
			r.Done = true
			s.set(with(i, func(c *instance.Instance) { c.Reservation = &r }), safe)
			s.timers.Stop(timer{timerReservation, i.ID})
			s.want()
		}
	case mesos.OperationState_OPERATION_PENDING:
	case mesos.OperationState_OPERATION_GONE_BY_OPERATOR:
		s.abandon(i)
	default:
		// Refused or lost. What gives back is tried again with the next offer.
		s.unreserved(i)
	}
}

// reservationOverdue gives up a reservation that is not confirmed in time. For one that is
// to be given back it asks for offers, which show whether there is anything left.
func (s *Service) reservationOverdue(id string) {
	switch i := s.instances[id]; {
	case i == nil:
	case s.garbage[id]:
		s.want()
	case i.Reservation != nil:
		s.unreserved(i)
	}
}

// unreserved gives up an instance whose reservation did not come to be, or only a part of
// it: another instance looks for another place. Reservations carry the instance's id, so
// that no second try of this one could be told from what is left of the first.
func (s *Service) unreserved(i *instance.Instance) {
	if !i.Reservation.Done && i.Condition == instance.Scheduled {
		s.decommissioned(i)
	}
}

// abandon forgets a reservation on an agent that an operator has marked gone (as Marathon
// 1.10, core/instance/update/InstanceUpdater.scala, shouldAbandonReservation).
func (s *Service) abandon(i *instance.Instance) {
	switch {
	case i.Condition == instance.Scheduled:
		s.set(with(i, func(c *instance.Instance) { c.Reservation, c.Agent = nil, nil }), safe)
		s.want()
	case i.Condition.Terminal():
		s.drop(i)
	}
}

// collect gives back what ended instances hold on an agent, and forgets those that, a
// while after they ended, hold nothing.
func (s *Service) collect(pool *match.Pool, host *instance.Agent) []*mesos.Offer_Operation {
	var all []*mesos.Offer_Operation
	for _, id := range s.sortedGarbage() {
		i := s.instances[id]
		if i == nil || i.Agent == nil || i.Agent.ID != host.ID {
			continue
		}
		ops := pool.Destroy(i)
		if len(ops) == 0 && pool.Role() == i.Role && s.now.Wall.Sub(i.Since) >= s.cfg.ReservationTimeout {
			s.drop(i)
			continue
		}
		all = append(all, ops...)
	}
	return all
}

// reconcileTask asks about an instance's task, and with it about the agent that has its
// reservation.
func reconcileTask(i *instance.Instance) *schedulerpb.Call_Reconcile_Task {
	id := i.TaskID
	if id == "" {
		id = instance.TaskID(i.ID, i.Incarnation+1)
	}
	t := &schedulerpb.Call_Reconcile_Task{TaskId: &mesos.TaskID{Value: proto.String(id)}}
	if i.Agent != nil {
		t.AgentId = &mesos.AgentID{Value: proto.String(i.Agent.ID)}
	}
	return t
}
