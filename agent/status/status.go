// Package status is the status-update protocol of one task as a value: updates are
// kept in order, one is in flight at a time, it is sent again until it is
// acknowledged, and nothing is sent while the master is away (as Mesos 1.11,
// src/slave/task_status_update_manager.cpp).
package status

import (
	"bytes"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/kernel/task"
)

// Retry says when an unacknowledged update is sent again: after Min, then after twice
// as long each time, never longer than Max.
type Retry struct{ Min, Max time.Duration }

// remembered bounds how many acknowledged uuids a stream knows duplicates by. An
// executor sends an update again only until the agent has answered it, so the newest
// ones are enough.
const remembered = 64

// Stream holds the updates of one task, oldest first. The zero value is empty and
// paused.
type Stream struct {
	pending  []*mesos.TaskStatus // pending[0] is in flight if open and due > 0
	acked    [][]byte            // uuids, oldest first, at most remembered
	last     *mesos.TaskStatus   // the newest acknowledged update
	terminal bool                // a terminal update was added
	open     bool
	inFlight bool
	due      time.Duration
	interval time.Duration
}

// Add appends an update and reports whether it is new: one whose uuid was seen before
// or that follows a terminal update is dropped.
func (s *Stream) Add(u *mesos.TaskStatus) bool {
	if s.terminal || s.Seen(u.GetUuid()) {
		return false
	}
	s.pending = append(s.pending, u)
	s.terminal = task.Terminal(u.GetState())
	return true
}

// Seen reports whether an update of this uuid is pending or was acknowledged lately.
func (s *Stream) Seen(uuid []byte) bool {
	for _, p := range s.pending {
		if bytes.Equal(p.GetUuid(), uuid) {
			return true
		}
	}
	for _, a := range s.acked {
		if bytes.Equal(a, uuid) {
			return true
		}
	}
	return false
}

// Resume lets updates flow: the head is due at once, with the shortest interval.
func (s *Stream) Resume() { s.open, s.inFlight = true, false }

// Pause holds updates back until Resume.
func (s *Stream) Pause() { s.open, s.inFlight = false, false }

// Forward returns the update to send now and when to ask again. It is nil when there
// is none, the stream is paused, or the head is in flight and not yet due; again is
// then 0, or the time it will be due.
func (s *Stream) Forward(now time.Duration, r Retry) (u *mesos.TaskStatus, again time.Duration) {
	switch {
	case !s.open || len(s.pending) == 0:
		return nil, 0
	case !s.inFlight:
		s.inFlight, s.interval = true, r.Min
	case now < s.due:
		return nil, s.due
	default:
		s.interval = min(2*s.interval, r.Max)
	}
	s.due = now + s.interval
	return s.pending[0], s.due
}

// Acknowledge removes the head if uuid is its uuid, and reports whether it did. Any
// other uuid changes nothing: a late acknowledgement, or a forged one.
func (s *Stream) Acknowledge(uuid []byte) bool {
	if len(s.pending) == 0 || !bytes.Equal(s.pending[0].GetUuid(), uuid) && !planted.Bug("ack with a wrong uuid advancing the stream") {
		return false
	}
	s.last = s.pending[0]
	s.pending[0] = nil
	s.pending = s.pending[1:]
	s.inFlight = false
	s.Forget(uuid)
	return true
}

// Forget makes the stream treat uuid as acknowledged: what a log tells of updates
// that are no longer in it.
func (s *Stream) Forget(uuid []byte) {
	if s.Seen(uuid) {
		return
	}
	s.acked = append(s.acked, bytes.Clone(uuid))
	if n := len(s.acked) - remembered; n > 0 {
		s.acked = append(s.acked[:0], s.acked[n:]...)
	}
}

// Head is the oldest unacknowledged update, nil if there is none.
func (s *Stream) Head() *mesos.TaskStatus {
	if len(s.pending) == 0 {
		return nil
	}
	return s.pending[0]
}

// Pending is the unacknowledged updates, oldest first; do not modify.
func (s *Stream) Pending() []*mesos.TaskStatus { return s.pending }

// Acknowledged is the uuids known as acknowledged, oldest first, and the newest
// acknowledged update; do not modify.
func (s *Stream) Acknowledged() (uuids [][]byte, last *mesos.TaskStatus) { return s.acked, s.last }

// Terminal reports whether a terminal update was added.
func (s *Stream) Terminal() bool { return s.terminal }

// Closed reports whether the terminal update was acknowledged: the stream is at its end.
func (s *Stream) Closed() bool { return s.terminal && len(s.pending) == 0 }

// Shown is the update the framework was last told: the one in flight, or else the
// last one acknowledged; nil before the first. Mesos calls its state and uuid
// status_update_state and status_update_uuid.
func (s *Stream) Shown() *mesos.TaskStatus {
	if len(s.pending) > 0 {
		return s.pending[0]
	}
	return s.last
}
