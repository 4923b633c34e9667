package state

import (
	"time"

	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"google.golang.org/protobuf/proto"
)

// Effect is one thing the loop must do. Effects are done in order; those after a
// Persist wait until it is durable. The set is closed.
type Effect interface{ effect() }

// Effects is the buffer Step appends to.
type Effects struct{ List []Effect }

func (e *Effects) add(x Effect) { e.List = append(e.List, x) }

// Reset empties the buffer, keeping its memory.
func (e *Effects) Reset() { clear(e.List); e.List = e.List[:0] }

// Table is a part of the registry.
type Table string

const (
	Agents     Table = "agents"
	Frameworks Table = "frameworks"
	Quotas     Table = "quotas"
	Weights    Table = "weights"
)

type (
	// Persist writes a record, or deletes it if Record is nil.
	Persist struct {
		Table  Table
		ID     string
		Record proto.Message
	}

	// ToFramework sends an event on a subscription.
	ToFramework struct {
		Stream Stream
		Event  *schedulerpb.Event
	}

	// CloseStream ends a subscription after what was sent on it.
	CloseStream struct{ Stream Stream }

	// ToAgent sends a frame.
	ToAgent struct {
		Link Link
		Msg  *stoapb.ToAgent
	}

	// CloseLink ends a link after what was sent on it.
	CloseLink struct{ Link Link }

	// Answer completes a request. Body is nil, a proto message or an *Explanation;
	// Message is the text of an error.
	Answer struct {
		Token   Token
		Status  int // HTTP
		Message string
		Body    any
	}

	// SetTimer arms a timer at a monotonic time; StopTimer disarms it.
	SetTimer struct {
		Timer Timer
		At    time.Duration
	}
	StopTimer struct{ Timer Timer }

	// Publish puts an event on the timeline.
	Publish struct{ Event Event }
)

func (Persist) effect()     {}
func (ToFramework) effect() {}
func (CloseStream) effect() {}
func (ToAgent) effect()     {}
func (CloseLink) effect()   {}
func (Answer) effect()      {}
func (SetTimer) effect()    {}
func (StopTimer) effect()   {}
func (Publish) effect()     {}
