package state

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/agent/check"
	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	executorpb "github.com/stoa-kernel/stoa/api/mesos/v1/executor"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	"google.golang.org/protobuf/proto"
)

var rewrite = flag.Bool("rewrite", false, "write what the scenarios print into testdata")

// TestScenarios plays testdata/*.txt: each block is an input, and below ---- the
// effects it must have. Lines that start with # are comments.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(text))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("%s differs at:\n%s\nrun the test with -rewrite and read the difference", file, firstDifference(string(text), got))
			}
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		at := func(l []string) string {
			if i < len(l) {
				return l[i]
			}
			return "(end)"
		}
		if at(w) != at(g) {
			return fmt.Sprintf("line %d\n want %s\n got  %s", i+1, at(w), at(g))
		}
	}
	return ""
}

// play runs a scenario and returns it with the effects it really had.
func play(t *testing.T, text string) string {
	s := &scenario{bench: newBench(t), infos: map[string]*mesos.FrameworkInfo{"f": frameworkInfo("f")}}
	var out strings.Builder
	skip := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "#"), line == "":
			if line != "" || !skip {
				out.WriteString(line + "\n")
			} else {
				out.WriteString("\n")
			}
			skip = false
		case line == "----":
			skip = true
		case skip:
		default:
			out.WriteString(line + "\n----\n")
			for _, x := range s.do(line) {
				if _, ok := x.(StopTimer); !ok {
					out.WriteString(s.names.show(x) + "\n")
				}
			}
			skip = true
		}
	}
	return out.String()
}

type scenario struct {
	*bench
	names names
	infos map[string]*mesos.FrameworkInfo
}

// fields splits a line at spaces outside of quotes; key=value fields go to the map.
func fields(line string) (verb string, args []string, named map[string]string) {
	named = make(map[string]string)
	var list []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		i, quoted := 0, false
		for i < len(line) && (quoted || line[i] != ' ') {
			if line[i] == '"' {
				quoted = !quoted
			}
			i++
		}
		list = append(list, strings.ReplaceAll(line[:i], `"`, ""))
		line = line[i:]
	}
	for _, f := range list[1:] {
		if k, v, ok := strings.Cut(f, "="); ok {
			named[k] = v
		} else {
			args = append(args, f)
		}
	}
	return list[0], args, named
}

