package app

import (
	"maps"
	"slices"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// draft is what a document sets, in canonical form; nil is what it leaves out. Lists and
// maps are shared with nothing that changes: apply copies.
type draft struct {
	// faults are contradictions that only the document shows.
	faults []marathon.Violation
	// versionBesides says that the document has a version among other things.
	versionBesides bool

	cmd               *string
	args              *[]string
	user              *string
	env               *map[string]marathon.EnvValue
	secrets           *map[string]marathon.Secret
	instances         *int
	cpus, mem, disk   *float64
	gpus              *int
	limits            *marathon.ResourceLimits
	executor          *string
	executorResources *marathon.ExecutorResources
	constraints       *[][]string
	acceptedRoles     *[]string
	role              *string
	fetch             *[]marathon.Artifact
	labels            *map[string]string
	networks          *[]marathon.Network
	portDefinitions   *[]marathon.PortDefinition
	requirePorts      *bool
	container         *marathon.Container
	healthChecks      *[]marathon.HealthCheck
	check             *marathon.Check
	readinessChecks   *[]marathon.ReadinessCheck
	backoffSeconds    *float64
	backoffFactor     *float64
	maxLaunchDelay    *float64
	upgrade           *upgrade
	killGrace         *int
	killSelection     *marathon.KillSelection
	unreachable       *unreachable
	dependencies      *[]string
	tty               *bool
	restartPolicy     *marathon.RestartPolicy
	restartOnChange   *string
	scaling           *string
	preStop           *marathon.PreStop
}

func (d *draft) fault(path, problem string) {
	d.faults = append(d.faults, marathon.Violation{Path: path, Errors: []string{problem}})
}

// build makes a whole definition of the draft alone, with every default filled in. id is
// absolute; dependencies stay as they were written. The violations are those that only the document shows; validate finds the rest.
// An app with scaling per-agent gets 0 instances: their number is the service's.
func (d *Draft) build(id string, o Options) (*marathon.App, []marathon.Violation) {
	a := &marathon.App{
		ID: id, Instances: 1, CPUs: 1, Mem: 128,
		Role:           o.role(),
		BackoffSeconds: 1, BackoffFactor: 1.15, MaxLaunchDelaySeconds: 300,
		KillSelection: marathon.YoungestFirst,
	}
	v := d.verdict(o)
	a = d.apply(a, v)
	if d.upgrade == nil {
		a.UpgradeStrategy = upgradeDefaults(a)
	}
	if d.unreachable == nil {
		a.UnreachableStrategy = unreachableDefault(a, o)
	}
	if a.PerAgent() {
		a.Instances = 0
	}
	finish(a, o)
	return a, v.list
}

// merge makes the definition that an update turns old into: what the draft leaves out
// keeps its value, lists, maps and objects are replaced. old is not changed.
func (d *Draft) merge(old *marathon.App, o Options) (*marathon.App, []marathon.Violation) {
	v := d.verdict(o)
	v.when(d.versionBesides, "/", "The 'version' field may only be combined with the 'id' field.")
	a := *old
	merged := d.apply(&a, v)
	if merged.PerAgent() {
		merged.Instances = old.Instances
	}
	finish(merged, o)
	return merged, v.list
}

func (d *Draft) verdict(o Options) *verdict {
	v := &verdict{o: o}
	for _, f := range d.faults {
		v.add(f.Path, f.Errors[0])
	}
	v.when(climbs(d.ID), "/id", "must not lead upwards with '..'")
	return v
}

func climbs(id string) bool { return slices.Contains(strings.Split(id, "/"), "..") }

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// apply sets in a what the draft sets, and returns a copy that shares nothing.
func (d *Draft) apply(a *marathon.App, v *verdict) *marathon.App {
	if d.cmd != nil {
		a.Cmd = d.cmd
	}
	set(&a.Args, d.args)
	set(&a.User, d.user)
	set(&a.Env, d.env)
	set(&a.Secrets, d.secrets)
	set(&a.Instances, d.instances)
	set(&a.CPUs, d.cpus)
	set(&a.Mem, d.mem)
	set(&a.Disk, d.disk)
	set(&a.GPUs, d.gpus)
	if d.limits != nil {
		a.ResourceLimits = d.limits
		if d.limits.CPUs == nil && d.limits.Mem == nil {
			a.ResourceLimits = nil
		}
	}
	set(&a.Executor, d.executor)
	if d.executorResources != nil {
		a.ExecutorResources = d.executorResources
	}
	set(&a.Constraints, d.constraints)
	set(&a.AcceptedResourceRoles, d.acceptedRoles)
	v.when(d.acceptedRoles != nil && len(*d.acceptedRoles) == 0, "/acceptedResourceRoles", "must not be empty")
	set(&a.Role, d.role)
	set(&a.Fetch, d.fetch)
	set(&a.Labels, d.labels)
	set(&a.Networks, d.networks)
	set(&a.PortDefinitions, d.portDefinitions)
	set(&a.RequirePorts, d.requirePorts)
	if d.container != nil {
		a.Container = d.container
	}
	set(&a.HealthChecks, d.healthChecks)
	if d.check != nil {
		a.Check = d.check
	}
	set(&a.ReadinessChecks, d.readinessChecks)
	set(&a.BackoffSeconds, d.backoffSeconds)
	set(&a.BackoffFactor, d.backoffFactor)
	set(&a.MaxLaunchDelaySeconds, d.maxLaunchDelay)
	if d.upgrade != nil {
		rest := upgradeDefaults(a)
		a.UpgradeStrategy = d.upgrade.added
		a.UpgradeStrategy.MaximumOverCapacity = or(d.upgrade.over, rest.MaximumOverCapacity)
		a.UpgradeStrategy.MinimumHealthCapacity = or(d.upgrade.health, rest.MinimumHealthCapacity)
	}
	if d.killGrace != nil {
		a.TaskKillGracePeriodSeconds = d.killGrace
	}
	set(&a.KillSelection, d.killSelection)
	if u := d.unreachable; u != nil {
		a.UnreachableStrategy = &marathon.UnreachableStrategy{Disabled: true}
		if !u.disabled {
			a.UnreachableStrategy = &marathon.UnreachableStrategy{
				InactiveAfterSeconds: or(u.inactive, v.o.Unreachable.InactiveAfterSeconds),
				ExpungeAfterSeconds:  or(u.expunge, v.o.Unreachable.ExpungeAfterSeconds),
			}
		}
	}
	set(&a.Dependencies, d.dependencies)
	for i, id := range or(d.dependencies, nil) {
		v.when(leavesRoot(id, parent(a.ID)), "/dependencies"+index(i), "leads above the root group")
	}
	if d.tty != nil {
		a.TTY = d.tty
	}
	set(&a.RestartPolicy, d.restartPolicy)
	set(&a.RestartPolicyOnChange, d.restartOnChange)
	if d.scaling != nil {
		a.Scaling = &marathon.Scaling{Kind: *d.scaling}
	}
	if d.preStop != nil {
		a.PreStop = d.preStop
	}
	return a.Clone()
}

// leavesRoot reports whether an id has more ".." than there are groups to leave.
func leavesRoot(id, base string) bool {
	if !strings.HasPrefix(id, "/") {
		id = base + "/" + id
	}
	depth := 0
	for s := range strings.SplitSeq(id, "/") {
		switch s {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

// sameConfig reports whether a and b differ at most in instances and versions.
func sameConfig(a, b *marathon.App) bool { return a.SameConfig(b) }

// needsRestart reports whether going from a to b changes how instances run, so that even
// with restart=if-needed they have to be replaced.
func needsRestart(a, b *marathon.App) bool {
	x, y := *a, *b
	x.Labels, x.Constraints, x.Dependencies = y.Labels, y.Constraints, y.Dependencies
	x.BackoffSeconds, x.BackoffFactor = y.BackoffSeconds, y.BackoffFactor
	x.MaxLaunchDelaySeconds = y.MaxLaunchDelaySeconds
	x.UpgradeStrategy, x.KillSelection = y.UpgradeStrategy, y.KillSelection
	x.UnreachableStrategy, x.ReadinessChecks = y.UnreachableStrategy, y.ReadinessChecks
	// What only the service acts on when an instance has ended.
	x.RestartPolicy, x.RestartPolicyOnChange, x.Scaling = y.RestartPolicy, y.RestartPolicyOnChange, y.Scaling
	x.HealthChecks, y.HealthChecks = byKernel(x.HealthChecks), byKernel(y.HealthChecks)
	return !x.SameConfig(&y)
}

func byKernel(checks []marathon.HealthCheck) []marathon.HealthCheck {
	var kept []marathon.HealthCheck
	for i := range checks {
		if checks[i].ByKernel() {
			kept = append(kept, checks[i])
		}
	}
	return kept
}

// sortedKeys, for order must not show.
func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
