package state

import (
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// Input is one thing that happened outside: a call, a frame, a timer. The set is closed.
// Step keeps what an input points at and never changes it; nobody else may either.
type Input interface{ input() }

// Token names a request waiting at the edge; every input that has one gets exactly one
// Answer with it. 0 is that of an input nobody waits for.
type Token uint64

// Stream is a framework's subscription, the value of Mesos-Stream-Id.
type Stream string

// Link is one connection of one agent, never reused in a process.
type Link uint64

type (
	// Recovered is the first input: what the registry holds and who this master is.
	Recovered struct {
		Epoch      uint64
		Master     *mesos.MasterInfo
		Agents     []*stoapb.AgentRecord
		Frameworks []*stoapb.FrameworkRecord
		Quotas     []*stoapb.QuotaRecord
		Weights    []*stoapb.WeightRecord
	}

	// Subscribe is a SUBSCRIBE whose stream stands: 200 is sent, events may follow.
	// Semantic refusals are an ERROR event and CloseStream.
	Subscribe struct {
		Stream    Stream
		Principal string
		Call      *schedulerpb.Call
	}

	// Call is any other scheduler call, valid in form (validate.Call).
	Call struct {
		Token     Token
		Stream    Stream // the header's value, "" if it was missing
		Principal string
		Call      *schedulerpb.Call
	}

	// StreamClosed says that the framework's connection is gone.
	StreamClosed struct{ Stream Stream }

	// Hello is an agent's first frame.
	Hello struct {
		Link     Link
		Register *stoapb.Register
	}

	// Frame is any later one.
	Frame struct {
		Link Link
		Msg  *stoapb.ToMaster
	}

	// LinkClosed says that the agent's connection is gone.
	LinkClosed struct{ Link Link }

	// Operate is an operator call that changes something: UPDATE_QUOTA,
	// UPDATE_WEIGHTS, TEARDOWN.
	Operate struct {
		Token     Token
		Principal string
		Call      *masterpb.Call
	}

	// Kill is an operator's kill of a task (/stoa/v1); Mesos has no call for it.
	Kill struct {
		Token     Token
		Framework id.Framework
		Task      id.Task
		Policy    *mesos.KillPolicy
	}

	// Why asks why a task, framework or request is not running; answered with *Explanation.
	Why struct {
		Token     Token
		Framework id.Framework       // "" for a what-if
		Task      id.Task            // set to ask for one task
		Role      string             // of a what-if, "" = "*"
		Request   resource.Resources // unallocated; what would have to fit
	}

	// Fired is a timer set by SetTimer.
	Fired struct{ Timer Timer }
)

// TimerKind tells timers of one owner apart.
type TimerKind uint8

const (
	TimerAllocate     TimerKind = iota // run the allocator
	TimerFilter                        // the allocator's next filter expiry
	TimerFailover                      // Owner: framework; its failover_timeout ends
	TimerAgentPing                     // Owner: agent; send the next ping, count the missing pong
	TimerAgentLink                     // Owner: agent; grace after its link broke: rescind its offers
	TimerAgentReturn                   // Owner: agent; not back in agent_reregister_timeout
	TimerAgentRemoval                  // the rate limit lets the next agent be marked unreachable
	TimerOffer                         // --offer-timeout of the oldest offer
	TimerRegistryGC                    // prune unreachable and gone agents
	TimerRecovery                      // with quotas: allocate even if agents are not back
)

// Timer is a key: setting it again replaces the deadline.
type Timer struct {
	Kind  TimerKind
	Owner string
}

func (Recovered) input()    {}
func (Subscribe) input()    {}
func (Call) input()         {}
func (StreamClosed) input() {}
func (Hello) input()        {}
func (Frame) input()        {}
func (LinkClosed) input()   {}
func (Operate) input()      {}
func (Kill) input()         {}
func (Why) input()          {}
func (Fired) input()        {}
