package main

import (
	"fmt"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	executorpb "github.com/stoa-kernel/stoa/api/mesos/v1/executor"
	"google.golang.org/protobuf/proto"
)

// executor is the process of a custom executor: it lives in a container, outlives the
// agent's process, and keeps what the agent has not answered.
type executor struct {
	w         *world
	m         *machine
	box       *box
	framework string
	id        string

	conn       *conn
	subscribed bool
	running    []string // tasks not ended
	unacked    []*mesos.TaskStatus
	launched   []*mesos.TaskInfo // not acknowledged by any update
	had        map[string]bool
	sending    map[string]bool // uuids on their way
	serial     int
}

type executorCall struct{ call *executorpb.Call }

func (m *machine) startExecutor(b *box) {
	x := &executor{w: m.w, m: m, box: b, framework: b.framework, id: b.executor, had: map[string]bool{}, sending: map[string]bool{}}
	b.model = x
	if m.w.chance(0.03) && !m.w.calm {
		m.w.count["executor: never registers"]++
		return
	}
	m.w.at(m.w.between(5*time.Millisecond, 300*time.Millisecond), x.subscribe)
}

func (x *executor) call(t executorpb.Call_Type) *executorpb.Call {
	return &executorpb.Call{
		Type:        t.Enum(),
		FrameworkId: &mesos.FrameworkID{Value: &x.framework},
		ExecutorId:  &mesos.ExecutorID{Value: &x.id},
	}
}

// subscribe connects to the agent, now or when it is there.
func (x *executor) subscribe() {
	if !x.box.alive() || x.conn != nil {
		return
	}
	again := func() { x.w.at(x.w.between(20*time.Millisecond, 900*time.Millisecond), x.subscribe) }
	a := x.m.proc
	if a == nil || !a.started {
		again()
		return
	}
	c := &conn{w: x.w}
	x.conn = c
	c.ends[0].recv = func(msg any) {
		switch msg := msg.(type) {
		case int:
			if msg != 200 {
				x.w.count["executor: refused"]++
			}
			x.subscribed = msg == 200
			for _, u := range x.unacked {
				x.transmit(u) // those made since SUBSCRIBE was written
			}
		case *executorpb.Event:
			x.event(msg)
		}
	}
	c.ends[0].gone = func() {
		if x.conn == c {
			x.conn, x.subscribed = nil, false
			again()
		}
	}
	a.acceptExecutor(c)
	call := x.call(executorpb.Call_SUBSCRIBE)
	call.Subscribe = &executorpb.Call_Subscribe{}
	for _, u := range x.unacked {
		call.Subscribe.UnacknowledgedUpdates = append(call.Subscribe.UnacknowledgedUpdates, &executorpb.Call_Update{Status: u})
	}
	call.Subscribe.UnacknowledgedTasks = append(call.Subscribe.UnacknowledgedTasks, x.launched...)
	x.w.count["executor: subscribe"]++
	c.send(0, executorCall{call})
}

func (x *executor) event(e *executorpb.Event) {
	if !x.box.alive() {
		return
	}
	switch e.GetType() {
	case executorpb.Event_LAUNCH:
		x.launch(e.GetLaunch().GetTask())
	case executorpb.Event_KILL:
		id := e.GetKill().GetTaskId().GetValue()
		x.w.at(x.w.between(time.Millisecond, time.Second), func() { x.end(id, mesos.TaskState_TASK_KILLED) })
	case executorpb.Event_ACKNOWLEDGED:
		x.acknowledged(e.GetAcknowledged().GetTaskId().GetValue(), e.GetAcknowledged().GetUuid())
	case executorpb.Event_MESSAGE:
		x.greeted(e.GetMessage().GetData())
	case executorpb.Event_SHUTDOWN:
		x.w.count["executor: shutdown"]++
		x.w.at(x.w.between(time.Millisecond, 2*time.Second), func() { x.m.ended(x.box, 0, false) })
	}
}

