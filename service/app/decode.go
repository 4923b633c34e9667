package app

import (
	"cmp"
	"fmt"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// Decode reads one app document. Errors are *Fault with status 400, for what is not JSON
// or of the wrong shape (all places at once), and 422 for what is too large. Unknown
// fields are ignored, and null is as good as absent, as Marathon 1.10 has it.
// Contradictions between old and new forms are found here and reported with everything
// else when the draft is built or merged.
func Decode(body []byte) (*Draft, error) {
	r, n, err := begin(body)
	if err != nil {
		return nil, err
	}
	d := readApp(n)
	if err := r.fault(); err != nil {
		return nil, err
	}
	return d, nil
}

// DecodeList reads an array of app documents, each with an id.
func DecodeList(body []byte) ([]*Draft, error) {
	r, n, err := begin(body)
	if err != nil {
		return nil, err
	}
	drafts := readApps(n)
	if err := r.fault(); err != nil {
		return nil, err
	}
	return drafts, nil
}

// DecodeGroup reads a group update. A version or scaleBy beside anything but an id is
// refused with 422.
func DecodeGroup(body []byte) (*GroupDraft, error) {
	r, n, err := begin(body)
	if err != nil {
		return nil, err
	}
	var faults []marathon.Violation
	g := readGroup(n, &faults)
	if err := r.fault(); err != nil {
		return nil, err
	}
	if len(faults) > 0 {
		return nil, invalid(faults)
	}
	return g, nil
}

func readApps(n node) []*Draft {
	drafts := []*Draft{}
	n.list(appCost, func(e node) {
		d := readApp(e)
		if d != nil && d.ID == "" {
			e.missing("id")
		}
		drafts = append(drafts, d)
	})
	return drafts
}

func (n node) missing(member string) {
	node{r: n.r, parent: n.path(), name: member}.wrong("error.path.missing")
}

var groupFields = nameSet("id apps groups dependencies scaleBy version enforceRole")

func readGroup(n node, faults *[]marathon.Violation) *GroupDraft {
	o, ok := n.object(groupFields)
	if !ok {
		return nil
	}
	g := &GroupDraft{
		ID:      o.id(),
		Version: or(o.get("version").timestamp(), ""),
		ScaleBy: o.get("scaleBy").float(),
		HasApps: o.has("apps"), HasGroups: o.has("groups"), HasDeps: o.has("dependencies"),
		Dependencies: o.groupDependencies(),
		EnforceRole:  o.get("enforceRole").boolean(),
	}
	if g.HasApps {
		g.Apps = readApps(o.get("apps"))
	}
	if g.HasGroups {
		g.Groups = []*GroupDraft{}
		o.get("groups").list(appCost, func(e node) {
			sub := readGroup(e, faults)
			if sub != nil && sub.ID == "" {
				e.missing("id")
			}
			g.Groups = append(g.Groups, sub)
		})
	}
	others := g.HasApps || g.HasGroups || g.HasDeps || g.EnforceRole != nil
	const alone = "not allowed in conjunction with other properties."
	if g.Version != "" && (others || g.ScaleBy != nil) {
		*faults = append(*faults, marathon.Violation{Path: o.path + "/version", Errors: []string{alone}})
	}
	if g.ScaleBy != nil && (others || g.Version != "") {
		*faults = append(*faults, marathon.Violation{Path: o.path + "/scaleBy", Errors: []string{alone}})
	}
	if g.ScaleBy != nil && *g.ScaleBy < 0 {
		*faults = append(*faults, marathon.Violation{Path: o.path + "/scaleBy", Errors: []string{"is less than 0.0"}})
	}
	return g
}

// groupDependencies of one group are bounded as those of an app are.
func (o object) groupDependencies() []string {
	d := o.get("dependencies")
	if len(d.raw) > maxSize {
		o.r.refused.add(d.path(), fmt.Sprintf("is larger than %d bytes", maxSize))
		return nil
	}
	return or(d.stringSet(), nil)
}

// timestamp reads a version, which other programs write with fewer digits or another zone.
func (n node) timestamp() *marathon.Version {
	if len(n.raw) > maxNumber {
		n.wrong("error.expected.date.isoformat")
		return nil
	}
	s := n.str()
	if s == nil {
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, *s)
	if err != nil {
		n.wrong("error.expected.date.isoformat")
		return nil
	}
	v := marathon.VersionOf(t)
	return &v
}

// Fields of an app: what Marathon 1.10 knows, what it translates, and what Stoa adds.
var appFields = nameSet(`id acceptedResourceRoles args backoffFactor backoffSeconds cmd constraints
	container cpus dependencies disk env executor executorResources fetch healthChecks check
	instances labels maxLaunchDelaySeconds mem gpus networks portDefinitions readinessChecks
	residency resourceLimits requirePorts secrets taskKillGracePeriodSeconds upgradeStrategy
	user version versionInfo killSelection unreachableStrategy tty role
	ipAddress ports uris
	restartPolicy restartPolicyOnChange scaling preStop`)

// readApp reads an app. One that will be too large to keep is not read to its end.
func readApp(n node) *Draft {
	o, ok := n.object(appFields)
	if !ok {
		return nil
	}
	d := &Draft{ID: o.id()}
	text := 0
	for _, m := range o.known {
		text += len(m.value)
	}
	all := n.r.left
	n.r.left = min(all, appMost)
	budget := n.r.left
	if text <= maxText {
		d.read(o)
	}
	if text > maxText || n.r.left < 0 && budget == appMost {
		n.r.refused.add(cmp.Or(o.path, "/"), tooLarge)
		n.r.left = budget
	}
	n.r.left += all - budget
	return d
}

// maxID bounds the id of an app or a group, and what an app depends on, in bytes.
const maxID = 4096

// id is a member's.
func (o object) id() string {
	id := o.get("id")
	if len(id.raw) > maxID {
		n := node{parent: id.parent, name: id.name}
		o.r.refused.add(n.path(), fmt.Sprintf("is longer than %d characters", maxID))
		return "refused"
	}
	return or(id.str(), "")
}

func (d *Draft) read(o object) {
	d.cmd = o.get("cmd").str()
	d.args = o.get("args").strings()
	d.user = o.get("user").str()
	d.env = mapOf(o.get("env"), readEnv)
	d.secrets = mapOf(o.get("secrets"), readSecret)
	d.instances = o.get("instances").integer()
	d.cpus = o.get("cpus").float()
	d.mem = o.get("mem").float()
	d.disk = o.get("disk").float()
	d.gpus = o.get("gpus").integer()
	d.limits = d.readLimits(o.get("resourceLimits"))
	d.executor = o.get("executor").str()
	d.executorResources = readExecutorResources(o.get("executorResources"))
	d.constraints = readConstraints(o.get("constraints"))
	d.acceptedRoles = o.get("acceptedResourceRoles").stringSet()
	d.role = o.get("role").str()
	d.fetch = listOf(o.get("fetch"), largeCost, readArtifact)
	d.labels = o.get("labels").labels()
	d.networks = listOf(o.get("networks"), largeCost, readNetwork)
	d.portDefinitions = listOf(o.get("portDefinitions"), largeCost, readPortDefinition)
	d.requirePorts = o.get("requirePorts").boolean()
	container := readContainer(o.get("container"))
	d.healthChecks = readHealthChecks(o.get("healthChecks"))
	d.check = readCheck(o.get("check"))
	d.readinessChecks = listOf(o.get("readinessChecks"), largeCost, readReadiness)
	d.backoffSeconds = seconds(o.get("backoffSeconds"))
	d.backoffFactor = o.get("backoffFactor").float()
	d.maxLaunchDelay = seconds(o.get("maxLaunchDelaySeconds"))
	d.upgrade = readUpgrade(o.get("upgradeStrategy"))
	d.killGrace = o.get("taskKillGracePeriodSeconds").integer()
	if s := o.get("killSelection").enum(string(marathon.YoungestFirst), string(marathon.OldestFirst)); s != nil {
		d.killSelection = (*marathon.KillSelection)(s)
	}
	d.unreachable = readUnreachable(o.get("unreachableStrategy"))
	readResidency(o.get("residency"))
	d.dependencies = o.get("dependencies").stringSet()
	d.tty = o.get("tty").boolean()
	if s := o.get("restartPolicy").enum(string(marathon.Always), string(marathon.OnFailure), string(marathon.Never)); s != nil {
		d.restartPolicy = (*marathon.RestartPolicy)(s)
	}
	d.restartOnChange = o.get("restartPolicyOnChange").enum("always", "if-needed")
	d.scaling = o.get("scaling").scalingKind()
	d.preStop = readPreStop(o.get("preStop"))

	d.modernise(legacy{
		container: container,
		ipAddress: readIPAddress(o.get("ipAddress")),
		ports:     listOf(o.get("ports"), largeCost, node.integer),
		uris:      listOf(o.get("uris"), largeCost, node.str),
	})
	readVersion(d, o)
}

// readVersion makes a document a return to a version only if it says nothing else:
// definitions that were read from the API and sent back whole have a version too.
func readVersion(d *Draft, o object) {
	version := o.get("version").timestamp()
	if version == nil {
		return
	}
	for name := range appFields {
		if name != "id" && name != "version" && o.has(name) {
			d.versionBesides = true
			return
		}
	}
	d.Version = *version
}

// seconds are whole numbers on the wire.
func seconds(n node) *float64 {
	i := n.integer()
	if i == nil {
		return nil
	}
	f := float64(*i)
	return &f
}

var envFields = nameSet("secret")

func readEnv(n node) *marathon.EnvValue {
	if n.raw[0] != '{' {
		s := n.str()
		if s == nil {
			return nil
		}
		return &marathon.EnvValue{Value: *s}
	}
	o, _ := n.object(envFields)
	s := o.get("secret").required().str()
	if s == nil {
		return nil
	}
	if *s == "" {
		o.get("secret").wrong("error.minLength")
	}
	return &marathon.EnvValue{Secret: *s}
}

var secretFields = nameSet("source")

func readSecret(n node) *marathon.Secret {
	o, ok := n.object(secretFields)
	if !ok {
		return nil
	}
	return &marathon.Secret{Source: or(o.get("source").required().str(), "")}
}

var limitFields = nameSet("cpus mem")

func (d *Draft) readLimits(n node) *marathon.ResourceLimits {
	o, ok := n.object(limitFields)
	if !ok {
		return nil
	}
	return &marathon.ResourceLimits{CPUs: d.readLimit(o.get("cpus")), Mem: d.readLimit(o.get("mem"))}
}

func (d *Draft) readLimit(n node) *marathon.Limit {
	if n.raw != nil && n.raw[0] == '"' {
		if s := unquote(n.raw); s != "unlimited" {
			d.fault(n.path(), "'"+s+"' is an invalid resource limit. It must be 'unlimited' or a number")
			return nil
		}
		return &marathon.Limit{Unlimited: true}
	}
	v := n.float()
	if v == nil {
		return nil
	}
	return &marathon.Limit{Value: *v}
}

var executorFields = nameSet("cpus mem disk")

func readExecutorResources(n node) *marathon.ExecutorResources {
	o, ok := n.object(executorFields)
	if !ok {
		return nil
	}
	return &marathon.ExecutorResources{
		CPUs: or(o.get("cpus").float(), 0.1),
		Mem:  or(o.get("mem").float(), 32),
		Disk: or(o.get("disk").float(), 10),
	}
}

var artifactFields = nameSet("uri extract executable cache destPath")

func readArtifact(n node) *marathon.Artifact {
	o, ok := n.object(artifactFields)
	if !ok {
		return nil
	}
	return &marathon.Artifact{
		URI:        or(o.get("uri").required().str(), ""),
		Extract:    or(o.get("extract").boolean(), true),
		Executable: or(o.get("executable").boolean(), false),
		Cache:      or(o.get("cache").boolean(), false),
		DestPath:   or(o.get("destPath").str(), ""),
	}
}

// upgrade keeps apart what was not given, for its default depends on volumes.
type upgrade struct {
	over, health *float64
	added        marathon.UpgradeStrategy
}

var (
	upgradeFields   = nameSet("maximumOverCapacity minimumHealthCapacity drainSeconds maxParallel deadlineSeconds canary blueGreen")
	canaryFields    = nameSet("instances pauseSeconds autoRevert")
	blueGreenFields = nameSet("promotion keepOldSeconds")
)

func readUpgrade(n node) *upgrade {
	o, ok := n.object(upgradeFields)
	if !ok {
		return nil
	}
	u := &upgrade{over: o.get("maximumOverCapacity").float(), health: o.get("minimumHealthCapacity").float()}
	u.added.DrainSeconds = or(o.get("drainSeconds").float(), 0)
	u.added.MaxParallel = or(o.get("maxParallel").integer(), 0)
	u.added.DeadlineSeconds = or(o.get("deadlineSeconds").float(), 0)
	if c, ok := o.get("canary").object(canaryFields); ok {
		u.added.Canary = &marathon.Canary{
			Instances:    or(c.get("instances").integer(), 1),
			PauseSeconds: or(c.get("pauseSeconds").float(), 0),
			AutoRevert:   or(c.get("autoRevert").boolean(), false),
		}
	}
	if b, ok := o.get("blueGreen").object(blueGreenFields); ok {
		u.added.BlueGreen = &marathon.BlueGreen{
			Promotion:      or(b.get("promotion").enum("manual", "auto"), "manual"),
			KeepOldSeconds: or(b.get("keepOldSeconds").float(), 0),
		}
	}
	return u
}

// unreachable keeps apart what was not given, for its default is a setting.
type unreachable struct {
	disabled          bool
	inactive, expunge *int64
}

var unreachableFields = nameSet("inactiveAfterSeconds expungeAfterSeconds")

func readUnreachable(n node) *unreachable {
	if n.raw != nil && n.raw[0] == '"' {
		if n.enum("disabled") == nil {
			return nil
		}
		return &unreachable{disabled: true}
	}
	o, ok := n.object(unreachableFields)
	if !ok {
		return nil
	}
	return &unreachable{inactive: o.get("inactiveAfterSeconds").long(), expunge: o.get("expungeAfterSeconds").long()}
}

var residencyFields = nameSet("relaunchEscalationTimeoutSeconds taskLostBehavior")

// readResidency only checks the form: as in Marathon the values have no effect.
func readResidency(n node) {
	if o, ok := n.object(residencyFields); ok {
		o.get("relaunchEscalationTimeoutSeconds").long()
		o.get("taskLostBehavior").enum("WAIT_FOREVER", "RELAUNCH_AFTER_TIMEOUT")
	}
}

var scalingFields = nameSet("kind")

// scalingKind is "fixed", which is as if nothing was said, or "per-agent".
func (n node) scalingKind() *string {
	o, ok := n.object(scalingFields)
	if !ok {
		return nil
	}
	return o.get("kind").required().enum("fixed", "per-agent")
}

var (
	preStopFields     = nameSet("command http timeoutSeconds")
	preStopHTTPFields = nameSet("portIndex path")
)

// readPreStop gives an empty value for {}, which takes a preStop away.
func readPreStop(n node) *marathon.PreStop {
	o, ok := n.object(preStopFields)
	if !ok {
		return nil
	}
	p := &marathon.PreStop{
		Command:        or(o.get("command").str(), ""),
		TimeoutSeconds: or(o.get("timeoutSeconds").float(), 10),
	}
	if h, ok := o.get("http").object(preStopHTTPFields); ok {
		p.HTTP = &marathon.PreStopHTTP{
			PortIndex: or(h.get("portIndex").integer(), 0),
			Path:      or(h.get("path").str(), "/"),
		}
	}
	if len(o.known) == 0 {
		return &marathon.PreStop{}
	}
	return p
}
