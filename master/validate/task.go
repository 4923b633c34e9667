package validate

import (
	"errors"
	"fmt"
	"math"
	"slices"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// Task checks the form of a TaskInfo, in the order of Mesos 1.11, src/master/validation.cpp. resources are
// its resources as resource.Of read them.
func Task(t *mesos.TaskInfo, resources resource.Resources) error {
	if err := id.Validate(t.GetTaskId().GetValue()); err != nil {
		return wrap("'task_id' is invalid", err)
	}
	if err := killPolicy(t.KillPolicy); err != nil {
		return wrap("task's 'kill_policy' is invalid", err)
	}
	if t.GetMaxCompletionTime().GetNanoseconds() < 0 {
		return errors.New("task's 'max_completion_time' must not be negative")
	}
	if t.Check != nil {
		if err := check(t.Check); err != nil {
			return wrap("task's 'check' is invalid", err)
		}
	}
	if err := probes(t.Probes); err != nil {
		return wrap("task's 'probes' are invalid", err)
	}
	if t.HealthCheck != nil {
		if err := healthCheck(t.HealthCheck); err != nil {
			return wrap("task's 'health_check' is invalid", err)
		}
	}
	if err := taskResources(t, resources); err != nil {
		return err
	}
	if t.Command != nil {
		if err := command(t.Command); err != nil {
			return wrap("task's 'command' is invalid", err)
		}
	}
	if t.Container != nil {
		if err := container(t.Container); err != nil {
			return wrap("task's 'container' is invalid", err)
		}
	}
	return limits(t, resources)
}

func killPolicy(p *mesos.KillPolicy) error {
	switch c := p.GetPreStop(); {
	case p.GetGracePeriod().GetNanoseconds() < 0:
		return errors.New("'grace_period' must not be negative")
	case p.GetDrainPeriod().GetNanoseconds() < 0:
		return errors.New("'drain_period' must not be negative")
	case c == nil && p.GetPreStopTimeout() != nil:
		return errors.New("'pre_stop_timeout' is set without 'pre_stop'")
	case c == nil:
		return nil
	case p.PreStopTimeout != nil && p.GetPreStopTimeout().GetNanoseconds() <= 0:
		return errors.New("'pre_stop_timeout' must be more than 0")
	case c.GetValue() == "":
		return errors.New("'pre_stop.value' must be set")
	case c.User != nil:
		return errors.New("'pre_stop.user' is not supported: it runs as the task does")
	case len(c.Uris) > 0:
		return errors.New("'pre_stop.uris' is not supported: nothing is fetched for it")
	default:
		return wrap("'pre_stop' is invalid", first(command(c), commandUnsupported("pre_stop", c)))
	}
}

func taskResources(t *mesos.TaskInfo, r resource.Resources) error {
	if len(t.Resources) == 0 || r.Empty() {
		return errors.New("Task uses no resources")
	}
	return wrap("task uses invalid resources", consumed(r))
}

// consumed checks resources that a task or executor is to use.
func consumed(r resource.Resources) error {
	return first(used(r), oneRole(r))
}

// limits checks TaskInfo.limits: only cpus and mem, each with a request and not below it;
// infinity means no limit.
func limits(t *mesos.TaskInfo, r resource.Resources) error {
	names := make([]string, 0, len(t.Limits))
	for n := range t.Limits {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		v := t.Limits[n].GetValue()
		if n != "cpus" && n != "mem" {
			return fmt.Errorf("task's 'limits' has '%s'; only cpus and mem can be limited", n)
		}
		request := r.Sum(n)
		switch {
		case math.IsNaN(v):
			return fmt.Errorf("task's limit of %s is not a number", n)
		case request == 0:
			return fmt.Errorf("task limits %s without requesting any", n)
		case !math.IsInf(v, 1) && v < request.Float():
			return fmt.Errorf("task's limit of %s (%v) is below its request (%v)", n, v, request.Float())
		}
	}
	return nil
}

// CommandOrExecutor checks that a task has one of the two, and that 'share_cgroups' is
// not turned off outside of a task group.
func CommandOrExecutor(t *mesos.TaskInfo) error {
	if (t.Command == nil) == (t.Executor == nil) {
		return errors.New("Task should have at least one (but not both) of CommandInfo or ExecutorInfo present")
	}
	return nil
}

// ShareCgroups checks that 'share_cgroups' is not turned off outside of a task group.
func ShareCgroups(t *mesos.TaskInfo) error {
	if l := t.GetContainer().GetLinuxInfo(); l != nil && l.ShareCgroups != nil && !l.GetShareCgroups() {
		return errors.New("'share_cgroups' may be false only for tasks of a task group")
	}
	return nil
}

// Executor checks the form of the ExecutorInfo of a LAUNCH: custom, with a command.
// resources are its resources as resource.Of read them; framework is the id it must name.
func Executor(e *mesos.ExecutorInfo, resources resource.Resources, framework string) error {
	if err := executorType(e); err != nil {
		return err
	}
	if err := id.Validate(e.GetExecutorId().GetValue()); err != nil {
		return wrap("'executor_id' is invalid", err)
	}
	if e.GetShutdownGracePeriod().GetNanoseconds() < 0 {
		return errors.New("executor's 'shutdown_grace_period' must not be negative")
	}
	if e.Command != nil {
		if err := command(e.Command); err != nil {
			return wrap("executor's 'command' is invalid", err)
		}
	}
	if e.Container != nil {
		if err := container(e.Container); err != nil {
			return wrap("executor's 'container' is invalid", err)
		}
	}
	if got := e.GetFrameworkId().GetValue(); got != framework {
		return fmt.Errorf("executor's 'framework_id' is '%s', not this framework's '%s'", got, framework)
	}
	if err := consumed(resources); err != nil {
		return wrap("executor uses invalid resources", err)
	}
	if e.Type != nil && e.GetType() != mesos.ExecutorInfo_CUSTOM {
		return errors.New("'ExecutorInfo.type' must be 'CUSTOM' in LAUNCH")
	}
	if e.Command == nil {
		return errors.New("'ExecutorInfo.command' must be set")
	}
	if !resources.SharedOnly().Empty() {
		return errors.New("an executor must not use shared resources")
	}
	if l := e.GetContainer().GetLinuxInfo(); l != nil && l.ShareCgroups != nil && l.GetShareCgroups() {
		return errors.New("'share_cgroups' must not be true in an executor's container")
	}
	return nil
}

func executorType(e *mesos.ExecutorInfo) error {
	switch e.GetType() {
	case mesos.ExecutorInfo_DEFAULT:
		switch {
		case e.Command != nil:
			return errors.New("'ExecutorInfo.command' must not be set for a 'DEFAULT' executor")
		case e.Container != nil && e.Container.GetType() != mesos.ContainerInfo_MESOS:
			return errors.New("'ExecutorInfo.container.type' must be 'MESOS' for a 'DEFAULT' executor")
		case e.GetContainer().GetMesos().GetImage() != nil:
			return errors.New("'ExecutorInfo.container.mesos.image' must not be set for a 'DEFAULT' executor")
		}
	case mesos.ExecutorInfo_CUSTOM:
		if e.Command == nil {
			return errors.New("'ExecutorInfo.command' must be set for a 'CUSTOM' executor")
		}
	}
	return nil
}

// TaskAndExecutor checks the resources of a task and its executor together.
func TaskAndExecutor(task, executor resource.Resources) error {
	if err := used(task.Add(executor)); err != nil {
		return wrap("task and its executor use invalid resources", err)
	}
	for x := range executor.All() {
		if x.Kind() == resource.Scalar {
			continue
		}
		for y := range task.All() {
			if y.Name() == x.Name() && overlap(x, y) {
				return fmt.Errorf("task and its executor both use some of '%s'", x.Name())
			}
		}
	}
	return nil
}

func overlap(x, y *resource.Resource) bool {
	for _, a := range x.Ranges() {
		for _, b := range y.Ranges() {
			if a.Begin <= b.End && b.Begin <= a.End {
				return true
			}
		}
	}
	for _, a := range x.Items() {
		if slices.Contains(y.Items(), a) {
			return true
		}
	}
	return false
}

// Group checks the form of a LAUNCH_GROUP; it is refused by Unsupported afterwards.
func Group(g *mesos.Offer_Operation_LaunchGroup) error {
	e := g.GetExecutor()
	if err := id.Validate(e.GetExecutorId().GetValue()); err != nil {
		return wrap("'executor_id' is invalid", err)
	}
	if err := executorType(e); err != nil {
		return err
	}
	if e.Type == nil {
		return errors.New("'ExecutorInfo.type' must be set")
	}
	if e.GetType() == mesos.ExecutorInfo_UNKNOWN {
		return errors.New("unknown executor type")
	}
	if len(g.GetTaskGroup().GetTasks()) == 0 {
		return errors.New("a task group must have at least one task")
	}
	for _, t := range g.TaskGroup.Tasks {
		r, err := resource.Of(t.Resources...)
		if err == nil {
			err = Task(t, r.Unallocate().Allocate("*"))
		}
		if err == nil && t.GetContainer().GetType() == mesos.ContainerInfo_DOCKER && t.Container != nil {
			err = errors.New("Docker ContainerInfo is not supported on the task")
		}
		if err != nil {
			return fmt.Errorf("task '%s' is invalid: %w", t.GetTaskId().GetValue(), err)
		}
	}
	return nil
}
