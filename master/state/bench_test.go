package state

import (
	"fmt"
	"testing"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"google.golang.org/protobuf/proto"
)

// BenchmarkTaskLife is one task through the core, allocation included: accept, running,
// ack, finished, ack. Each ACCEPT launches a task on every agent's offer, as a busy
// framework does.
func BenchmarkTaskLife(b *testing.B) {
	const agents = 1000
	c := newCluster(b, Config{})
	c.check = false
	c.start()
	for i := range agents {
		c.doAgent(c.parse(fmt.Sprintf("a%d cpus:64;mem:262144;disk:100000;ports:[31000-32000] ip=10.1.%d.%d", i, i/250, i%250+1)))
	}
	c.do("subscribe f1 role=r caps=PA failover=1000")
	f := c.fws["f1"]
	fid := &mesos.FrameworkID{Value: &f.id}
	var out Effects
	step := func(in Input) {
		out.Reset()
		c.m.Step(c.clock(), in, &out)
	}
	running, finished := mesos.TaskState_TASK_RUNNING, mesos.TaskState_TASK_FINISHED
	zero := 0.0
	offers := make([]*offer, 0, agents)
	c.log = nil
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; {
		offers = offers[:0]
		for _, o := range c.m.offers {
			offers = append(offers, o)
		}
		if len(offers) == 0 {
			b.Fatal("no offers")
		}
		for _, o := range offers {
			if done == b.N {
				break
			}
			done++
			tid := fmt.Sprint("t", done)
			oid := string(o.id)
			task := &mesos.TaskInfo{
				Name: &tid, TaskId: &mesos.TaskID{Value: &tid}, AgentId: o.agent.protoID,
				Command: &mesos.CommandInfo{Value: proto.String("true")},
				Resources: []*mesos.Resource{
					{Name: proto.String("cpus"), Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: proto.Float64(0.1)}},
					{Name: proto.String("mem"), Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: proto.Float64(32)}},
				},
			}
			link := o.agent.link
			step(Call{Token: 1, Stream: f.stream, Call: &schedulerpb.Call{
				FrameworkId: fid, Type: schedulerpb.Call_ACCEPT.Enum(), Accept: &schedulerpb.Call_Accept{
					OfferIds: []*mesos.OfferID{{Value: &oid}}, Filters: &mesos.Filters{RefuseSeconds: &zero},
					Operations: []*mesos.Offer_Operation{{
						Type: mesos.Offer_Operation_LAUNCH.Enum(), Launch: &mesos.Offer_Operation_Launch{TaskInfos: []*mesos.TaskInfo{task}},
					}},
				},
			}})
			for i, s := range []*mesos.TaskState{&running, &finished} {
				u := uuid(tid)
				u[15] = byte(i)
				step(Frame{link, &stoapb.ToMaster{Body: &stoapb.ToMaster_Update{Update: &stoapb.Update{
					FrameworkId: fid, LatestState: s, Status: &mesos.TaskStatus{
						TaskId: task.TaskId, AgentId: task.AgentId, State: s, Uuid: u,
					},
				}}}})
				step(Call{Token: 1, Stream: f.stream, Call: &schedulerpb.Call{
					FrameworkId: fid, Type: schedulerpb.Call_ACKNOWLEDGE.Enum(),
					Acknowledge: &schedulerpb.Call_Acknowledge{AgentId: task.AgentId, TaskId: task.TaskId, Uuid: u},
				}})
			}
		}
		// What came back is offered in one run of the allocator, as the loop batches it.
		c.now += time.Millisecond
		step(Fired{Timer{Kind: TimerAllocate}})
	}
	b.StopTimer()
	if n := len(c.m.frameworks); n != 1 {
		b.Fatal(n, "frameworks")
	}
}

// BenchmarkRegistration is one agent with ten tasks coming back to a new master.
func BenchmarkRegistration(b *testing.B) {
	c := newCluster(b, Config{})
	c.check = false
	c.start()
	c.do("subscribe f1 role=r caps=PA failover=1000")
	info := proto.CloneOf(c.fws["f1"].info)
	info.Id = &mesos.FrameworkID{Value: &c.fws["f1"].id}
	reports := make([]*stoapb.Register, b.N)
	for i := range reports {
		aid := fmt.Sprint("X-S", i)
		r := &stoapb.Register{
			Protocol: proto.Uint32(LinkProtocol), BootId: proto.String("b"), Ip: proto.String(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)),
			Info:       &mesos.AgentInfo{Id: &mesos.AgentID{Value: &aid}, Hostname: &aid, Port: proto.Int32(5051)},
			Resources:  c.bag("cpus:64;mem:262144").Proto(),
			Frameworks: []*mesos.FrameworkInfo{info},
		}
		for j := range 10 {
			tid := fmt.Sprint("t", i, "-", j)
			r.Tasks = append(r.Tasks, &stoapb.TaskReport{
				Task: &mesos.Task{Name: &tid, TaskId: &mesos.TaskID{Value: &tid}, FrameworkId: info.Id, AgentId: r.Info.Id, State: mesos.TaskState_TASK_RUNNING.Enum()},
				Info: &mesos.TaskInfo{Name: &tid, TaskId: &mesos.TaskID{Value: &tid}, AgentId: r.Info.Id, Resources: c.bag("cpus:1;mem:64").Allocate("r").Proto()},
			})
		}
		reports[i] = r
	}
	var out Effects
	b.ReportAllocs()
	b.ResetTimer()
	for i, r := range reports {
		out.Reset()
		c.m.Step(c.clock(), Hello{Link(i + 1), r}, &out)
	}
}
