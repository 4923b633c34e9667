package scheduler

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/sdk/internal/stream"
	"google.golang.org/protobuf/proto"
)

// Caller makes the calls of a framework. It is good for the whole of a Run, over any
// number of subscriptions, and for several goroutines; calls reach the master in the order
// in which they begin.
//
// A nil error means that the master has received the call; what becomes of it comes as
// events. The others wrap ErrDisconnected, are a *StatusError, or say what in the call
// cannot be encoded.
type Caller struct {
	// turn is held by the call in flight; those waiting get it in order.
	turn chan struct{}

	mu sync.Mutex
	// info, suppressed and constraints are what the next SUBSCRIBE says.
	info        *mesos.FrameworkInfo
	suppressed  []string
	constraints *schedulerpb.OfferConstraints
	// st and at are the current subscription, nil between two.
	st   *stream.Stream
	at   *stream.Endpoint
	torn bool

	// pipe is for who holds the turn.
	pipe *stream.Pipeline
}

var errTornDown = errors.New("the framework is torn down")

func newCaller(info *mesos.FrameworkInfo, suppressed []string, constraints *schedulerpb.OfferConstraints) *Caller {
	return &Caller{
		turn:        make(chan struct{}, 1),
		info:        info,
		suppressed:  slices.Clone(suppressed),
		constraints: constraints,
	}
}

func (c *Caller) attach(st *stream.Stream, at *stream.Endpoint, id *mesos.FrameworkID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.st, c.at = st, at
	c.info = proto.CloneOf(c.info)
	c.info.Id = id
}

func (c *Caller) detach() {
	c.mu.Lock()
	c.st, c.at = nil, nil
	c.mu.Unlock()
	c.turn <- struct{}{} // a call under way ends with its subscription
	defer func() { <-c.turn }()
	if c.pipe != nil {
		c.pipe.Close()
		c.pipe = nil
	}
}

// tornDown says whether the framework ended itself; a call under way is waited for.
func (c *Caller) tornDown() bool {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.torn
}

func (c *Caller) subscribeCall() *schedulerpb.Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &schedulerpb.Call{
		Type:        schedulerpb.Call_SUBSCRIBE.Enum(),
		FrameworkId: c.info.GetId(),
		Subscribe: &schedulerpb.Call_Subscribe{
			FrameworkInfo:    c.info,
			SuppressedRoles:  slices.Clone(c.suppressed),
			OfferConstraints: c.constraints,
		},
	}
}

// FrameworkID is the id the master gave, "" before the first subscription.
func (c *Caller) FrameworkID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.info.GetId().GetValue()
}

// Call makes any call but SUBSCRIBE; the framework's id is filled in. The other methods
// are this one with a name.
func (c *Caller) Call(ctx context.Context, call *schedulerpb.Call) error {
	return c.do(ctx, call, func(ctx context.Context, to master) error {
		return to.at.Call(ctx, call, to.header)
	})
}

// master is where a call goes: that of the current subscription.
type master struct {
	at *stream.Endpoint
	// header is every call's.
	header http.Header
	// extensions are what it said it can do beyond Mesos.
	extensions string
}

// do has a call posted when its turn has come; the framework's id is filled in then.
func (c *Caller) do(ctx context.Context, call *schedulerpb.Call, post func(context.Context, master) error) error {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return c.failed(ctx, call, context.Cause(ctx))
	}
	defer func() { <-c.turn }()

	c.mu.Lock()
	st, at, id := c.st, c.at, c.info.GetId()
	c.mu.Unlock()
	if st == nil {
		return fmt.Errorf("%w: %s", ErrDisconnected, call.GetType())
	}
	call.FrameworkId = id
	one, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// A call does not outlive the subscription it belongs to, except the one that ends it:
	// its stream may end before its answer comes.
	if call.GetType() != schedulerpb.Call_TEARDOWN {
		defer context.AfterFunc(st.Context(), cancel)()
	}
	err := post(one, master{
		at: at, header: http.Header{"Mesos-Stream-Id": {st.Header.Get("Mesos-Stream-Id")}},
		extensions: strings.Join(st.Header.Values(schedulerpb.ExtensionsHeader), ","),
	})
	var se *StatusError
	switch {
	case err == nil:
		c.note(call, st)
		return nil
	case errors.Is(err, stream.ErrEncoding),
		errors.As(err, &se) && !lostSubscription(se):
		return fmt.Errorf("%s: %w", call.GetType(), err)
	case ctx.Err() == nil:
		st.Close(err) // the master is gone or not ours any more: subscribe again
	}
	return c.failed(ctx, call, err)
}

