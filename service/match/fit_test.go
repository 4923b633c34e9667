package match_test

import (
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/match"
)

const machine = "cpus:4;mem:1024;disk:1000;ports:[31000-31009]"

func TestFitCutsUntilNothingIsLeft(t *testing.T) {
	a := app(func(a *marathon.App) { a.PortDefinitions = ports(2) })
	p := pool(t, offer(t, "h", machine, "dev"))
	placed := match.Count(a, nil)
	used := map[int]bool{}
	for n := range 4 {
		w := want(a, n)
		w.Placed = placed
		out := fits(t, p, w)
		i := out.Launch
		if i.Agent.ID != "s-h" || i.Agent.Host != "h" || i.Role != "dev" || len(i.Ports) != 2 || w.Instance.Agent != nil {
			t.Fatalf("placed %+v", i)
		}
		got := bag(t, out.Resources)
		if got.Sum("cpus") != 1000 || got.Sum("mem") != 128000 || got.AllocatedTo("dev").Len() != got.Len() {
			t.Errorf("launched with %v", got)
		}
		for _, port := range i.Ports {
			if used[port] || port < 31000 || port > 31009 {
				t.Errorf("port %d", port)
			}
			used[port] = true
		}
	}
	w := want(a, 5)
	w.Placed = placed
	if p.Room(w) {
		t.Error("room for a fifth")
	}
	no := refused(t, p, w, match.InsufficientCpus, "1 cpus needed, 0 offered")
	if no.Lacks != 1 {
		t.Errorf("lacks %v", no.Lacks)
	}
}

func TestRefusals(t *testing.T) {
	for _, one := range []struct {
		name   string
		change func(*marathon.App)
		want   func(*match.Want)
		offer  func(*mesos.Offer)
		reason match.Reason
		text   string
	}{
		{"cpus", func(a *marathon.App) { a.CPUs = 4.5 }, nil, nil, match.InsufficientCpus, "4.5 cpus needed, 4 offered"},
		{"memory", func(a *marathon.App) { a.Mem = 2048 }, nil, nil, match.InsufficientMemory, "2048 MiB of memory needed, 1024 offered"},
		{"disk", func(a *marathon.App) { a.Disk = 1000.5 }, nil, nil, match.InsufficientDisk, "1000.5 MiB of disk needed, 1000 offered"},
		{"several", func(a *marathon.App) { a.CPUs, a.Disk = 5, 2000 }, nil, nil, match.InsufficientCpus,
			"5 cpus needed, 4 offered; 2000 MiB of disk needed, 1000 offered"},
		{"ports", func(a *marathon.App) { a.PortDefinitions = ports(11) }, nil, nil, match.InsufficientPorts, "11 ports needed, 10 offered"},
		{"required port", func(a *marathon.App) {
			a.RequirePorts, a.PortDefinitions = true, []marathon.PortDefinition{{Port: 31000}, {Port: 8080}}
		}, nil, nil, match.InsufficientPorts, "port 8080 is not in the offer"},
		{"another role", func(a *marathon.App) { a.Role = "ops" }, nil, nil, match.UnfulfilledRole, "offered to role dev, the app's role is ops"},
		{"only reserved", func(a *marathon.App) { a.AcceptedResourceRoles = []string{"dev"} }, nil, nil, match.UnfulfilledRole,
			"nothing in the offer is reserved for role dev, and acceptedResourceRoles leaves out the rest"},
		{"region", nil, func(w *match.Want) { w.Region = "eu" }, func(o *mesos.Offer) { domain(o, "us", "a") }, match.UnfulfilledConstraint,
			`the agent is in region "us"; without a constraint on @region or @zone the app stays in "eu"`},
		{"maintenance", nil, func(w *match.Want) { w.Now = at(100) }, func(o *mesos.Offer) { window(o, 50, 100) }, match.AgentMaintenance,
			"the agent is in a maintenance window, or about to be"},
		{"gpus kept", nil, nil, func(o *mesos.Offer) {
			o.Resources = append(o.Resources, &mesos.Resource{Name: proto.String("gpus"), Type: mesos.Value_SCALAR.Enum(),
				Scalar: &mesos.Value_Scalar{Value: proto.Float64(1)}, AllocationInfo: o.AllocationInfo})
		}, match.DeclinedScarceResources, "the agent's GPUs are kept for apps that need some"},
		{"docker", func(a *marathon.App) { a.Container = &marathon.Container{Type: "DOCKER"} }, nil, nil, match.NoCapability,
			"container type DOCKER is not supported by any agent of this version"},
		{"funnel", func(a *marathon.App) { a.CPUs, a.Constraints = 8, [][]string{{"rack", "LIKE", "a.*"}} }, nil, nil, match.UnfulfilledConstraint,
			"no attribute rack; 8 cpus needed, 4 offered"},
	} {
		t.Run(one.name, func(t *testing.T) {
			o := offer(t, "h", machine, "dev")
			if one.offer != nil {
				one.offer(o)
			}
			a := app(one.change)
			w := want(a, 1)
			w.Placed = match.Count(a, nil)
			if one.want != nil {
				one.want(w)
			}
			p := pool(t, o)
			no := refused(t, p, w, one.reason, one.text)
			if all := no.All(); len(all) == 0 || all[0] != one.reason {
				t.Errorf("all: %v", all)
			}
			// What a refusal leaves is all there was.
			b := app(nil)
			b.Labels = map[string]string{"GPU_SCHEDULING_BEHAVIOR": "unrestricted"}
			b.CPUs, b.Mem, b.Disk, b.PortDefinitions = 4, 1024, 1000, ports(10)
			fits(t, p, want(b, 2))
		})
	}
}
