package app

import (
	"encoding/json"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// maxSize bounds a definition as it is stored, in bytes; a record has room for 256 KiB.
const maxSize = 240 << 10

var tooLarge = fmt.Sprintf("is larger than %d bytes; put what is large into a file and fetch it", maxSize)

// maxViolations bounds an answer, maxSaid what of a document it says back: the bytes of a
// problem, and of a name in a path.
const (
	maxViolations = 200
	maxSaid       = 1000
)

// clip cuts s to n bytes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// maxWord bounds what is matched with a pattern, in bytes: names, and parts of constraints.
const maxWord = 1024

// verdict collects violations, one per path with all its errors. Words are Marathon's:
// those of its validators, and "is less than" and "is greater than" where a number leaves
// the range that its RAML types give.
type verdict struct {
	violations
	o     Options
	steps int // of regular expressions so far
}

func (v *verdict) add(path, problem string) {
	if len(v.list) < maxViolations {
		v.violations.add(path, problem)
	}
}

func (v *verdict) when(bad bool, path, problem string) {
	if bad {
		v.add(path, problem)
	}
}

func (v *verdict) notEmpty(path, s string) { v.when(s == "", path, "must not be empty") }

func (v *verdict) atLeast(path string, n, least int) {
	if n < least {
		v.add(path, fmt.Sprintf("is less than %d", least))
	}
}

func (v *verdict) port(path string, n int) {
	v.atLeast(path, n, 0)
	v.when(n > 65535, path, "is greater than 65535")
}

func (v *verdict) between(path string, f, least, most float64) {
	if f < least {
		v.add(path, "is less than "+decimal(least))
	}
	if f > most {
		v.add(path, "is greater than "+decimal(most))
	}
}

const infinite = 1e300

func (v *verdict) length(path, s string, most int) {
	v.notEmpty(path, s)
	if len(s) > most {
		v.add(path, fmt.Sprintf("is longer than %d characters", most))
	}
}

func (v *verdict) match(path string, pattern *regexp.Regexp, s string) {
	if v.long(path, s) {
		return
	}
	v.when(!pattern.MatchString(s), path, "must fully match regular expression '"+pattern.String()+"'")
}

// long refuses more than a word.
func (v *verdict) long(path, s string) bool {
	v.when(len(s) > maxWord, path, fmt.Sprintf("is longer than %d characters", maxWord))
	return len(s) > maxWord
}

// decimal writes a number as Scala does: with a digit after the point.
func decimal(f float64) string {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func index(i int) string { return "(" + strconv.Itoa(i) + ")" }

// feature is Marathon's sentence to the letter, its parenthesis included.
func feature(name string) string {
	return "Feature " + name + " is not enabled. Enable with --enable_features " + name + ")"
}

// Regular expressions of an app: how many steps one, and all of them, may come to. They
// are asked about every agent and every offer.
const (
	maxSteps    = 2000
	maxAllSteps = 10_000
)

// regexp says what is wrong with a regular expression; broken is said of what is none.
func (v *verdict) regexp(s, broken string) string {
	if len(s) > maxWord {
		return fmt.Sprintf("is longer than %d characters", maxWord)
	}
	if v.steps > maxAllSteps {
		return fmt.Sprintf("the regular expressions come to more than %d steps together", maxAllSteps)
	}
	re, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return broken
	}
	n := steps(re)
	v.steps += n
	if n > maxSteps {
		return fmt.Sprintf("a regular expression may come to %d steps; repeat less", maxSteps)
	}
	return ""
}

// steps is about how many instructions an expression makes, or more than maxAllSteps.
func steps(re *syntax.Regexp) int {
	n, times := 1, 1
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpCharClass:
		n += len(re.Rune) / 16
	case syntax.OpRepeat:
		n, times = 0, max(1, re.Min, re.Max)
	}
	for _, sub := range re.Sub {
		n = min(n+steps(sub), maxAllSteps+1)
	}
	return min(n*times, maxAllSteps+1)
}

