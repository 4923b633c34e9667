package state

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/master/validate"
)

// operation is a RESERVE, UNRESERVE, CREATE or DESTROY that was applied to the master's
// view and sent to the agent, until its terminal status is acknowledged: by the framework
// if it gave it an id, else by the master.
type operation struct {
	uuid  id.UUID
	fw    *framework
	agent *agent
	// info as sent to the agent, always with an id: see masterID.
	info *mesos.Offer_Operation
	// from became to in the agent's resources; neither is allocated.
	from, to resource.Resources
	status   *mesos.OperationStatus // the latest
}

// masterID makes the id of an operation to which the framework gave none. The agent keeps
// an operation with an id until its outcome is acknowledged, so that after a lost link
// the master knows whether it was done; it must never be done twice. The slash keeps it
// apart from all ids of frameworks.
func masterID(u id.UUID) *mesos.OperationID {
	value := "/" + u.String()
	return &mesos.OperationID{Value: &value}
}

// feedback is the id the framework gave the operation, "" if it wants to hear nothing.
func (o *operation) feedback() id.Operation {
	value := o.info.GetId().GetValue()
	if strings.HasPrefix(value, "/") {
		return ""
	}
	return id.Operation(value)
}

func (o *operation) pending() bool {
	return o.status.GetState() == mesos.OperationState_OPERATION_PENDING
}

func terminalOperation(s mesos.OperationState) bool {
	switch s {
	case mesos.OperationState_OPERATION_FINISHED, mesos.OperationState_OPERATION_FAILED,
		mesos.OperationState_OPERATION_ERROR, mesos.OperationState_OPERATION_DROPPED,
		mesos.OperationState_OPERATION_GONE_BY_OPERATOR:
		return true
	}
	return false
}

// operate checks an operation, applies it to the master's view at once and sends it to
// the agent, which makes it durable before it answers.
func (m *Master) operate(acc *acceptance, given *mesos.Offer_Operation) error {
	f, a := acc.fw, acc.agent
	op, bag, err := prepareOperation(given, acc.role)
	if err != nil {
		return fmt.Errorf("Operation attempted with invalid resources: %w", err)
	}
	if err := validate.Operation(op, bag, f.info); err != nil {
		return err
	}
	if err := validate.OperationUnsupported(op); err != nil {
		return err
	}
	if op.Id != nil {
		if err := id.Validate(op.Id.GetValue()); err != nil {
			return fmt.Errorf("the operation's 'id' is invalid: %w", err)
		}
		if f.operations[id.Operation(op.Id.GetValue())] != nil {
			return fmt.Errorf("the operation id '%s' is in use", op.Id.GetValue())
		}
	}
	switch op.GetType() {
	case mesos.Offer_Operation_CREATE:
		for x := range bag.All() {
			if a.hasVolume(x.Role(), x.VolumeID()) {
				return fmt.Errorf("persistence id '%s' is already used by another volume of role '%s' on the agent", x.VolumeID(), x.Role())
			}
		}
	case mesos.Offer_Operation_DESTROY:
		if err := m.beforeDestroy(acc, bag); err != nil {
			return err
		}
	}
	after, err := acc.remaining.Apply(op)
	if err != nil {
		return err
	}
	from, to := acc.remaining.Sub(after), after.Sub(acc.remaining)
	acc.remaining = after
	acc.shared = after.SharedOnly()
	m.alloc.Convert(f.id, a.id, from, to)
	o := &operation{
		uuid: id.NewUUID(m.rand), fw: f, agent: a, info: op,
		from: from.Unallocate(), to: to.Unallocate(),
	}
	if op.Id == nil {
		op.Id = masterID(o.uuid)
	}
	o.status = o.newStatus(mesos.OperationState_OPERATION_PENDING, "")
	a.total = a.total.Sub(o.from).Add(o.to)
	m.touchAgent(a)
	m.addOperation(o)
	m.applyOperation(o)
	return nil
}

// hasVolume reports whether the agent has a volume of the role under an id.
func (a *agent) hasVolume(role, volume string) bool {
	for x := range a.total.All() {
		if x.VolumeID() == volume && x.Role() == role {
			return true
		}
	}
	return false
}

func (m *Master) addOperation(o *operation) {
	m.operations[o.uuid] = o
	o.agent.operations = append(o.agent.operations, o)
	if oid := o.feedback(); oid != "" && o.fw != nil {
		o.fw.operations[oid] = o
	}
}

