package main

import (
	"fmt"
	"reflect"
	"strings"
	"sync"

	agent "github.com/stoa-kernel/stoa/agent/state"
	master "github.com/stoa-kernel/stoa/master/state"
	"google.golang.org/protobuf/proto"
)

// What goes into the hash and the counts of every input and effect.

// names of types, by type: shared by all worlds, as they never change.
var names, bodies sync.Map

// short is the name of a value's type.
func short(v any) string {
	t := reflect.TypeOf(v)
	if name, ok := names.Load(t); ok {
		return name.(string)
	}
	s := fmt.Sprintf("%T", v)
	s = s[strings.LastIndexByte(s, '.')+1:]
	names.Store(t, s)
	return s
}

// body is the name of a frame's content.
func body(v any) string {
	t := reflect.TypeOf(v)
	if name, ok := bodies.Load(t); ok {
		return name.(string)
	}
	_, name, _ := strings.Cut(short(v), "_")
	bodies.Store(t, name)
	return name
}

func (m *masterProcess) noteInput(in master.Input) {
	kind := short(in)
	var msg proto.Message
	var fields []any
	switch in := in.(type) {
	case master.Recovered:
		fields = []any{in.Epoch, len(in.Agents), len(in.Frameworks), len(in.Quotas), len(in.Weights)}
	case master.Subscribe:
		msg, fields = in.Call, []any{string(in.Stream)}
	case master.Call:
		kind += " " + in.Call.GetType().String()
		msg, fields = in.Call, []any{uint64(in.Token), string(in.Stream)}
	case master.StreamClosed:
		fields = []any{string(in.Stream)}
	case master.Hello:
		msg, fields = in.Register, []any{uint64(in.Link)}
	case master.Frame:
		kind += " " + body(in.Msg.GetBody())
		msg, fields = in.Msg, []any{uint64(in.Link)}
	case master.LinkClosed:
		fields = []any{uint64(in.Link)}
	case master.Operate:
		kind += " " + in.Call.GetType().String()
		msg, fields = in.Call, []any{uint64(in.Token)}
	case master.Kill:
		fields = []any{uint64(in.Token), string(in.Framework), string(in.Task)}
	case master.Why:
		fields = []any{uint64(in.Token), string(in.Framework), string(in.Task), in.Role}
	case master.Fired:
		kind += " " + masterTimers[in.Timer.Kind]
		fields = []any{in.Timer.Owner}
	}
	m.w.count["master input: "+kind]++
	m.w.trace.note(m.w.now, m.name, "<- "+kind, msg, fields...)
}

var masterTimers = map[master.TimerKind]string{
	master.TimerAllocate: "allocate", master.TimerFilter: "filter", master.TimerFailover: "failover",
	master.TimerAgentPing: "ping", master.TimerAgentLink: "link grace", master.TimerAgentReturn: "agent return",
	master.TimerAgentRemoval: "agent removal", master.TimerOffer: "offer timeout", master.TimerRegistryGC: "registry gc",
	master.TimerRecovery: "recovery",
}

func (m *masterProcess) noteEffect(e master.Effect) {
	kind := short(e)
	var msg proto.Message
	var fields []any
	switch e := e.(type) {
	case master.Persist:
		kind += " " + string(e.Table)
		fields = []any{e.ID}
		if e.Record == nil {
			kind += " deleted"
		} else {
			msg = e.Record
		}
	case master.ToFramework:
		kind += " " + e.Event.GetType().String()
		msg, fields = e.Event, []any{string(e.Stream)}
	case master.CloseStream:
		fields = []any{string(e.Stream)}
	case master.ToAgent:
		kind += " " + body(e.Msg.GetBody())
		msg, fields = e.Msg, []any{uint64(e.Link)}
	case master.CloseLink:
		fields = []any{uint64(e.Link)}
	case master.Answer:
		kind += fmt.Sprintf(" %d", e.Status)
		fields = []any{uint64(e.Token), e.Message}
	case master.SetTimer:
		kind += " " + masterTimers[e.Timer.Kind]
		fields = []any{e.Timer.Owner, e.At}
	case master.StopTimer:
		kind += " " + masterTimers[e.Timer.Kind]
		fields = []any{e.Timer.Owner}
	case master.Publish:
		kind += " " + short(e.Event)
	}
	m.w.count["master effect: "+kind]++
	m.w.trace.note(m.w.now, m.name, "-> "+kind, msg, fields...)
}

