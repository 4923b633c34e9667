// Package marathon has the JSON types of Marathon's REST API (as Marathon 1.10,
// docs/rest-api), with what Stoa adds to them. An App here is always in the canonical
// form of 1.5 and later, with every default filled in: older forms ("ports", "uris",
// "ipAddress", "container.docker.network") are accepted by service/app, never held.
//
// Fields that Stoa adds are absent from output unless set. Every field is absent or empty
// in output where Marathon 1.10 has it so: a decoded App is deeply equal to the one that
// was written.
package marathon

import "time"

// App is an application's definition. Values are shared between versions, readers and
// goroutines: nobody changes one after it was built; Clone first.
type App struct {
	// ID is the absolute path, "/group/name".
	ID   string   `json:"id"`
	Cmd  *string  `json:"cmd,omitempty"`
	Args []string `json:"args,omitempty"`
	User string   `json:"user,omitempty"`
	// Env values are strings or references to secrets.
	Env       map[string]EnvValue `json:"env,omitempty"`
	Secrets   map[string]Secret   `json:"secrets,omitempty"`
	Instances int                 `json:"instances"`
	CPUs      float64             `json:"cpus"`
	// Mem and Disk are in MiB.
	Mem                   float64            `json:"mem"`
	Disk                  float64            `json:"disk"`
	GPUs                  int                `json:"gpus"`
	ResourceLimits        *ResourceLimits    `json:"resourceLimits,omitempty"`
	Executor              string             `json:"executor"`
	ExecutorResources     *ExecutorResources `json:"executorResources,omitempty"`
	Constraints           [][]string         `json:"constraints,omitempty"`
	AcceptedResourceRoles []string           `json:"acceptedResourceRoles,omitempty"`
	Role                  string             `json:"role"`
	Fetch                 []Artifact         `json:"fetch,omitempty"`
	Labels                map[string]string  `json:"labels"`
	Networks              []Network          `json:"networks"`
	// PortDefinitions is nil outside host mode; empty in it means no ports.
	PortDefinitions            []PortDefinition     `json:"portDefinitions,omitzero"`
	RequirePorts               bool                 `json:"requirePorts"`
	Container                  *Container           `json:"container,omitempty"`
	HealthChecks               []HealthCheck        `json:"healthChecks,omitempty"`
	Check                      *Check               `json:"check,omitempty"`
	ReadinessChecks            []ReadinessCheck     `json:"readinessChecks,omitempty"`
	BackoffSeconds             float64              `json:"backoffSeconds"`
	BackoffFactor              float64              `json:"backoffFactor"`
	MaxLaunchDelaySeconds      float64              `json:"maxLaunchDelaySeconds"`
	UpgradeStrategy            UpgradeStrategy      `json:"upgradeStrategy"`
	TaskKillGracePeriodSeconds *int                 `json:"taskKillGracePeriodSeconds,omitempty"`
	KillSelection              KillSelection        `json:"killSelection"`
	UnreachableStrategy        *UnreachableStrategy `json:"unreachableStrategy"`
	Residency                  *Residency           `json:"residency,omitempty"`
	Dependencies               []string             `json:"dependencies,omitempty"`
	TTY                        *bool                `json:"tty,omitempty"`
	// Version is the time of the write that made this definition.
	Version     Version      `json:"version,omitempty"`
	VersionInfo *VersionInfo `json:"versionInfo,omitempty"`

	// What Stoa adds.

	// RestartPolicy says what becomes of a task that ended by itself; "" is ALWAYS.
	RestartPolicy RestartPolicy `json:"restartPolicy,omitempty"`
	// RestartPolicyOnChange "if-needed" leaves instances running when a change does not
	// concern how they run; "" is "always", Marathon's behaviour.
	RestartPolicyOnChange string   `json:"restartPolicyOnChange,omitempty"`
	Scaling               *Scaling `json:"scaling,omitempty"`
	// PreStop is done before an instance is killed, while it is shown as TASK_KILLING.
	PreStop *PreStop `json:"preStop,omitempty"`
}

// Version is a timestamp in Marathon's form, "2014-09-12T23:28:21.737Z". Versions of
// one tree grow strictly, and sort as strings.
type Version string

// VersionOf rounds down to the millisecond.
func VersionOf(t time.Time) Version {
	return Version(t.UTC().Format("2006-01-02T15:04:05.000Z"))
}

// EnvValue is a literal, or with Secret the name of an entry of App.Secrets. It is
// written as a string or as {"secret": name}.
type EnvValue struct{ Value, Secret string }

