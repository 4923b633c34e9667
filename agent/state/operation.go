package state

import (
	"bytes"
	"encoding/hex"
	"time"

	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"google.golang.org/protobuf/proto"
)

// settledOperations is how many finished operations are remembered, so that one sent
// again is answered again and not applied twice.
const settledOperations = 256

// operation is one whose outcome is known.
type operation struct {
	seq       uint64
	uuid      []byte
	framework *mesos.FrameworkID
	info      *mesos.Offer_Operation
	status    *mesos.OperationStatus // its uuid is unset if nobody acknowledges it
	interval  time.Duration          // until it is sent again
}

func (o *operation) order() uint64 { return o.seq }

// applying is the operation whose volumes are being made or removed. Later operations
// and tasks wait for it: they may need what it makes.
type applying struct {
	m    *stoapb.ApplyOperation // nil for the volumes made whole at the start
	next resource.Resources
}

func behindOperations(m *stoapb.ToAgent) bool {
	return m.GetRunTask() != nil || m.GetApplyOperation() != nil
}

// applyOperation makes RESERVE, UNRESERVE, CREATE or DESTROY true. Directories come
// first and the record after them: a crash between the two leaves an empty directory,
// never a volume that was destroyed and still has its data when its id is used again.
func (a *Agent) applyOperation(m *stoapb.ApplyOperation) {
	if o := a.operations[string(m.GetOperationUuid())]; o != nil {
		a.sendOperation(o)
		return
	}
	for _, o := range a.settled {
		if bytes.Equal(o.uuid, m.GetOperationUuid()) {
			a.sendOperation(o)
			return
		}
	}
	op := unallocated(m.GetOperation())
	next, err := a.total.Apply(op)
	if err != nil {
		a.finishOperation(m, mesos.OperationState_OPERATION_FAILED, err.Error())
		return
	}
	create, destroy := op.GetCreate().GetVolumes(), op.GetDestroy().GetVolumes()
	for _, v := range create {
		if why := volumeRefusal(v); why != "" {
			a.finishOperation(m, mesos.OperationState_OPERATION_FAILED, why)
			return
		}
	}
	for _, v := range destroy {
		if user := a.volumeUser(v); user != "" {
			a.finishOperation(m, mesos.OperationState_OPERATION_FAILED,
				"persistent volume "+v.GetDisk().GetPersistence().GetId()+" is used by task "+user)
			return
		}
	}
	if len(create)+len(destroy) == 0 {
		a.commitOperation(m, next)
		return
	}
	a.applying = &applying{m, next}
	a.out.add(ApplyVolumes{Operation: hex.EncodeToString(m.GetOperationUuid()), Create: create, Destroy: destroy})
}

func (a *Agent) volumesApplied(in VolumesApplied) {
	if a.applying == nil || in.Operation != hex.EncodeToString(a.applying.m.GetOperationUuid()) {
		return
	}
	done := a.applying
	a.applying = nil
	if done.m == nil {
		// What could not be made fails the tasks that use it, saying so.
	} else if in.Err != "" {
		a.finishOperation(done.m, mesos.OperationState_OPERATION_FAILED, in.Err)
	} else {
		a.commitOperation(done.m, done.next)
	}
	for a.applying == nil && len(a.backlog) > 0 {
		m := a.backlog[0]
		a.backlog = a.backlog[1:]
		a.command(m)
	}
}

// restoreVolumes makes what is left of a DESTROY whose record was lost in a crash: the
// volume is there, and empty. Tasks and operations wait for it.
func (a *Agent) restoreVolumes() {
	var volumes []*mesos.Resource
	for _, r := range a.total.PersistentVolumes().Proto() {
		if container.VolumePath(a.cfg.WorkDir, r) != "" {
			volumes = append(volumes, r)
		}
	}
	if len(volumes) > 0 {
		a.applying = &applying{}
		a.out.add(ApplyVolumes{Restore: volumes})
	}
}

func (a *Agent) commitOperation(m *stoapb.ApplyOperation, next resource.Resources) {
	a.total = next
	if planted.Bug("operation answered without its record") {
		a.finishOperation(m, mesos.OperationState_OPERATION_FINISHED, "")
		return
	}
	a.persist(true, a.resourcesRecord())
	a.finishOperation(m, mesos.OperationState_OPERATION_FINISHED, "")
}

// finishOperation tells the outcome: until it is acknowledged if the framework gave
// the operation an id, else once. The master applied the operation in advance, so a
// failure comes with what the resources really are.
func (a *Agent) finishOperation(m *stoapb.ApplyOperation, s mesos.OperationState, message string) {
	o := &operation{
		seq:       a.nextSeq(),
		uuid:      m.GetOperationUuid(),
		framework: m.GetFrameworkId(),
		info:      m.GetOperation(),
		status:    &mesos.OperationStatus{OperationId: m.GetOperation().GetId(), State: s.Enum(), AgentId: a.admitted.GetId()},
	}
	if message != "" {
		o.status.Message = proto.String(message)
	}
	if m.GetOperation().GetId() != nil {
		o.status.Uuid = &mesos.UUID{Value: a.uuid()}
		a.operations[string(o.uuid)] = o
		a.persist(true, o.record())
	} else {
		a.settle(o)
	}
	a.sendOperation(o)
	if s == mesos.OperationState_OPERATION_FAILED && a.registered {
		a.toMaster(&stoapb.ToMaster{Body: &stoapb.ToMaster_ResourcesChanged{ResourcesChanged: &stoapb.ResourcesChanged{
			Resources: a.total.Proto(),
		}}})
	}
}