func (a *agentProcess) noteInput(in agent.Input) {
	kind := short(in)
	var msg proto.Message
	var fields []any
	switch in := in.(type) {
	case agent.Started:
		fields = []any{in.BootID}
	case agent.LinkUp:
		fields = []any{uint64(in.Link)}
	case agent.Frame:
		kind += " " + body(in.Msg.GetBody())
		msg, fields = in.Msg, []any{uint64(in.Link)}
	case agent.LinkDown:
		fields = []any{uint64(in.Link)}
	case agent.ExecutorSubscribe:
		msg, fields = in.Call, []any{uint64(in.Token), uint64(in.Stream)}
	case agent.ExecutorCall:
		kind += " " + in.Call.GetType().String()
		msg, fields = in.Call, []any{uint64(in.Token)}
	case agent.ExecutorGone:
		fields = []any{uint64(in.Stream)}
	case agent.Container:
		kind += " " + short(in.Event)
		fields = []any{in.Event}
	case agent.Checked:
		fields = []any{string(in.Container), string(in.Task), in.Check, in.Result}
	case agent.VolumesApplied:
		fields = []any{in.Operation, in.Err}
	case agent.DiskUsage:
		fields = []any{in.Used}
	case agent.SandboxRemoved:
		fields = []any{string(in.Container), in.Err}
	case agent.Shutdown:
		fields = []any{in.StopTasks, in.Now}
	case agent.Fired:
		kind += " " + agentTimers[in.Timer.Kind]
		fields = []any{in.Timer.Owner}
	}
	a.w.count["agent input: "+kind]++
	a.w.trace.note(a.w.now, a.m.name, "<- "+kind, msg, fields...)
}

var agentTimers = map[agent.TimerKind]string{
	agent.TimerRetry: "retry", agent.TimerKill: "kill", agent.TimerCompletion: "completion",
	agent.TimerRegistration: "registration", agent.TimerReregistration: "reregistration", agent.TimerShutdown: "shutdown",
	agent.TimerPing: "ping", agent.TimerHeartbeat: "heartbeat", agent.TimerGC: "gc", agent.TimerStop: "stop",
	agent.TimerOperation: "operation", agent.TimerCheck: "check",
}

func (a *agentProcess) noteEffect(e agent.Effect) {
	kind := short(e)
	var msg proto.Message
	var fields []any
	switch e := e.(type) {
	case agent.Persist:
		kind += " " + body(e.Record.GetBody())
		if step := e.Record.GetKill().GetStep(); step != 0 {
			kind += " " + step.String()
		}
		msg, fields = e.Record, []any{e.Sync}
	case agent.ToMaster:
		kind += " " + body(e.Msg.GetBody())
		msg, fields = e.Msg, []any{uint64(e.Link)}
	case agent.DropLink:
		fields = []any{uint64(e.Link)}
	case agent.ToExecutor:
		kind += " " + e.Event.GetType().String()
		msg, fields = e.Event, []any{uint64(e.Stream)}
	case agent.CloseExecutor:
		fields = []any{uint64(e.Stream)}
	case agent.Answer:
		kind += fmt.Sprintf(" %d", e.Status)
		fields = []any{uint64(e.Token), e.Message}
	case agent.Launch:
		fields = []any{string(e.Spec.ID), e.Spec.Limits, len(e.Spec.Env), strings.Join(e.Spec.Argv, " ")}
	case agent.Go:
		fields = []any{string(e.Container)}
	case agent.Adopt:
		fields = []any{e.Live}
	case agent.Signal:
		fields = []any{string(e.Container), e.Signal}
	case agent.Destroy:
		fields = []any{string(e.Container)}
	case agent.Resize:
		fields = []any{string(e.Container), e.Limits}
	case agent.Check:
		fields = []any{string(e.Container), string(e.Task), e.Check, e.Target}
	case agent.StopChecks:
		fields = []any{string(e.Container), string(e.Task)}
	case agent.ApplyVolumes:
		fields = []any{e.Operation, len(e.Create), len(e.Destroy), len(e.Restore)}
	case agent.RemoveSandbox:
		fields = []any{string(e.Container)}
	case agent.SetTimer:
		kind += " " + agentTimers[e.Timer.Kind]
		fields = []any{e.Timer.Owner, e.At}
	case agent.StopTimer:
		kind += " " + agentTimers[e.Timer.Kind]
		fields = []any{e.Timer.Owner}
	case agent.Exit:
		fields = []any{e.Message}
	}
	a.w.count["agent effect: "+kind]++
	a.w.trace.note(a.w.now, a.m.name, "-> "+kind, msg, fields...)
}