// Secret names a value in the secret store; environment and volumes refer to it by key.
type Secret struct {
	Source string `json:"source"`
}

// Limit is a number, or with Unlimited the word "unlimited".
type Limit struct {
	Value     float64
	Unlimited bool
}

// ResourceLimits let a task use more than it asked for; nil is no limit of its own.
type ResourceLimits struct {
	CPUs *Limit `json:"cpus,omitempty"`
	Mem  *Limit `json:"mem,omitempty"`
}

// ExecutorResources are for a custom executor, beside those of its task: CPUs, and Mem
// and Disk in MiB.
type ExecutorResources struct {
	CPUs float64 `json:"cpus"`
	Mem  float64 `json:"mem"`
	Disk float64 `json:"disk"`
}

// Artifact is fetched into the sandbox before the task starts.
type Artifact struct {
	URI        string `json:"uri"`
	Extract    bool   `json:"extract"`
	Executable bool   `json:"executable"`
	Cache      bool   `json:"cache"`
	DestPath   string `json:"destPath,omitempty"`
}

// Network modes.
const (
	HostNetwork      = "host"
	BridgeNetwork    = "container/bridge"
	ContainerNetwork = "container"
)

// Network is one that instances join. Name is for mode container only.
type Network struct {
	Name   string            `json:"name,omitempty"`
	Mode   string            `json:"mode"`
	Labels map[string]string `json:"labels,omitempty"`
}

// PortDefinition is a port of an app in host mode; Port is the service port.
type PortDefinition struct {
	Labels   map[string]string `json:"labels,omitempty"`
	Name     string            `json:"name,omitempty"`
	Protocol string            `json:"protocol"`
	Port     int               `json:"port"`
}

// Container says what instances run in; Docker is nil for a Mesos container without image.
type Container struct {
	// Type is "DOCKER" or "MESOS".
	Type    string   `json:"type"`
	Docker  *Docker  `json:"docker,omitempty"`
	Volumes []Volume `json:"volumes"`
	// PortMappings is nil in host mode; empty outside it means no ports.
	PortMappings []PortMapping `json:"portMappings,omitzero"`
	LinuxInfo    *LinuxInfo    `json:"linuxInfo,omitempty"`
}

// Docker is the image and, for type DOCKER, how the Docker engine runs it.
type Docker struct {
	Image          string            `json:"image"`
	ForcePullImage bool              `json:"forcePullImage"`
	Privileged     bool              `json:"privileged"`
	Parameters     []DockerParameter `json:"parameters"`
	PullConfig     *PullConfig       `json:"pullConfig,omitempty"`
}

// DockerParameter is an option of "docker run".
type DockerParameter struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// PullConfig names the secret with the registry's credentials.
type PullConfig struct {
	Secret string `json:"secret"`
}

// PortMapping is a port of an app outside host mode. HostPort nil is not reachable on the
// host, 0 any port of it; ContainerPort 0 is the same as the host's.
type PortMapping struct {
	ContainerPort int               `json:"containerPort"`
	HostPort      *int              `json:"hostPort,omitempty"`
	Labels        map[string]string `json:"labels"`
	Name          string            `json:"name,omitempty"`
	Protocol      string            `json:"protocol"`
	ServicePort   int               `json:"servicePort"`
	NetworkNames  []string          `json:"networkNames,omitempty"`
}

// LinuxInfo is what only Linux has; for type MESOS.
type LinuxInfo struct {
	Seccomp *Seccomp `json:"seccomp,omitempty"`
	IPCInfo *IPCInfo `json:"ipcInfo,omitempty"`
}

// Seccomp is a profile by name, or none at all.
type Seccomp struct {
	ProfileName string `json:"profileName,omitempty"`
	Unconfined  *bool  `json:"unconfined,omitempty"`
}

// IPCInfo is the IPC namespace: mode PRIVATE or SHARE_PARENT.
type IPCInfo struct {
	Mode string `json:"mode"`
	// ShmSize is in MiB.
	ShmSize int `json:"shmSize,omitempty"`
}

// Volume is a host path, or has exactly one of Persistent, External and Secret.
type Volume struct {
	ContainerPath string            `json:"containerPath"`
	HostPath      string            `json:"hostPath,omitempty"`
	Mode          string            `json:"mode,omitempty"`
	Persistent    *PersistentVolume `json:"persistent,omitempty"`
	External      *ExternalVolume   `json:"external,omitempty"`
	Secret        string            `json:"secret,omitempty"`
}