func (a *Agent) settle(o *operation) {
	if len(a.settled) == settledOperations {
		a.settled = append(a.settled[:0], a.settled[1:]...)
	}
	a.settled = append(a.settled, o)
}

func (a *Agent) sendOperation(o *operation) {
	if !a.registered {
		return
	}
	a.toMaster(&stoapb.ToMaster{Body: &stoapb.ToMaster_OperationUpdate{OperationUpdate: &stoapb.OperationUpdate{
		FrameworkId: o.framework, Status: o.status, OperationUuid: o.uuid,
	}}})
	if a.operations[string(o.uuid)] == o {
		o.interval = min(max(2*o.interval, a.cfg.UpdateRetryMin), a.cfg.UpdateRetryMax)
		a.setTimer(TimerOperation, hex.EncodeToString(o.uuid), o.interval)
	}
}

func (a *Agent) operationFired(owner string) {
	uuid, err := hex.DecodeString(owner)
	if o := a.operations[string(uuid)]; err == nil && o != nil {
		a.sendOperation(o)
	}
}

func (a *Agent) acknowledgeOperation(m *stoapb.AcknowledgeOperation) {
	o := a.operations[string(m.GetOperationUuid())]
	if o == nil || !bytes.Equal(o.status.GetUuid().GetValue(), m.GetStatusUuid()) {
		return
	}
	delete(a.operations, string(o.uuid))
	a.settle(o)
	a.stopTimer(TimerOperation, hex.EncodeToString(o.uuid))
	a.persist(false, &stoapb.LogRecord{Body: &stoapb.LogRecord_OperationDone{OperationDone: &stoapb.OperationDone{OperationUuid: o.uuid}}})
}

func (a *Agent) orderedOperations() []*operation { return ordered(a.operations) }

func (a *Agent) pauseOperations() {
	for _, o := range a.orderedOperations() {
		o.interval = 0
		a.stopTimer(TimerOperation, hex.EncodeToString(o.uuid))
	}
}

func (a *Agent) resumeOperations() {
	for _, o := range a.orderedOperations() {
		a.sendOperation(o)
	}
}

func (a *Agent) operationReport(o *operation) *mesos.Operation {
	return &mesos.Operation{
		FrameworkId:  o.framework,
		AgentId:      a.admitted.GetId(),
		Info:         o.info,
		LatestStatus: o.status,
		Statuses:     []*mesos.OperationStatus{o.status},
		Uuid:         &mesos.UUID{Value: o.uuid},
	}
}

func (o *operation) record() *stoapb.LogRecord {
	return &stoapb.LogRecord{Body: &stoapb.LogRecord_Operation{Operation: &stoapb.OperationPending{
		FrameworkId: o.framework, OperationUuid: o.uuid, Status: o.status, Info: o.info,
	}}}
}

func (a *Agent) resourcesRecord() *stoapb.LogRecord {
	return &stoapb.LogRecord{Body: &stoapb.LogRecord_Resources{Resources: &stoapb.ResourcesCheckpoint{
		Resources: a.total.Proto(), Configured: a.cfg.Resources.Proto(),
	}}}
}

// volumeUser is a live task that has the volume mounted, "" if none has.
func (a *Agent) volumeUser(v *mesos.Resource) string {
	want := v.GetDisk().GetPersistence().GetId()
	role := volumeRole(v)
	for _, f := range ordered(a.frameworks) {
		for _, t := range ordered(f.tasks) {
			if t.terminal() {
				continue
			}
			for _, r := range t.info.GetResources() {
				if p := r.GetDisk().GetPersistence(); p != nil && p.GetId() == want && volumeRole(r) == role {
					return string(t.id)
				}
			}
		}
	}
	return ""
}

func volumeRole(r *mesos.Resource) string {
	if n := len(r.GetReservations()); n > 0 {
		return r.GetReservations()[n-1].GetRole()
	}
	return r.GetRole()
}

// unallocated is the operation as it applies to an agent's total, which is allocated
// to nobody.
func unallocated(op *mesos.Offer_Operation) *mesos.Offer_Operation {
	op = proto.CloneOf(op)
	for _, list := range [][]*mesos.Resource{
		op.GetReserve().GetResources(), op.GetReserve().GetSource(), op.GetUnreserve().GetResources(),
		op.GetCreate().GetVolumes(), op.GetDestroy().GetVolumes(),
	} {
		for _, r := range list {
			r.AllocationInfo = nil
		}
	}
	return op
}