// failed is the error of a call that got no answer of this subscription's master.
func (c *Caller) failed(ctx context.Context, call *schedulerpb.Call, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.st != nil && c.st.Context().Err() == nil {
		// Only the caller's own context ended.
		return fmt.Errorf("%s: %w", call.GetType(), context.Cause(ctx))
	}
	return fmt.Errorf("%w: %s: %w", ErrDisconnected, call.GetType(), err)
}

// lostSubscription tells the refusals that mean "subscribe again" from those of a call
// that is wrong in itself. A restarted master answers 400 to frameworks it waits for.
func lostSubscription(e *StatusError) bool {
	switch e.Status {
	case http.StatusTemporaryRedirect, http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return true
	case http.StatusBadRequest, http.StatusForbidden:
		for _, text := range []string{"Framework cannot be found", "not subscribed", "stream ID", "Mesos-Stream-Id"} {
			if strings.Contains(e.Body, text) {
				return true
			}
		}
	}
	return false
}

// note keeps what a call that was received changes for the next subscription.
func (c *Caller) note(call *schedulerpb.Call, st *stream.Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch call.GetType() {
	case schedulerpb.Call_TEARDOWN:
		c.torn = true
		st.Close(errTornDown)
	case schedulerpb.Call_SUPPRESS:
		roles := call.GetSuppress().GetRoles()
		if len(roles) == 0 {
			c.suppressed = rolesOf(c.info)
			return
		}
		for _, r := range roles {
			if !slices.Contains(c.suppressed, r) {
				c.suppressed = append(c.suppressed, r)
			}
		}
	case schedulerpb.Call_REVIVE:
		roles := call.GetRevive().GetRoles()
		c.suppressed = slices.DeleteFunc(c.suppressed, func(r string) bool {
			return len(roles) == 0 || slices.Contains(roles, r)
		})
	case schedulerpb.Call_UPDATE_FRAMEWORK:
		u := call.GetUpdateFramework()
		c.info = proto.CloneOf(u.GetFrameworkInfo())
		c.info.Id = call.FrameworkId
		c.suppressed = slices.Clone(u.GetSuppressedRoles())
		c.constraints = u.GetOfferConstraints()
	}
}

func rolesOf(info *mesos.FrameworkInfo) []string {
	for _, capability := range info.GetCapabilities() {
		if capability.GetType() == mesos.FrameworkInfo_Capability_MULTI_ROLE {
			return slices.Clone(info.GetRoles())
		}
	}
	return []string{info.GetRole()}
}

// Teardown ends the framework for good: its tasks are killed, its id is forgotten, and Run
// returns nil.
func (c *Caller) Teardown(ctx context.Context) error {
	return c.Call(ctx, &schedulerpb.Call{Type: schedulerpb.Call_TEARDOWN.Enum()})
}

// Accept uses offers, which must be of one agent and role, for operations, in order. What
// they leave over goes back with filters; nil is the default, 5 s.
func (c *Caller) Accept(ctx context.Context, offers []*mesos.OfferID, operations []*mesos.Offer_Operation, filters *mesos.Filters) error {
	return c.Call(ctx, &schedulerpb.Call{
		Type:   schedulerpb.Call_ACCEPT.Enum(),
		Accept: &schedulerpb.Call_Accept{OfferIds: offers, Operations: operations, Filters: filters},
	})
}

// Decline gives offers back. The same resources are not offered again for the time in
// filters; nil is the default, 5 s.
func (c *Caller) Decline(ctx context.Context, offers []*mesos.OfferID, filters *mesos.Filters) error {
	return c.Call(ctx, &schedulerpb.Call{
		Type:    schedulerpb.Call_DECLINE.Enum(),
		Decline: &schedulerpb.Call_Decline{OfferIds: offers, Filters: filters},
	})
}

// Revive drops filters and suppression of roles; of all roles if there are none.
func (c *Caller) Revive(ctx context.Context, roles ...string) error {
	return c.Call(ctx, &schedulerpb.Call{
		Type: schedulerpb.Call_REVIVE.Enum(), Revive: &schedulerpb.Call_Revive{Roles: roles},
	})
}