// PersistentVolume is made of an agent's disk and stays there for the instance.
type PersistentVolume struct {
	// Type is "root", "path" or "mount".
	Type string `json:"type"`
	// Size and MaxSize are in MiB.
	Size        int64      `json:"size"`
	MaxSize     int64      `json:"maxSize,omitempty"`
	ProfileName string     `json:"profileName,omitempty"`
	Constraints [][]string `json:"constraints"`
}

// ExternalVolume is provided from outside: by "dvdi", with options named
// "dvdi/…", or "csi", with structured ones.
type ExternalVolume struct {
	Name     string         `json:"name,omitempty"`
	Provider string         `json:"provider"`
	Options  map[string]any `json:"options,omitempty"`
	// Size is in GiB.
	Size int64 `json:"size,omitempty"`
	// Shared is set for every provider but "csi".
	Shared *bool `json:"shared,omitempty"`
}

// Protocols of health checks.
const (
	HTTP       = "HTTP"
	HTTPS      = "HTTPS"
	TCP        = "TCP"
	COMMAND    = "COMMAND"
	MesosHTTP  = "MESOS_HTTP"
	MesosHTTPS = "MESOS_HTTPS"
	MesosTCP   = "MESOS_TCP"
)

// HealthCheck is one check of an instance's health, in seconds. Exactly one of Port and
// PortIndex is set but for COMMAND.
type HealthCheck struct {
	Protocol               string   `json:"protocol"`
	Path                   *string  `json:"path,omitempty"`
	PortIndex              *int     `json:"portIndex,omitempty"`
	Port                   *int     `json:"port,omitempty"`
	Command                *Command `json:"command,omitempty"`
	GracePeriodSeconds     int      `json:"gracePeriodSeconds"`
	IntervalSeconds        int      `json:"intervalSeconds"`
	TimeoutSeconds         int      `json:"timeoutSeconds"`
	MaxConsecutiveFailures int      `json:"maxConsecutiveFailures"`
	DelaySeconds           int      `json:"delaySeconds"`
	IgnoreHTTP1xx          *bool    `json:"ignoreHttp1xx,omitempty"`
	IPProtocol             string   `json:"ipProtocol"`
}

// ByKernel reports whether the agent runs the check as Mesos would (COMMAND and MESOS_*):
// it then decides by itself that a task is unhealthy. The other protocols are probed by
// the agent and judged by the service.
func (h *HealthCheck) ByKernel() bool {
	switch h.Protocol {
	case COMMAND, MesosHTTP, MesosHTTPS, MesosTCP:
		return true
	}
	return false
}

// Command is a shell command or an argument vector.
type Command struct {
	Value string   `json:"value,omitempty"`
	Argv  []string `json:"argv,omitempty"`
}

// Check is Mesos's general check: exactly one of HTTP, TCP and Exec.
type Check struct {
	HTTP            *HTTPCheck `json:"http,omitempty"`
	TCP             *TCPCheck  `json:"tcp,omitempty"`
	Exec            *ExecCheck `json:"exec,omitempty"`
	IntervalSeconds int        `json:"intervalSeconds"`
	TimeoutSeconds  int        `json:"timeoutSeconds"`
	DelaySeconds    int        `json:"delaySeconds"`
}

// HTTPCheck asks by HTTP or HTTPS; exactly one of PortIndex and Port is set.
type HTTPCheck struct {
	PortIndex *int   `json:"portIndex,omitempty"`
	Port      *int   `json:"port,omitempty"`
	Path      string `json:"path,omitempty"`
	Scheme    string `json:"scheme,omitempty"`
}

// TCPCheck connects; exactly one of PortIndex and Port is set.
type TCPCheck struct {
	PortIndex *int `json:"portIndex,omitempty"`
	Port      *int `json:"port,omitempty"`
}

// ExecCheck runs a command beside the task.
type ExecCheck struct {
	Command ShellOrArgv `json:"command"`
}

// ShellOrArgv is a shell command or an argument vector.
type ShellOrArgv struct {
	Shell string   `json:"shell,omitempty"`
	Argv  []string `json:"argv,omitempty"`
}

// ReadinessCheck is asked during deployments, until one of the codes is the answer.
type ReadinessCheck struct {
	Name                    string `json:"name"`
	Protocol                string `json:"protocol"`
	Path                    string `json:"path"`
	PortName                string `json:"portName"`
	IntervalSeconds         int    `json:"intervalSeconds"`
	TimeoutSeconds          int    `json:"timeoutSeconds"`
	HTTPStatusCodesForReady []int  `json:"httpStatusCodesForReady"`
	PreserveLastResponse    bool   `json:"preserveLastResponse"`
}