func (x *executor) launch(info *mesos.TaskInfo) {
	id := info.GetTaskId().GetValue()
	t := x.w.truth.get(id)
	if x.had[id] {
		x.w.fail("a task is launched once", "executor %s of %s gets LAUNCH of %s twice", x.id, x.m.name, id)
	}
	x.had[id] = true
	x.w.truth.begin(x.m, t, x.box)
	x.launched = append(x.launched, info)
	x.running = append(x.running, id)
	if x.w.chance(0.3) {
		x.update(id, mesos.TaskState_TASK_STARTING)
	}
	x.update(id, mesos.TaskState_TASK_RUNNING)
	if t.plan.life > 0 {
		state := mesos.TaskState_TASK_FINISHED
		if t.plan.wait != 0 {
			state = mesos.TaskState_TASK_FAILED
		}
		x.w.at(t.plan.life, func() { x.end(id, state) })
	}
}

// end is the end of a task inside the executor.
func (x *executor) end(id string, s mesos.TaskState) {
	if !x.box.alive() {
		return
	}
	for i, r := range x.running {
		if r == id {
			x.running = append(x.running[:i:i], x.running[i+1:]...)
			t := x.w.truth.get(id)
			t.own = s
			x.w.truth.end(t)
			x.update(id, s)
			x.w.at(x.w.between(20*time.Second, 90*time.Second), x.idle)
			return
		}
	}
}

// idle ends the executor if it has nothing to do.
func (x *executor) idle() {
	if x.box.alive() && len(x.running) == 0 && len(x.unacked) == 0 {
		x.w.count["executor: ends idle"]++
		x.m.ended(x.box, 0, false)
	}
}

func (x *executor) update(id string, s mesos.TaskState) {
	x.serial++
	uuid := make([]byte, 16)
	copy(uuid, fmt.Sprintf("%08d", x.serial))
	for i := 8; i < 16; i++ {
		uuid[i] = byte(x.w.rng.Uint32())
	}
	u := &mesos.TaskStatus{
		TaskId: &mesos.TaskID{Value: &id}, State: s.Enum(), Uuid: uuid,
		Source: mesos.TaskStatus_SOURCE_EXECUTOR.Enum(), Timestamp: proto.Float64(x.w.clockAt(0, x.m.skew).Seconds()),
	}
	x.unacked = append(x.unacked, u)
	x.transmit(u)
}

// transmit sends an update over the second connection; without an answer it is kept.
func (x *executor) transmit(u *mesos.TaskStatus) {
	a := x.m.proc
	if a == nil || !x.subscribed {
		return // the next SUBSCRIBE has it
	}
	conn := x.conn
	x.w.at(x.w.between(100*time.Microsecond, 2*time.Millisecond), func() {
		if a != x.m.proc || x.conn != conn || !x.box.alive() || !x.subscribed {
			return
		}
		call := x.call(executorpb.Call_UPDATE)
		call.Update = &executorpb.Call_Update{Status: u}
		a.executorAsks(executorCall{call}, func(status int) {
			x.w.count[fmt.Sprintf("executor: update answered %d", status)]++
			if status == 202 {
				x.m.mustHave(u)
			}
		})
	})
}

// greeted answers the framework's message.
func (x *executor) greeted(data []byte) {
	if want := x.framework + " greets " + x.id; string(data) != want {
		x.w.fail("messages reach whom they are for", "executor %s of %s reads %q", x.id, x.framework, data)
	}
	if a := x.m.proc; a != nil && x.subscribed {
		call := x.call(executorpb.Call_MESSAGE)
		call.Message = &executorpb.Call_Message{Data: []byte(x.id + " greets " + x.framework)}
		a.executorAsks(executorCall{call}, func(int) {})
	}
}

func (x *executor) acknowledged(id string, uuid []byte) {
	for i, u := range x.unacked {
		if string(u.Uuid) == string(uuid) {
			x.unacked = append(x.unacked[:i:i], x.unacked[i+1:]...)
			break
		}
	}
	for i, t := range x.launched {
		if t.GetTaskId().GetValue() == id {
			x.launched = append(x.launched[:i:i], x.launched[i+1:]...)
			break
		}
	}
}

// die is the end of the process, with all its tasks.
func (x *executor) die() {
	for _, id := range x.running {
		x.w.truth.end(x.w.truth.get(id))
	}
	x.running = nil
	if x.conn != nil {
		x.conn.close(0)
		x.conn = nil
	}
}
