package main

import "time"

// conn is a connection of two processes: an ordered stream each way. Side 0 dialed,
// side 1 listened. What is received is never lost out of the middle: if something is
// lost, so is all that follows, and the connection ends.
type conn struct {
	w    *world
	ends [2]end
	lag  time.Duration // beside the ordinary latency
}

// end is one side as a receiver.
type end struct {
	recv   func(any)
	gone   func()
	closed bool          // nothing is received or sent any more
	void   bool          // what is sent here is lost
	cut    uint64        // what was sent before the last cut is lost
	last   time.Duration // when the last message sent here arrives
}

func (w *world) latency() time.Duration { return w.between(100*time.Microsecond, 3*time.Millisecond) }

// send sends to the other side.
func (c *conn) send(from int, msg any) {
	to := &c.ends[1-from]
	if c.ends[from].closed {
		return
	}
	if to.void {
		c.w.count["net: sent into a dead connection"]++
		return
	}
	at := max(to.last, c.w.now+c.w.latency()+c.lag)
	to.last = at
	cut := to.cut
	c.w.at(at-c.w.now, func() {
		if to.closed || to.cut != cut {
			c.w.count["net: lost in flight"]++
			return
		}
		to.recv(msg)
	})
}

// close ends the connection from one side; the other learns of it after what is on its
// way.
func (c *conn) close(side int) {
	if c.ends[side].closed {
		return
	}
	c.ends[side].closed = true
	to := &c.ends[1-side]
	if to.void || to.closed {
		return
	}
	to.last = max(to.last, c.w.now+c.w.latency()+c.lag)
	c.w.at(to.last-c.w.now, func() { c.notice(1 - side) })
}

// sound reports whether the connection is not broken, whoever may have noticed.
func (c *conn) sound() bool {
	return c != nil && !c.ends[0].closed && !c.ends[1].closed && !c.ends[0].void && !c.ends[1].void
}

// notice is a side finding the connection dead.
func (c *conn) notice(side int) {
	e := &c.ends[side]
	if e.closed {
		return
	}
	e.closed = true
	e.gone()
}

// sever breaks the connection: nothing sent from now on arrives, perhaps not what is on
// its way, and each side notices at its own time.
func (c *conn) sever(slowest time.Duration) {
	for side := range c.ends {
		e := &c.ends[side]
		if e.closed {
			continue
		}
		e.void = true
		if c.w.chance(0.5) {
			e.cut++
		}
		wait := c.w.between(0, 50*time.Millisecond)
		if c.w.chance(0.5) {
			wait = c.w.between(0, slowest)
		}
		c.w.at(wait, func() { c.notice(side) })
	}
}