// validate checks every rule on one definition. Rules between apps are the tree's.
func validate(a *marathon.App, o Options) []marathon.Violation {
	v := &verdict{o: o}
	for _, problem := range pathErrors(a.ID) {
		v.add("/id", problem)
	}
	for i, id := range a.Dependencies {
		for _, problem := range pathErrors(id) {
			v.add("/dependencies"+index(i), problem)
		}
	}
	v.command(a)
	v.resources(a)
	v.env(a)
	v.roles(a)
	for i, f := range a.Fetch {
		path := "/fetch" + index(i)
		v.length(path+"/uri", f.URI, 1024)
		v.when(len(f.URI) <= maxWord && !validURI(f.URI), path+"/uri", "URI has invalid syntax.")
		v.when(len(f.DestPath) > 1024, path+"/destPath", "is longer than 1024 characters")
		v.when(f.DestPath != "" && !inSandbox(f.DestPath), path+"/destPath",
			`must name a file in the sandbox: relative, not ending with "/", and without ".." that leads out of it`)
		v.when(taskOutput(f.DestPath), path+"/destPath", "is where the task's output goes: choose another name")
	}
	for i, c := range a.Constraints {
		if i == maxConstraints {
			v.add("/constraints", fmt.Sprintf("are more than %d", maxConstraints))
			break
		}
		v.constraint("/constraints"+index(i), c)
	}
	v.networks(a)
	v.ports(a)
	if a.Container != nil {
		v.container(a)
	}
	v.checks(a)
	v.scheduling(a)
	v.additions(a)
	if len(v.list) == 0 {
		if b, err := json.Marshal(a); err != nil || len(b) > maxSize {
			v.add("/", tooLarge)
		}
	}
	return v.list
}

var executorPattern = regexp.MustCompile(`^(?:(//cmd)|(/?[^/]+(/[^/]+)*)|)$`)

func (v *verdict) command(a *marathon.App) {
	cmd, args := a.Cmd != nil, len(a.Args) > 0
	image := a.Container != nil && (a.Container.Docker != nil || a.Container.Type == "MESOS")
	v.when(cmd && *a.Cmd == "", "/cmd", "must not be an empty string")
	v.when(cmd && args || !cmd && !args && !image, "/",
		"AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.")
	v.when(!v.long("/executor", a.Executor) && !executorPattern.MatchString(a.Executor), "/executor",
		"must fully match regular expression '^(//cmd)|(/?[^/]+(/[^/]+)*)|$'")
}

// maxInstances of one app: each takes memory from when it is asked for, and a slip of
// the finger would end the service at every start.
const maxInstances = 1_000_000

// maxAllInstances of all apps together, for the same reason.
const maxAllInstances = 2_000_000

func (v *verdict) resources(a *marathon.App) {
	v.atLeast("/instances", a.Instances, 0)
	v.when(a.Instances > maxInstances, "/instances", fmt.Sprintf("is greater than %d", maxInstances))
	v.between("/cpus", a.CPUs, 0.001, infinite)
	v.between("/mem", a.Mem, 0, infinite)
	v.between("/disk", a.Disk, 0, infinite)
	v.atLeast("/gpus", a.GPUs, 0)
	if a.GPUs > 0 {
		v.when(isDocker(a), "/", "GPU resources only work with the Mesos containerizer")
		v.when(!v.o.Features["gpu_resources"], "/", feature("gpu_resources"))
	}
	if e := a.ExecutorResources; e != nil {
		v.between("/executorResources/cpus", e.CPUs, 0.1, infinite)
		v.between("/executorResources/mem", e.Mem, 32, infinite)
		v.between("/executorResources/disk", e.Disk, 10, infinite)
	}
	if l := a.ResourceLimits; l != nil {
		v.limit("/resourceLimits/cpus", l.CPUs, a.CPUs)
		v.limit("/resourceLimits/mem", l.Mem, a.Mem)
	}
}

func (v *verdict) limit(path string, l *marathon.Limit, request float64) {
	v.when(l != nil && !l.Unlimited && l.Value < request, path,
		"resource limit must be greater than or equal to requested resource ("+decimal(request)+")")
}

