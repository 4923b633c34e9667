package state

import "time"

// stopBound is the longest a task is given when the agent is told to stop its tasks,
// whatever its kill policy says.
const stopBound = 10 * time.Second

// stopPatience is how long the end of destroyed containers is waited for after that.
const stopPatience = 5 * time.Second

// shutdown stops the agent: at once, leaving tasks alone, or after they have been
// killed.
func (a *Agent) shutdown(in Shutdown) {
	if !in.StopTasks && !in.Now && !a.stopping {
		a.out.add(Stopped{})
		return
	}
	if a.stopping && !in.Now {
		return
	}
	a.stopping = true
	a.backlog = nil
	for _, e := range ordered(a.runs) {
		if e.stage == ended {
			continue
		}
		if in.Now {
			a.stopNow(e)
			continue
		}
		switch t := e.only(); {
		case !e.command:
			a.shutdownRun(e, min(a.shutdownGrace(e), stopBound))
		case t != nil:
			a.killCommand(t, manner{grace: min(a.grace(t, nil), stopBound)}, nil)
		default:
			a.destroy(e)
		}
	}
	a.setTimer(TimerStop, "", stopBound)
	a.stopIfDone()
}

func (a *Agent) stopNow(e *executor) {
	if t := e.only(); e.command && t != nil {
		if t.kill == nil {
			t.kill = &kill{requested: a.now.Wall, began: a.now.Wall}
			a.persist(false, t.killRecord())
		}
		t.kill.acted = true
	}
	e.terminating = true
	a.destroy(e)
}

// stopFired: time is over. What does not report its end even after it was destroyed
// is not waited for much longer.
func (a *Agent) stopFired() {
	if !a.stopping {
		return
	}
	if a.stopForced {
		a.stop()
		return
	}
	a.stopForced = true
	for _, e := range ordered(a.runs) {
		if !e.doomed {
			a.stopNow(e)
		}
	}
	a.setTimer(TimerStop, "", stopPatience)
}

func (a *Agent) stopIfDone() {
	if a.stopping && len(a.runs) == 0 {
		a.stop()
	}
}

func (a *Agent) stop() {
	if a.stopped {
		return
	}
	a.stopped = true
	a.stopTimer(TimerStop, "")
	if a.exit != "" {
		a.out.add(Exit{a.exit})
		return
	}
	a.out.add(Stopped{})
}
