package state

import (
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"

	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
)

// reserved notes that RESERVE and CREATE go out for an instance, which waits on for the
// offer that brings back what was reserved.
func (s *Service) reserved(i *instance.Instance) {
	s.set(i, safe)
	s.after(s.cfg.ReservationTimeout, timerReservation, i.ID)
}

// operation takes the end of an operation; operation ids begin with the instance's.
func (s *Service) operation(st *mesos.OperationStatus) {
	if len(st.GetUuid().GetValue()) > 0 {
		defer func() { s.emit(AcknowledgeOperation{st}) }() // behind what it led to
	}
	i := s.instances[match.InstanceOf(st.GetOperationId().GetValue())]
	if i == nil || i.Reservation == nil {
		return
	}
	switch st.GetState() {
	case mesos.OperationState_OPERATION_FINISHED:
		if match.Destroys(st.GetOperationId().GetValue()) {
			s.drop(i)
			return
		}
		if !i.Reservation.Done {
			r := *i.Reservation
			r.Done = true
			s.set(with(i, func(c *instance.Instance) { c.Reservation = &r }), safe)
			s.timers.Stop(timer{timerReservation, i.ID})
			s.want()
		}
	case mesos.OperationState_OPERATION_PENDING:
	default:
		// Refused or lost: what was made of it comes back in an offer and is found there.
		s.unreserved(i)
	}
}

// reservationOverdue tries another place when a reservation is not confirmed in time.
func (s *Service) reservationOverdue(id string) {
	if i := s.instances[id]; i != nil && i.Reservation != nil && !i.Reservation.Done {
		s.unreserved(i)
	}
}

// unreserved forgets a reservation that never came to be. Should it exist after all, it
// is an orphan in the next offer and given back.
func (s *Service) unreserved(i *instance.Instance) {
	if i.Reservation.Done || i.Condition != instance.Scheduled {
		return
	}
	s.set(with(i, func(c *instance.Instance) { c.Reservation, c.Agent = nil, nil }), safe)
	s.want()
}

// collect gives back what ended instances hold on an agent.
func (s *Service) collect(pool *match.Pool, host *instance.Agent) []*mesos.Offer_Operation {
	var all []*mesos.Offer_Operation
	for _, id := range s.sortedGarbage() {
		if i := s.instances[id]; i != nil && i.Agent != nil && i.Agent.ID == host.ID {
			all = append(all, pool.Destroy(i)...)
		}
	}
	return all
}