func (s *scenario) do(line string) []Effect {
	verb, args, named := fields(line)
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	has := func(what string) bool {
		for _, a := range args {
			if a == what {
				return true
			}
		}
		return false
	}
	duration := func(text string) time.Duration {
		d, err := time.ParseDuration(text)
		if err != nil {
			return -1
		}
		return d
	}
	epoch := s.agent.epoch
	if e, ok := named["epoch"]; ok {
		epoch = uint64(number(e))
	}
	fw := "f"
	if f, ok := named["fw"]; ok {
		fw = f
	}
	cid := func() id.Container { return id.Container(s.names.lookup(arg(0))) }
	switch verb {
	case "framework":
		info := frameworkInfo(arg(0))
		if has("aware") {
			info = frameworkInfo(arg(0), mesos.FrameworkInfo_Capability_PARTITION_AWARE)
		}
		if has("killing") {
			info.Capabilities = append(info.Capabilities, &mesos.FrameworkInfo_Capability{Type: mesos.FrameworkInfo_Capability_TASK_KILLING_STATE.Enum()})
		}
		if u, ok := named["user"]; ok {
			info.User = proto.String(u)
		}
		s.infos[arg(0)] = info
		return nil
	case "start":
		return s.step(Started{BootID: arg(0)})
	case "link":
		return s.step(LinkUp{Link(number(arg(0)))})
	case "link-down":
		return s.step(LinkDown{Link(number(arg(0)))})
	case "registered":
		l, agent := s.agent.link, "A0"
		if v, ok := named["link"]; ok {
			l = Link(number(v))
		}
		if v, ok := named["agent"]; ok {
			agent = v
		}
		return s.step(Frame{l, &stoapb.ToAgent{Body: &stoapb.ToAgent_Registered{Registered: &stoapb.Registered{
			AgentId: &mesos.AgentID{Value: proto.String(agent)}, Epoch: proto.Uint64(max(epoch, 1)), PingTimeoutSeconds: proto.Float64(75),
		}}}})
	case "registered-exactly":
		return s.step(Frame{s.agent.link, &stoapb.ToAgent{Body: &stoapb.ToAgent_Registered{Registered: &stoapb.Registered{
			AgentId: &mesos.AgentID{Value: proto.String("A0")}, Epoch: proto.Uint64(epoch),
		}}}})
	case "refused":
		return s.frame(&stoapb.ToAgent{Body: &stoapb.ToAgent_Refused{Refused: &stoapb.Refused{
			Message: proto.String(named["message"]), Shutdown: proto.Bool(has("shutdown")),
		}}})
	case "ping":
		return s.frame(&stoapb.ToAgent{Body: &stoapb.ToAgent_Ping{Ping: &stoapb.Ping{Seq: proto.Uint64(uint64(number(arg(0))))}}})
	case "run":
		l := s.agent.link
		if v, ok := named["link"]; ok {
			l = Link(number(v))
		}
		return s.step(Frame{l, runTaskFrame(epoch, s.infos[fw], taskOf(arg(0), named))})
	case "kill":
		m := killTaskFrame(epoch, fw, arg(0), duration(named["grace"]))
		if p := policyOf(named); p != nil {
			m.GetKillTask().KillPolicy = p
		}
		return s.frame(m)
	case "ack":
		uuid, _ := hex.DecodeString(s.names.lookup(arg(1)))
		return s.frame(acknowledgeFrame(epoch, fw, arg(0), uuid))
	case "shutdown-framework":
		return s.frame(&stoapb.ToAgent{Body: &stoapb.ToAgent_ShutdownFramework{ShutdownFramework: &stoapb.ShutdownFramework{
			Epoch: proto.Uint64(epoch), FrameworkId: frameworkID(id.Framework(fw)),
		}}})
	case "shutdown-executor":
		return s.frame(&stoapb.ToAgent{Body: &stoapb.ToAgent_ShutdownExecutor{ShutdownExecutor: &stoapb.ShutdownExecutor{
			Epoch: proto.Uint64(epoch), FrameworkId: frameworkID(id.Framework(fw)), ExecutorId: executorID(id.Executor(arg(0))),
		}}})
	case "update-framework":
		return s.frame(&stoapb.ToAgent{Body: &stoapb.ToAgent_UpdateFramework{UpdateFramework: &stoapb.UpdateFramework{
			Epoch: proto.Uint64(epoch), Framework: s.infos[fw],
		}}})
	case "message":
		return s.frame(&stoapb.ToAgent{Body: &stoapb.ToAgent_FrameworkMessage{FrameworkMessage: &stoapb.FrameworkMessage{
			Epoch: proto.Uint64(epoch), FrameworkId: frameworkID(id.Framework(fw)), ExecutorId: executorID(id.Executor(arg(0))), Data: []byte(arg(1)),
		}}})
	case "operation":
		return s.frame(&stoapb.ToAgent{Body: &stoapb.ToAgent_ApplyOperation{ApplyOperation: &stoapb.ApplyOperation{
			Epoch: proto.Uint64(epoch), FrameworkId: frameworkID(id.Framework(fw)), Operation: operationOf(arg(0), named), OperationUuid: []byte(named["uuid"]),
		}}})
	case "ack-operation":
		uuid, _ := hex.DecodeString(s.names.lookup(arg(1)))
		return s.frame(&stoapb.ToAgent{Body: &stoapb.ToAgent_AcknowledgeOperation{AcknowledgeOperation: &stoapb.AcknowledgeOperation{
			Epoch: proto.Uint64(epoch), OperationUuid: []byte(arg(0)), StatusUuid: uuid,
		}}})
	case "applied":
		return s.step(VolumesApplied{Operation: hex.EncodeToString([]byte(arg(0))), Err: named["error"]})
	case "fetching":
		return s.step(Container{container.Fetching{ID: cid()}})
	case "forked":
		return s.step(Container{container.Forked{ID: cid(), BootID: s.agent.bootID, Pid: number(arg(1)), StartTime: 77}})
	case "started":
		return s.step(Container{container.Started{ID: cid(), TaskPid: number(arg(1))}})
	case "failed":
		f := container.Failed{ID: cid(), Message: named["message"], Canceled: has("canceled")}
		if v, ok := named["reason"]; ok {
			f.Reason = mesos.TaskStatus_Reason(mesos.TaskStatus_Reason_value[v])
		}
		return s.step(Container{f})
	case "exited":
		x := container.Exit{Known: !has("unknown") && !has("rebooted"), Rebooted: has("rebooted"), Time: s.now().Wall, Wait: int32(number(named["wait"]))}
		if has("oom") {
			x.OOM, x.MemoryUsage, x.MemoryLimit = true, 64<<20, 64<<20
		}
		return s.step(Container{container.Exited{ID: cid(), Record: x}})
	case "checked":
		r := check.Result{None: has("none"), Connected: has("connected"), Code: int32(number(named["code"])), Error: named["error"], Output: named["output"]}
		return s.step(Checked{Container: cid(), Task: id.Task(arg(1)), Check: number(arg(2)), Result: r})
	case "destroyed":
		return s.step(Container{container.Destroyed{ID: cid()}})
	case "subscribe":
		return s.subscribe(fw, arg(0), Stream(number(arg(1))), func(c *executorpb.Call_Subscribe) {
			for _, t := range list(named["tasks"]) {
				c.UnacknowledgedTasks = append(c.UnacknowledgedTasks, customTask(t, arg(0)))
			}
			for _, u := range list(named["updates"]) {
				p := strings.Split(u, ":")
				c.UnacknowledgedUpdates = append(c.UnacknowledgedUpdates, &executorpb.Call_Update{Status: executorStatusOf(p[0], stateOf(p[1]), p[2])})
			}
		})
	case "update":
		return s.executorUpdate(fw, arg(0), executorStatusOf(arg(1), stateOf(arg(2)), arg(3)))
	case "call":
		s.token++
		return s.step(ExecutorCall{s.token, &executorpb.Call{
			Type: executorpb.Call_Type(executorpb.Call_Type_value[arg(1)]).Enum(), FrameworkId: frameworkID(id.Framework(fw)), ExecutorId: executorID(id.Executor(arg(0))),
			Message: &executorpb.Call_Message{Data: []byte(arg(2))},
		}})
	case "executor-gone":
		return s.step(ExecutorGone{Stream(number(arg(0)))})
	case "disk":
		used, _ := strconv.ParseFloat(arg(0), 64)
		return s.step(DiskUsage{used})
	case "removed":
		return s.step(SandboxRemoved{cid(), named["error"]})
	case "shutdown":
		return s.step(Shutdown{StopTasks: !has("leave"), Now: has("now")})
	case "advance":
		return s.advance(duration(arg(0)))
	case "wall": // the machine's clock is set
		s.wall = s.wall.Add(duration(arg(0)))
		return nil
	case "restart":
		s.bench.restart(has("power"))
		return nil
	case "compact":
		s.log = s.agent.Snapshot()
		return nil
	}
	s.t.Fatalf("scenario: %q is not a command", line)
	return nil
}

