package state

import (
	"bytes"

	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"google.golang.org/protobuf/proto"
)

// Snapshot is the state as records: what replaces the log at compaction. Records
// written before or after may follow it.
func (a *Agent) Snapshot() []*stoapb.LogRecord {
	var list []*stoapb.LogRecord
	add := func(r *stoapb.LogRecord) { list = append(list, r) }
	if a.admitted != nil {
		add(&stoapb.LogRecord{Body: &stoapb.LogRecord_Admitted{Admitted: &stoapb.AgentAdmitted{
			Info: a.admitted, BootId: proto.String(a.recordedBoot),
		}}})
		add(a.resourcesRecord())
	}
	if a.epoch > 0 {
		add(&stoapb.LogRecord{Body: &stoapb.LogRecord_Epoch{Epoch: &stoapb.EpochSeen{Epoch: proto.Uint64(a.epoch)}}})
	}
	for _, f := range ordered(a.frameworks) {
		if f.info != nil {
			add(&stoapb.LogRecord{Body: &stoapb.LogRecord_Framework{Framework: &stoapb.FrameworkCheckpoint{Info: f.info}}})
		}
		if f.terminating {
			add(&stoapb.LogRecord{Body: &stoapb.LogRecord_FrameworkShutdown{
				FrameworkShutdown: &stoapb.FrameworkShutdown{FrameworkId: frameworkID(f.id)},
			}})
		}
	}
	for _, e := range ordered(a.runs) {
		add(e.record())
		if e.recorded {
			add(e.forkedRecord())
		}
	}
	for _, f := range ordered(a.frameworks) {
		for _, t := range ordered(f.tasks) {
			list = append(list, t.snapshot()...)
		}
	}
	for _, o := range a.orderedOperations() {
		add(o.record())
	}
	for _, cid := range sortedKeys(a.sandboxes) {
		add(a.sandboxes[cid].record())
	}
	return list
}

// snapshot of one task. An acknowledged update stands for the state it left; of older
// ones only the uuids are kept, so that an executor's repetition stays a duplicate.
func (t *task) snapshot() []*stoapb.LogRecord {
	var list []*stoapb.LogRecord
	fid, tid := frameworkID(t.framework.id), taskID(t.id)
	acknowledged := func(uuid []byte) {
		list = append(list, &stoapb.LogRecord{Body: &stoapb.LogRecord_Acknowledged{Acknowledged: &stoapb.TaskAcknowledged{
			FrameworkId: fid, TaskId: tid, Uuid: uuid,
		}}})
	}
	if t.info != nil {
		list = append(list, t.record())
	}
	uuids, last := t.stream.Acknowledged()
	for _, u := range uuids {
		if !bytes.Equal(u, last.GetUuid()) {
			acknowledged(u)
		}
	}
	if last != nil {
		list = append(list, t.updateRecord(last))
		acknowledged(last.GetUuid())
	}
	for _, u := range t.stream.Pending() {
		list = append(list, t.updateRecord(u))
	}
	if t.kill != nil {
		list = append(list, t.killRecord())
	}
	return list
}