// Suppress stops offers to roles, to all roles if there are none, until Revive. Later
// subscriptions of this Run keep it up.
func (c *Caller) Suppress(ctx context.Context, roles ...string) error {
	return c.Call(ctx, &schedulerpb.Call{
		Type: schedulerpb.Call_SUPPRESS.Enum(), Suppress: &schedulerpb.Call_Suppress{Roles: roles},
	})
}

// Kill asks for the end of a task. The agent may be "" if it is not known; a nil policy
// is that of the task. A task nobody knows is answered with an update that says so.
func (c *Caller) Kill(ctx context.Context, task, agent string, policy *mesos.KillPolicy) error {
	return c.Call(ctx, &schedulerpb.Call{
		Type: schedulerpb.Call_KILL.Enum(),
		Kill: &schedulerpb.Call_Kill{
			TaskId: &mesos.TaskID{Value: &task}, AgentId: agentID(agent), KillPolicy: policy,
		},
	})
}

// Shutdown ends a custom executor and its tasks.
func (c *Caller) Shutdown(ctx context.Context, executor, agent string) error {
	return c.Call(ctx, &schedulerpb.Call{
		Type: schedulerpb.Call_SHUTDOWN.Enum(),
		Shutdown: &schedulerpb.Call_Shutdown{
			ExecutorId: &mesos.ExecutorID{Value: &executor}, AgentId: &mesos.AgentID{Value: &agent},
		},
	})
}

// Acknowledge says that a status update need not come again. It does nothing for updates
// that need no acknowledgement.
func (c *Caller) Acknowledge(ctx context.Context, status *mesos.TaskStatus) error {
	if len(status.GetUuid()) == 0 {
		return nil
	}
	return c.Call(ctx, &schedulerpb.Call{Type: schedulerpb.Call_ACKNOWLEDGE.Enum(), Acknowledge: acknowledgement(status)})
}

func acknowledgement(status *mesos.TaskStatus) *schedulerpb.Call_Acknowledge {
	return &schedulerpb.Call_Acknowledge{AgentId: status.GetAgentId(), TaskId: status.GetTaskId(), Uuid: status.GetUuid()}
}

// AcknowledgeAll is Acknowledge for many at once, which costs a fraction of as many calls:
// a master that takes acknowledgements together gets them in one call, others get as many
// calls without the answer to each being waited for. An error that is a *StatusError is
// the first refusal; the other calls were received.
func (c *Caller) AcknowledgeAll(ctx context.Context, statuses []*mesos.TaskStatus) error {
	acks := make([]*schedulerpb.Call_Acknowledge, 0, len(statuses))
	for _, s := range statuses {
		if len(s.GetUuid()) > 0 {
			acks = append(acks, acknowledgement(s))
		}
	}
	if len(acks) == 0 {
		return nil
	}
	call := &schedulerpb.Call{Type: schedulerpb.Call_ACKNOWLEDGE.Enum()}
	return c.do(ctx, call, func(ctx context.Context, to master) error {
		if c.pipe == nil || c.pipe.At != to.at {
			if c.pipe != nil {
				c.pipe.Close()
			}
			c.pipe = &stream.Pipeline{At: to.at}
		}
		together := listed(to.extensions, schedulerpb.Acknowledgements)
		return c.pipe.Call(ctx, acknowledgements(call.FrameworkId, acks, together), to.header)
	})
}

// acknowledgements are the calls that say acks, in order.
func acknowledgements(framework *mesos.FrameworkID, acks []*schedulerpb.Call_Acknowledge, together bool) (calls []proto.Message) {
	add := func(call *schedulerpb.Call) {
		call.Type, call.FrameworkId = schedulerpb.Call_ACKNOWLEDGE.Enum(), framework
		calls = append(calls, call)
	}
	if together && len(acks) > 1 {
		for some := range slices.Chunk(acks, schedulerpb.MaxAcknowledgements) {
			add(&schedulerpb.Call{Acknowledgements: some})
		}
		return calls
	}
	for _, a := range acks {
		add(&schedulerpb.Call{Acknowledge: a})
	}
	return calls
}

// listed says whether a comma-separated list has a name.
func listed(list, name string) bool {
	for item := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(item), name) {
			return true
		}
	}
	return false
}