func number(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}

func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func stateOf(s string) mesos.TaskState { return mesos.TaskState(mesos.TaskState_value["TASK_"+s]) }

func seconds(v string) *mesos.DurationInfo {
	d, _ := time.ParseDuration(v)
	return &mesos.DurationInfo{Nanoseconds: proto.Int64(int64(d))}
}

// policyOf is a kill policy, nil if nothing of one is said.
func policyOf(named map[string]string) *mesos.KillPolicy {
	p := &mesos.KillPolicy{}
	if v, ok := named["grace"]; ok {
		p.GracePeriod = seconds(v)
	}
	if v, ok := named["prestop"]; ok {
		p.PreStop = &mesos.CommandInfo{Value: &v}
	}
	if v, ok := named["timeout"]; ok {
		p.PreStopTimeout = seconds(v)
	}
	if v, ok := named["drain"]; ok {
		p.DrainPeriod = seconds(v)
	}
	if proto.Equal(p, &mesos.KillPolicy{}) {
		return nil
	}
	return p
}

func taskOf(tid string, named map[string]string) *mesos.TaskInfo {
	t := commandTask(tid)
	if e, ok := named["executor"]; ok {
		t = customTask(tid, e)
	}
	limit := func(name, v string) {
		x, _ := strconv.ParseFloat(v, 64)
		if t.Limits == nil {
			t.Limits = make(map[string]*mesos.Value_Scalar)
		}
		t.Limits[name] = &mesos.Value_Scalar{Value: proto.Float64(x)}
	}
	c := t.Command
	if c == nil {
		c = t.Executor.Command
	}
	for _, k := range sortedKeys(named) {
		switch v := named[k]; k {
		case "cmd":
			c.Value = proto.String(v)
		case "argv":
			c.Shell, c.Arguments = proto.Bool(false), list(v)
		case "user":
			c.User = proto.String(v)
		case "uri":
			c.Uris = []*mesos.CommandInfo_URI{{Value: proto.String(v)}}
		case "grace", "prestop", "timeout", "drain":
			t.KillPolicy = policyOf(named)
		case "max":
			t.MaxCompletionTime = seconds(v)
		case "shutdown-grace":
			t.Executor.ShutdownGracePeriod = seconds(v)
		case "limit-cpus":
			limit("cpus", v)
		case "limit-mem":
			limit("mem", v)
		case "volume":
			t.Resources = append(t.Resources, volume(v))
		case "check":
			t.HealthCheck = &mesos.HealthCheck{Command: &mesos.CommandInfo{User: proto.String(v)}}
		case "health":
			t.HealthCheck = &mesos.HealthCheck{Type: mesos.HealthCheck_TCP.Enum(), Tcp: &mesos.HealthCheck_TCPCheckInfo{Port: proto.Uint32(uint32(number(v)))}}
		case "info":
			t.Check = &mesos.CheckInfo{Type: mesos.CheckInfo_COMMAND.Enum(), Command: &mesos.CheckInfo_Command{Command: &mesos.CommandInfo{
				Value: proto.String(v), Environment: &mesos.Environment{Variables: []*mesos.Environment_Variable{{Name: proto.String("A"), Value: proto.String("check")}}},
			}}}
		case "probes":
			for i, port := range list(v) {
				t.Probes = append(t.Probes, &mesos.Probe{
					Index: proto.Uint32(uint32(i + 1)), Protocol: mesos.Probe_HTTP.Enum(), Port: proto.Uint32(uint32(number(port))), IntervalSeconds: proto.Float64(10),
				})
			}
		}
	}
	return t
}

