package match_test

import (
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/master/validate"
	"github.com/stoa-kernel/stoa/service/match"
)

// What is built passes the master's own rules.
func TestMasterAccepts(t *testing.T) {
	framework := &mesos.FrameworkInfo{
		User: proto.String("root"), Name: proto.String("marathon"), Principal: proto.String("me"), Roles: []string{"dev"},
		Capabilities: []*mesos.FrameworkInfo_Capability{
			{Type: mesos.FrameworkInfo_Capability_MULTI_ROLE.Enum()}, {Type: mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT.Enum()},
		},
	}
	check := func(o *mesos.Offer, ops []*mesos.Offer_Operation) *mesos.Offer {
		for _, op := range ops {
			if err := validate.OperationBody(op); err != nil {
				t.Error(err)
			}
			rs := op.GetReserve().GetResources()
			rs = append(append(rs, op.GetCreate().GetVolumes()...), op.GetDestroy().GetVolumes()...)
			rs = append(rs, op.GetUnreserve().GetResources()...)
			if err := validate.Operation(op, bag(t, rs), framework); err != nil {
				t.Error(err)
			}
		}
		return apply(t, o, ops)
	}
	grace := 10
	for name, change := range map[string]func(*marathon.App){
		"plain": func(*marathon.App) {},
		"with everything": func(a *marathon.App) {
			a.PortDefinitions, a.Labels = ports(3), map[string]string{"a": "b"}
			a.ResourceLimits = &marathon.ResourceLimits{CPUs: &marathon.Limit{Unlimited: true}, Mem: &marathon.Limit{Value: 200}}
			a.HealthChecks = []marathon.HealthCheck{health(marathon.HTTP, nil), health(marathon.TCP, nil), health(marathon.MesosHTTP, nil)}
			a.Check = &marathon.Check{TCP: &marathon.TCPCheck{}}
			a.TaskKillGracePeriodSeconds, a.Container = &grace, &marathon.Container{Type: "MESOS"}
			a.Fetch = []marathon.Artifact{{URI: "http://x/y"}}
		},
		"executor": func(a *marathon.App) {
			a.Executor, a.ExecutorResources = "/e", &marathon.ExecutorResources{CPUs: 0.1, Mem: 32, Disk: 10}
		},
		"resident": func(a *marathon.App) {
			*a = *resident(persistent("data", "root", 100, nil), persistent("big", "mount", 100, nil))
		},
	} {
		a := app(change)
		w := want(a, 1)
		w.Principal = "me"
		o := disks(t, offer(t, "h", machine, "dev"), "mount:/m:500")
		out := fits(t, pool(t, o), w)
		if out.Reserve != nil {
			o = check(o, out.Operations)
			w.Instance = out.Reserve
			out = fits(t, pool(t, o), w)
			check(o, pool(t, o).Destroy(w.Instance))
		}
		i := *out.Launch
		i.TaskID = i.ID + "._app.1"
		task := match.Task(a, &i, out.Resources, match.TaskOptions{FrameworkID: "f"})
		own := bag(t, task.Resources)
		if err := validate.Task(task, own); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := validate.CommandOrExecutor(task); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := validate.TaskUnsupported(task); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if e := task.Executor; e != nil {
			if err := validate.Executor(e, bag(t, e.Resources), "f"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := validate.TaskAndExecutor(own, bag(t, e.Resources)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