func (v *verdict) env(a *marathon.App) {
	secrets := v.o.Features["secrets"]
	v.when(len(a.Secrets) > 0 && !secrets, "/secrets", feature("secrets"))
	for i, name := range sortedKeys(a.Secrets) {
		v.notEmpty("/secrets/keys"+index(i), name)
		v.notEmpty("/secrets/"+name+"/source", a.Secrets[name].Source)
	}
	for i, name := range sortedKeys(a.Env) {
		v.notEmpty("/env/keys"+index(i), name)
		ref := a.Env[name].Secret
		if ref == "" {
			continue
		}
		v.when(!secrets, "/env", "use of secret-references in the environment requires the secrets feature to be enabled")
		_, defined := a.Secrets[ref]
		v.when(!defined, "/env/"+name+"/secret", "references an undefined secret")
	}
}

// roles: which roles an app may take is the tree's to know; here is their form.
func (v *verdict) roles(a *marathon.App) {
	v.roleName("/role", a.Role)
	accepted := a.AcceptedResourceRoles
	for i, role := range accepted {
		v.roleName("/acceptedResourceRoles"+index(i), role)
	}
	allowed := "*"
	if a.Role != "*" {
		allowed = "* and " + a.Role
	}
	if slices.ContainsFunc(accepted, func(r string) bool { return r != "*" && r != a.Role }) {
		v.add("/acceptedResourceRoles", "acceptedResourceRoles can only contain "+allowed)
	}
	if a.Resident() {
		v.when(len(accepted) > 0 && !slices.Equal(accepted, []string{"*"}), "/acceptedResourceRoles",
			`A resident app must have `+"`"+`acceptedResourceRoles = ["*"]`+"`.")
		v.when(a.Role == "*", "/role", "Resident apps cannot have the role *")
	}
}

func (v *verdict) roleName(path, role string) {
	switch {
	case role == "", role == ".", role == "..":
		v.add(path, `A role name must not be "`+role+`".`)
	case strings.HasPrefix(role, "-"):
		v.add(path, "A role name must not start with a '-'.")
	}
	for _, c := range []struct{ char, name string }{
		{"\t", `horizontal tab (\x09)`}, {"\n", `line feed (\x0a)`}, {"\v", `vertical tab (\x0b)`},
		{"\f", `form feed (\x0c)`}, {"\r", `carriage return (\x0d)`}, {" ", `space (\x20)`},
		{"/", `slash (\x2f)`}, {"\x7f", `backspace (\x7f)`},
	} {
		v.when(strings.Contains(role, c.char), path, "A role name must not include a "+c.name+" character.")
	}
}

func isDocker(a *marathon.App) bool { return a.Container != nil && a.Container.Type == "DOCKER" }

// SingleInstance is the label that forbids a second instance, even during upgrades.
const SingleInstance = "MARATHON_SINGLE_INSTANCE_APP"

func (v *verdict) scheduling(a *marathon.App) {
	v.between("/backoffSeconds", a.BackoffSeconds, 0, infinite)
	v.between("/backoffFactor", a.BackoffFactor, 1, infinite)
	v.between("/maxLaunchDelaySeconds", a.MaxLaunchDelaySeconds, 0, infinite)
	if a.TaskKillGracePeriodSeconds != nil {
		v.atLeast("/taskKillGracePeriodSeconds", *a.TaskKillGracePeriodSeconds, 0)
	}
	u := a.UpgradeStrategy
	v.between("/upgradeStrategy/minimumHealthCapacity", u.MinimumHealthCapacity, 0, 1)
	v.between("/upgradeStrategy/maximumOverCapacity", u.MaximumOverCapacity, 0, 1)
	if a.Labels[SingleInstance] == "true" {
		v.when(a.Instances > 1, "/", "Single instance app may only have one instance")
		v.when(u.MinimumHealthCapacity != 0, "/upgradeStrategy/minimumHealthCapacity",
			"got "+decimal(u.MinimumHealthCapacity)+", expected 0.0")
		v.neverOver(a)
	}
	if a.Resident() {
		v.neverOver(a)
		v.when(!a.UnreachableStrategy.Disabled, "/", "unreachableStrategy must be disabled for resident tasks")
	}
	if s := a.UnreachableStrategy; !s.Disabled {
		v.when(s.InactiveAfterSeconds < 0, "/unreachableStrategy/inactiveAfterSeconds", "is less than 0")
		v.when(s.ExpungeAfterSeconds < 0, "/unreachableStrategy/expungeAfterSeconds", "is less than 0")
		v.when(s.InactiveAfterSeconds > s.ExpungeAfterSeconds, "/unreachableStrategy/inactiveAfterSeconds",
			fmt.Sprintf("inactiveAfterSeconds (%d) must be less or equal to expungeAfterSeconds, which is %d",
				s.InactiveAfterSeconds, s.ExpungeAfterSeconds))
	}
	const api = "DCOS_MIGRATION_API_VERSION"
	if version := a.Labels[api]; version != "" {
		v.when(version != "v1" || a.Labels["DCOS_PACKAGE_FRAMEWORK_NAME"] == "" || a.Labels["DCOS_MIGRATION_API_PATH"] == "",
			"/", "DCOS_PACKAGE_FRAMEWORK_NAME and DCOS_MIGRATION_API_PATH must be defined when using "+api)
	}
}