// UpgradeStrategy bounds what a deployment does, as shares of Instances from 0 to 1.
type UpgradeStrategy struct {
	MaximumOverCapacity   float64 `json:"maximumOverCapacity"`
	MinimumHealthCapacity float64 `json:"minimumHealthCapacity"`

	// What Stoa adds.

	// DrainSeconds is how long an instance is shown as TASK_KILLING before it is killed.
	DrainSeconds float64 `json:"drainSeconds,omitempty"`
	// MaxParallel bounds how many new instances start at a time; 0 is no bound of its own.
	MaxParallel int `json:"maxParallel,omitempty"`
	// DeadlineSeconds after its start a deployment that is not done goes back by itself.
	DeadlineSeconds float64    `json:"deadlineSeconds,omitempty"`
	Canary          *Canary    `json:"canary,omitempty"`
	BlueGreen       *BlueGreen `json:"blueGreen,omitempty"`
}

// Canary starts so many instances first and then pauses.
type Canary struct {
	Instances int `json:"instances"`
	// PauseSeconds after the canaries are ready the rest follows; 0 waits for promotion.
	PauseSeconds float64 `json:"pauseSeconds,omitempty"`
	// AutoRevert goes back when a canary gets unhealthy or ends.
	AutoRevert bool `json:"autoRevert,omitempty"`
}

// BlueGreen starts the whole new set beside the old one.
type BlueGreen struct {
	// Promotion is "manual" or "auto".
	Promotion string `json:"promotion"`
	// KeepOldSeconds is how long the old set stays after promotion.
	KeepOldSeconds float64 `json:"keepOldSeconds,omitempty"`
}

// KillSelection says which instances go first when there are too many.
type KillSelection string

const (
	YoungestFirst KillSelection = "YOUNGEST_FIRST"
	OldestFirst   KillSelection = "OLDEST_FIRST"
)

// UnreachableStrategy is written as an object, or with Disabled as "disabled".
type UnreachableStrategy struct {
	InactiveAfterSeconds int64
	ExpungeAfterSeconds  int64
	Disabled             bool
}

// Residency is shown for apps with persistent volumes; it has no effect of its own.
type Residency struct {
	RelaunchEscalationTimeoutSeconds int64  `json:"relaunchEscalationTimeoutSeconds"`
	TaskLostBehavior                 string `json:"taskLostBehavior"`
}

// VersionInfo has the versions that last changed Instances, and anything else.
type VersionInfo struct {
	LastScalingAt      Version `json:"lastScalingAt"`
	LastConfigChangeAt Version `json:"lastConfigChangeAt"`
}

// RestartPolicy says after which ends a task is started again.
type RestartPolicy string

const (
	Always    RestartPolicy = "ALWAYS"
	OnFailure RestartPolicy = "ON_FAILURE"
	Never     RestartPolicy = "NEVER"
)

// Scaling of kind "per-agent" runs one instance on every agent that fits; Instances is
// then what the service made of it.
type Scaling struct {
	Kind string `json:"kind"`
}

// PreStop has exactly one of Command and HTTP.
type PreStop struct {
	// Command is run by the agent, in the instance's container.
	Command string       `json:"command,omitempty"`
	HTTP    *PreStopHTTP `json:"http,omitempty"`
	// TimeoutSeconds bounds it; default 10.
	TimeoutSeconds float64 `json:"timeoutSeconds,omitempty"`
}

// PreStopHTTP is a POST to the instance's own port.
type PreStopHTTP struct {
	PortIndex int    `json:"portIndex"`
	Path      string `json:"path"`
}

// Resident reports whether instances keep reservations and volumes over restarts.
func (a *App) Resident() bool {
	if a.Container == nil {
		return false
	}
	for i := range a.Container.Volumes {
		if a.Container.Volumes[i].Persistent != nil {
			return true
		}
	}
	return false
}

// PerAgent reports whether the app follows the agents instead of a number.
func (a *App) PerAgent() bool { return a.Scaling != nil && a.Scaling.Kind == "per-agent" }

// ServicePorts are the service ports of the port mappings or definitions, in their order.
func (a *App) ServicePorts() []int {
	if c := a.Container; c != nil && len(c.PortMappings) > 0 {
		ports := make([]int, len(c.PortMappings))
		for i := range c.PortMappings {
			ports[i] = c.PortMappings[i].ServicePort
		}
		return ports
	}
	ports := make([]int, len(a.PortDefinitions))
	for i := range a.PortDefinitions {
		ports[i] = a.PortDefinitions[i].Port
	}
	return ports
}