// volume is a persistent volume of role dev, 100 MB.
func volume(vid string) *mesos.Resource {
	r := reserved("disk", 100)
	r.Disk = &mesos.Resource_DiskInfo{
		Persistence: &mesos.Resource_DiskInfo_Persistence{Id: proto.String(vid), Principal: proto.String("p")},
		Volume:      &mesos.Volume{Mode: mesos.Volume_RW.Enum(), ContainerPath: proto.String("data")},
	}
	return r
}

func reserved(name string, v float64) *mesos.Resource {
	r := scalar(name, v)
	r.Reservations = []*mesos.Resource_ReservationInfo{{
		Type: mesos.Resource_ReservationInfo_DYNAMIC.Enum(), Role: proto.String("dev"), Principal: proto.String("p"),
	}}
	return r
}

func operationOf(kind string, named map[string]string) *mesos.Offer_Operation {
	op := &mesos.Offer_Operation{Type: mesos.Offer_Operation_Type(mesos.Offer_Operation_Type_value[kind]).Enum()}
	if v, ok := named["id"]; ok {
		op.Id = &mesos.OperationID{Value: proto.String(v)}
	}
	disk, _ := strconv.ParseFloat(named["disk"], 64)
	switch kind {
	case "RESERVE":
		op.Reserve = &mesos.Offer_Operation_Reserve{Resources: []*mesos.Resource{reserved("disk", disk)}}
	case "UNRESERVE":
		op.Unreserve = &mesos.Offer_Operation_Unreserve{Resources: []*mesos.Resource{reserved("disk", disk)}}
	case "CREATE":
		op.Create = &mesos.Offer_Operation_Create{Volumes: []*mesos.Resource{volume(named["volume"])}}
	case "DESTROY":
		op.Destroy = &mesos.Offer_Operation_Destroy{Volumes: []*mesos.Resource{volume(named["volume"])}}
	}
	return op
}