func (m *Master) removeOperation(o *operation) {
	delete(m.operations, o.uuid)
	if i := slices.Index(o.agent.operations, o); i >= 0 {
		o.agent.operations = slices.Delete(o.agent.operations, i, i+1)
	}
	if oid := o.feedback(); oid != "" && o.fw != nil && o.fw.operations[oid] == o {
		delete(o.fw.operations, oid)
	}
}

func (m *Master) applyOperation(o *operation) {
	msg := &stoapb.ApplyOperation{Epoch: &m.epoch, Operation: o.info, OperationUuid: o.uuid[:]}
	if o.fw != nil {
		msg.FrameworkId = o.fw.protoID
	}
	m.toAgent(o.agent, &stoapb.ToAgent{Body: &stoapb.ToAgent_ApplyOperation{ApplyOperation: msg}})
}

// beforeDestroy checks that a volume exists and nobody uses it, and rescinds the other
// offers that have it, as shared volumes can be in several.
func (m *Master) beforeDestroy(acc *acceptance, bag resource.Resources) error {
	volumes := bag.Unallocate()
	if !acc.agent.total.Contains(volumes) {
		return errors.New("Persistent volumes not found")
	}
	for x := range volumes.All() {
		for used := range acc.agent.allocated.All() {
			if used.VolumeID() == x.VolumeID() && used.Role() == x.Role() {
				return fmt.Errorf("persistent volume '%s' is in use", x.VolumeID())
			}
		}
		for _, o := range slices.Clone(acc.agent.offers) {
			if o.resources.Unallocate().Contains(x.Bag()) {
				m.rescind(o, nil)
			}
		}
	}
	return nil
}

// prepareOperation reads an operation's resources, allocated to role where they are not,
// and returns the operation with them.
func prepareOperation(given *mesos.Offer_Operation, role string) (*mesos.Offer_Operation, resource.Resources, error) {
	op := copyOperation(given)
	var bag resource.Resources
	var err error
	switch given.GetType() {
	case mesos.Offer_Operation_RESERVE:
		if bag, err = allocated(given.Reserve.Resources, role); err == nil {
			op.Reserve = &mesos.Offer_Operation_Reserve{Resources: bag.Proto(), Source: given.Reserve.Source}
		}
	case mesos.Offer_Operation_UNRESERVE:
		if bag, err = allocated(given.Unreserve.Resources, role); err == nil {
			op.Unreserve = &mesos.Offer_Operation_Unreserve{Resources: bag.Proto()}
		}
	case mesos.Offer_Operation_CREATE:
		if bag, err = allocated(given.Create.Volumes, role); err == nil {
			op.Create = &mesos.Offer_Operation_Create{Volumes: bag.Proto()}
		}
	case mesos.Offer_Operation_DESTROY:
		if bag, err = allocated(given.Destroy.Volumes, role); err == nil {
			op.Destroy = &mesos.Offer_Operation_Destroy{Volumes: bag.Proto()}
		}
	}
	return op, bag, err
}

// dropOperation tells of an operation that was not done, if the framework gave it an id.
func (m *Master) dropOperation(f *framework, op *mesos.Offer_Operation, message string) {
	if op.Id == nil {
		return
	}
	m.operationStatus(f, &mesos.OperationStatus{
		OperationId: op.Id,
		State:       mesos.OperationState_OPERATION_ERROR.Enum(),
		Message:     &message,
	})
}

func (m *Master) operationStatus(f *framework, s *mesos.OperationStatus) {
	m.emit(f, &schedulerpb.Event{
		Type:                  schedulerpb.Event_UPDATE_OPERATION_STATUS.Enum(),
		UpdateOperationStatus: &schedulerpb.Event_UpdateOperationStatus{Status: s},
	})
}

func (o *operation) newStatus(s mesos.OperationState, message string) *mesos.OperationStatus {
	status := &mesos.OperationStatus{OperationId: o.info.Id, State: &s, AgentId: o.agent.protoID}
	if message != "" {
		status.Message = &message
	}
	return status
}

// operationUpdate is an agent's answer to an operation.
func (m *Master) operationUpdate(a *agent, u *stoapb.OperationUpdate) {
	s := u.GetStatus()
	if s == nil || len(u.OperationUuid) != len(id.UUID{}) {
		return
	}
	o := m.operations[id.UUID(u.OperationUuid)]
	if o == nil || o.agent != a {
		// Acknowledged before, or of a framework that is no more.
		m.ackOperation(a, u.OperationUuid, s.GetUuid().GetValue())
		return
	}
	if o.feedback() != "" && s.OperationId == nil {
		s = copyOperationStatus(s)
		s.OperationId = o.info.Id
	}
	wasPending := o.pending()
	o.status = s
	if failed := terminalOperation(s.GetState()) && s.GetState() != mesos.OperationState_OPERATION_FINISHED; failed && wasPending {
		m.undoOperation(o)
	}
	if o.feedback() != "" && o.fw != nil && !o.fw.removed {
		m.operationStatus(o.fw, s)
		if terminalOperation(s.GetState()) && s.Uuid == nil {
			m.removeOperation(o)
		}
		return
	}
	m.ackOperation(a, u.OperationUuid, s.GetUuid().GetValue())
	if terminalOperation(s.GetState()) {
		m.removeOperation(o)
	}
}

