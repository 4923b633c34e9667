package state

import (
	"time"

	"github.com/stoa-kernel/stoa/service/deploy"
)

// timer names one deadline.
type timer struct {
	kind timerKind
	id   string
}

type timerKind int

const (
	timerBackoff    timerKind = iota // of an app
	timerDeployment                  // a deployment's Wake
	timerRevive
	timerReconcile
	timerAsk
	// Of instances:
	timerOverdue
	timerDrain
	timerKill
	timerInactive
	timerExpunge
	timerReservation
)

var instanceTimers = []timerKind{timerOverdue, timerDrain, timerKill, timerInactive, timerExpunge, timerReservation}

// after arms a timer.
func (s *Service) after(d time.Duration, k timerKind, id string) {
	s.timers.Set(timer{k, id}, s.now.Mono+max(d, 0))
}

// at arms a timer for a wall clock time.
func (s *Service) at(t time.Time, k timerKind, id string) { s.after(t.Sub(s.now.Wall), k, id) }

// arm asks for the next Fired, if it is another one than asked for before.
func (s *Service) arm() {
	at, ok := s.timers.Next()
	if ok && (at != s.armed || s.armed == 0) {
		s.armed = at
		s.out = append(s.out, SetTimer{at})
	}
}

func (s *Service) fired() {
	s.armed = 0
	for {
		t, ok := s.timers.Due(s.now.Mono)
		if !ok {
			return
		}
		switch t.kind {
		case timerBackoff:
			s.backedOff(t.id)
		case timerDeployment:
			s.stepDeployment(t.id, deploy.Look) // never refused
		case timerRevive:
			s.revive()
		case timerReconcile:
			s.reconcile()
		case timerAsk:
			s.ask()
		case timerOverdue:
			s.overdue(t.id)
		case timerDrain:
			s.drained(t.id)
		case timerKill:
			s.killAgain(t.id)
		case timerInactive:
			s.inactive(t.id)
		case timerExpunge:
			s.expunge(t.id)
		case timerReservation:
			s.reservationOverdue(t.id)
		}
	}
}