func (v *verdict) neverOver(a *marathon.App) {
	v.when(a.UpgradeStrategy.MaximumOverCapacity != 0, "/upgradeStrategy/maximumOverCapacity",
		"got "+decimal(a.UpgradeStrategy.MaximumOverCapacity)+", expected 0.0")
}

// additions are the rules of what Stoa adds.
func (v *verdict) additions(a *marathon.App) {
	u, path := a.UpgradeStrategy, "/upgradeStrategy"
	v.between(path+"/drainSeconds", u.DrainSeconds, 0, infinite)
	v.atLeast(path+"/maxParallel", u.MaxParallel, 0)
	v.between(path+"/deadlineSeconds", u.DeadlineSeconds, 0, infinite)
	if u.Canary != nil {
		v.atLeast(path+"/canary/instances", u.Canary.Instances, 1)
		v.between(path+"/canary/pauseSeconds", u.Canary.PauseSeconds, 0, infinite)
	}
	if u.BlueGreen != nil {
		v.between(path+"/blueGreen/keepOldSeconds", u.BlueGreen.KeepOldSeconds, 0, infinite)
		v.when(u.Canary != nil, path, "must not have both canary and blueGreen")
		for _, c := range []struct {
			is  bool
			why string
		}{
			{a.Resident(), "has persistent volumes"},
			{a.Labels[SingleInstance] == "true", "may have one instance only"},
			{a.PerAgent(), "has one instance per agent"},
		} {
			v.when(c.is, path+"/blueGreen", "needs a second set of instances, but the app "+c.why)
		}
	}
	if a.PerAgent() {
		v.when(a.Resident(), "/scaling", "per-agent is not possible with persistent volumes")
		v.when(a.Labels[SingleInstance] == "true", "/scaling", "per-agent contradicts the label "+SingleInstance)
	}
	if p := a.PreStop; p != nil {
		v.when((p.Command == "") == (p.HTTP == nil), "/preStop", "must have exactly one of command and http")
		v.when(p.TimeoutSeconds <= 0, "/preStop/timeoutSeconds", "got "+decimal(p.TimeoutSeconds)+", expected more than 0.0")
		const agents = "is run by agents in tasks of theirs, and the app "
		custom := func(executor string) bool { return executor != "" && executor != "//cmd" }
		v.when(p.Command != "" && custom(a.Executor), "/preStop/command", agents+"has an executor of its own; use preStop.http")
		v.when(p.Command != "" && a.Executor == "" && custom(v.o.Executor), "/preStop/command",
			agents+"gets "+v.o.Executor+" as its executor (--executor); use preStop.http, or \"executor\": \"//cmd\"")
		if p.HTTP != nil {
			v.when(p.HTTP.PortIndex < 0 || p.HTTP.PortIndex >= portCount(a), "/preStop/http/portIndex",
				"must address an element of the ports array or container port mappings.")
			v.when(!strings.HasPrefix(p.HTTP.Path, "/"), "/preStop/http/path", "must begin with '/'")
		}
	}
}