// undoOperation takes an operation the agent could not do out of the master's view. Every
// offer of the agent is rescinded, as any may hold what does not exist.
func (m *Master) undoOperation(o *operation) {
	a := o.agent
	m.rescindAgent(a, nil)
	if a.total.Contains(o.to) {
		a.total = a.total.Sub(o.to).Add(o.from)
	}
	m.alloc.UpdateAgent(a.forAllocator())
	m.touchAgent(a)
}

func (m *Master) ackOperation(a *agent, operation, status []byte) {
	if len(status) == 0 {
		return
	}
	m.toAgent(a, &stoapb.ToAgent{Body: &stoapb.ToAgent_AcknowledgeOperation{AcknowledgeOperation: &stoapb.AcknowledgeOperation{
		Epoch: &m.epoch, OperationUuid: operation, StatusUuid: status,
	}}})
}

// acknowledgeOperation is ACKNOWLEDGE_OPERATION_STATUS.
func (m *Master) acknowledgeOperation(f *framework, call *schedulerpb.Call_AcknowledgeOperationStatus) {
	o := f.operations[id.Operation(call.GetOperationId().GetValue())]
	if o == nil || string(o.agent.id) != call.GetAgentId().GetValue() ||
		string(o.status.GetUuid().GetValue()) != string(call.GetUuid()) || o.status.Uuid == nil {
		return
	}
	m.ackOperation(o.agent, o.uuid[:], call.Uuid)
	if terminalOperation(o.status.GetState()) {
		m.removeOperation(o)
	}
}

// reconcileOperations is RECONCILE_OPERATIONS (Mesos 1.11, docs/reconciliation.md), answered by events.
func (m *Master) reconcileOperations(f *framework, asked []*schedulerpb.Call_ReconcileOperations_Operation) {
	if len(asked) == 0 {
		ids := make([]id.Operation, 0, len(f.operations))
		for oid := range f.operations {
			ids = append(ids, oid)
		}
		slices.Sort(ids)
		for _, oid := range ids {
			m.operationStatus(f, f.operations[oid].unacknowledged())
		}
		return
	}
	for _, q := range asked {
		if o := f.operations[id.Operation(q.GetOperationId().GetValue())]; o != nil {
			m.operationStatus(f, o.unacknowledged())
			continue
		}
		state, message := m.unknownOperation(q)
		m.operationStatus(f, &mesos.OperationStatus{
			OperationId: q.OperationId, State: &state, Message: &message,
			AgentId: q.AgentId, ResourceProviderId: q.ResourceProviderId,
		})
	}
}

func (m *Master) unknownOperation(q *schedulerpb.Call_ReconcileOperations_Operation) (mesos.OperationState, string) {
	if q.AgentId == nil {
		return mesos.OperationState_OPERATION_UNKNOWN, "Reconciliation: Operation is unknown and no 'agent_id' was provided"
	}
	aid := id.Agent(q.AgentId.GetValue())
	if a := m.agents[aid]; a != nil && a.recovered {
		return mesos.OperationState_OPERATION_RECOVERING, "Reconciliation: Agent is recovered but has not re-registered"
	} else if a != nil {
		return mesos.OperationState_OPERATION_UNKNOWN, "Reconciliation: Operation is unknown"
	}
	if _, ok := m.unreachable[aid]; ok {
		return mesos.OperationState_OPERATION_UNREACHABLE, "Reconciliation: Agent is unreachable"
	}
	if _, ok := m.gone[aid]; ok {
		return mesos.OperationState_OPERATION_GONE_BY_OPERATOR, "Reconciliation: Agent marked gone by operator"
	}
	return mesos.OperationState_OPERATION_UNKNOWN, "Reconciliation: Both operation and agent are unknown"
}

// unacknowledged is the latest status without its uuid: nothing to acknowledge.
func (o *operation) unacknowledged() *mesos.OperationStatus {
	s := copyOperationStatus(o.status)
	s.Uuid = nil
	return s
}