// AcknowledgeOperation is Acknowledge for operations.
func (c *Caller) AcknowledgeOperation(ctx context.Context, status *mesos.OperationStatus) error {
	if len(status.GetUuid().GetValue()) == 0 {
		return nil
	}
	return c.Call(ctx, &schedulerpb.Call{
		Type: schedulerpb.Call_ACKNOWLEDGE_OPERATION_STATUS.Enum(),
		AcknowledgeOperationStatus: &schedulerpb.Call_AcknowledgeOperationStatus{
			AgentId: status.GetAgentId(), ResourceProviderId: status.GetResourceProviderId(),
			Uuid: status.GetUuid().GetValue(), OperationId: status.GetOperationId(),
		},
	})
}

// Reconcile asks for the state of tasks, of all the master knows if there are none. Answers
// are updates with REASON_RECONCILIATION.
func (c *Caller) Reconcile(ctx context.Context, tasks ...*schedulerpb.Call_Reconcile_Task) error {
	return c.Call(ctx, &schedulerpb.Call{
		Type: schedulerpb.Call_RECONCILE.Enum(), Reconcile: &schedulerpb.Call_Reconcile{Tasks: tasks},
	})
}

// ReconcileOperations is Reconcile for operations.
func (c *Caller) ReconcileOperations(ctx context.Context, operations ...*schedulerpb.Call_ReconcileOperations_Operation) error {
	return c.Call(ctx, &schedulerpb.Call{
		Type:                schedulerpb.Call_RECONCILE_OPERATIONS.Enum(),
		ReconcileOperations: &schedulerpb.Call_ReconcileOperations{Operations: operations},
	})
}

// Message sends data to a custom executor; it may be lost.
func (c *Caller) Message(ctx context.Context, executor, agent string, data []byte) error {
	return c.Call(ctx, &schedulerpb.Call{
		Type: schedulerpb.Call_MESSAGE.Enum(),
		Message: &schedulerpb.Call_Message{
			ExecutorId: &mesos.ExecutorID{Value: &executor}, AgentId: &mesos.AgentID{Value: &agent}, Data: data,
		},
	})
}

// Request asks for resources. Masters receive it and need not act on it; neither Mesos nor
// Stoa does.
func (c *Caller) Request(ctx context.Context, requests ...*mesos.Request) error {
	return c.Call(ctx, &schedulerpb.Call{
		Type: schedulerpb.Call_REQUEST.Enum(), Request: &schedulerpb.Call_Request{Requests: requests},
	})
}

// AcceptInverseOffers agrees to give resources back; the framework ends its tasks itself.
func (c *Caller) AcceptInverseOffers(ctx context.Context, offers []*mesos.OfferID, filters *mesos.Filters) error {
	return c.Call(ctx, &schedulerpb.Call{
		Type:                schedulerpb.Call_ACCEPT_INVERSE_OFFERS.Enum(),
		AcceptInverseOffers: &schedulerpb.Call_AcceptInverseOffers{InverseOfferIds: offers, Filters: filters},
	})
}

// DeclineInverseOffers says that resources will not be given back.
func (c *Caller) DeclineInverseOffers(ctx context.Context, offers []*mesos.OfferID, filters *mesos.Filters) error {
	return c.Call(ctx, &schedulerpb.Call{
		Type:                 schedulerpb.Call_DECLINE_INVERSE_OFFERS.Enum(),
		DeclineInverseOffers: &schedulerpb.Call_DeclineInverseOffers{InverseOfferIds: offers, Filters: filters},
	})
}

// UpdateFramework replaces the framework's description, suppressed roles and offer
// constraints, now and for later subscriptions. User, principal and checkpoint cannot
// change. Unlike other calls it is done when it returns.
func (c *Caller) UpdateFramework(ctx context.Context, info *mesos.FrameworkInfo, suppressed []string, constraints *schedulerpb.OfferConstraints) error {
	info = proto.CloneOf(info)
	if id := c.FrameworkID(); id != "" {
		info.Id = &mesos.FrameworkID{Value: &id}
	}
	return c.Call(ctx, &schedulerpb.Call{
		Type: schedulerpb.Call_UPDATE_FRAMEWORK.Enum(),
		UpdateFramework: &schedulerpb.Call_UpdateFramework{
			FrameworkInfo: info, SuppressedRoles: suppressed, OfferConstraints: constraints,
		},
	})
}

func agentID(id string) *mesos.AgentID {
	if id == "" {
		return nil
	}
	return &mesos.AgentID{Value: &id}
}
