package marathon

// AppInfo is an App as it is read: its definition and what became of it. What was not
// asked for is absent: nil, not empty.
type AppInfo struct {
	*App
	*TaskCounts
	Deployments           []Identifiable    `json:"deployments,omitzero"`
	Tasks                 []Task            `json:"tasks,omitzero"`
	LastTaskFailure       *TaskFailure      `json:"lastTaskFailure,omitempty"`
	ReadinessCheckResults []ReadinessResult `json:"readinessCheckResults,omitzero"`
	TaskStats             *TaskStats        `json:"taskStats,omitempty"`
	// PreviewTasks are the new set of a blue-green deployment before its promotion.
	PreviewTasks []Task `json:"previewTasks,omitempty"`
}

// TaskCounts counts an app's tasks. Healthy and unhealthy ones are those whose checks
// have told something.
type TaskCounts struct {
	TasksStaged    int `json:"tasksStaged"`
	TasksRunning   int `json:"tasksRunning"`
	TasksHealthy   int `json:"tasksHealthy"`
	TasksUnhealthy int `json:"tasksUnhealthy"`
}

// Identifiable is an object of which only the id is shown.
type Identifiable struct {
	ID string `json:"id"`
}

// Task is one instance's task.
type Task struct {
	AppID              string         `json:"appId"`
	HealthCheckResults []HealthResult `json:"healthCheckResults"`
	CheckResult        any            `json:"checkResult,omitempty"`
	Host               string         `json:"host"`
	ID                 string         `json:"id"`
	IPAddresses        []IPAddress    `json:"ipAddresses"`
	Ports              []int          `json:"ports"`
	ServicePorts       []int          `json:"servicePorts"`
	SlaveID            string         `json:"slaveId"`
	State              string         `json:"state"`
	StagedAt           Version        `json:"stagedAt,omitempty"`
	StartedAt          Version        `json:"startedAt,omitempty"`
	Version            Version        `json:"version,omitempty"`
	LocalVolumes       []LocalVolume  `json:"localVolumes"`
	Region             string         `json:"region,omitempty"`
	Zone               string         `json:"zone,omitempty"`
	Role               string         `json:"role,omitempty"`
}

// IPAddress of a task; Protocol is "IPv4" or "IPv6".
type IPAddress struct {
	IPAddress string `json:"ipAddress"`
	Protocol  string `json:"protocol"`
}

// LocalVolume is a persistent volume that an instance holds.
type LocalVolume struct {
	RunSpecID     string `json:"runSpecId"`
	ContainerPath string `json:"containerPath"`
	UUID          string `json:"uuid"`
	PersistenceID string `json:"persistenceId"`
}

// HealthResult is what one health check has told of an instance.
type HealthResult struct {
	Alive               bool    `json:"alive"`
	ConsecutiveFailures int     `json:"consecutiveFailures"`
	FirstSuccess        Version `json:"firstSuccess,omitempty"`
	LastFailure         Version `json:"lastFailure,omitempty"`
	LastSuccess         Version `json:"lastSuccess,omitempty"`
	LastFailureCause    string  `json:"lastFailureCause,omitempty"`
	InstanceID          string  `json:"instanceId"`
}

// ReadinessResult is what a readiness check has told of a task.
type ReadinessResult struct {
	Name         string             `json:"name"`
	TaskID       string             `json:"taskId"`
	Ready        bool               `json:"ready"`
	LastResponse *ReadinessResponse `json:"lastResponse,omitempty"`
}

// ReadinessResponse is the last answer to a readiness check.
type ReadinessResponse struct {
	Status      int    `json:"status"`
	ContentType string `json:"contentType"`
	Body        string `json:"body"`
}

// TaskFailure is how a task of an app failed last.
type TaskFailure struct {
	AppID     string  `json:"appId"`
	Host      string  `json:"host"`
	Message   string  `json:"message"`
	State     string  `json:"state"`
	TaskID    string  `json:"taskId"`
	Timestamp Version `json:"timestamp"`
	Version   Version `json:"version"`
	SlaveID   string  `json:"slaveId,omitempty"`
}

// TaskStats sum up tasks by how new they are; what has no task is absent.
type TaskStats struct {
	StartedAfterLastScaling *StatsOf `json:"startedAfterLastScaling,omitempty"`
	WithLatestConfig        *StatsOf `json:"withLatestConfig,omitempty"`
	WithOutdatedConfig      *StatsOf `json:"withOutdatedConfig,omitempty"`
	TotalSummary            *StatsOf `json:"totalSummary,omitempty"`
}

// StatsOf some of the tasks.
type StatsOf struct {
	Stats Stats `json:"stats"`
}

// Stats are their number and age.
type Stats struct {
	Counts   StatsCounts `json:"counts"`
	LifeTime *LifeTime   `json:"lifeTime,omitempty"`
}

// StatsCounts counts tasks.
type StatsCounts struct {
	Staged    int `json:"staged"`
	Running   int `json:"running"`
	Healthy   int `json:"healthy"`
	Unhealthy int `json:"unhealthy"`
}

// LifeTime of tasks since their start.
type LifeTime struct {
	AverageSeconds float64 `json:"averageSeconds"`
	MedianSeconds  float64 `json:"medianSeconds"`
}

// Group is a node of the tree. Pods is always empty in this version of the API, EnforceRole
// is said of groups at the top only.
type Group struct {
	ID           string     `json:"id"`
	Apps         []*AppInfo `json:"apps"`
	Groups       []*Group   `json:"groups"`
	Pods         []struct{} `json:"pods"`
	Dependencies []string   `json:"dependencies"`
	EnforceRole  bool       `json:"enforceRole"`
	Version      Version    `json:"version"`
}

// DeploymentResult answers every call that started a deployment.
type DeploymentResult struct {
	Version      Version `json:"version"`
	DeploymentID string  `json:"deploymentId"`
}

// Deployment is a running deployment, as listed by GET /v2/deployments.
type Deployment struct {
	ID             string             `json:"id"`
	Version        Version            `json:"version"`
	AffectedApps   []string           `json:"affectedApps"`
	AffectedPods   []string           `json:"affectedPods"`
	Steps          []DeploymentStep   `json:"steps"`
	CurrentActions []DeploymentAction `json:"currentActions"`
	// CurrentStep counts from 1.
	CurrentStep int `json:"currentStep"`
	TotalSteps  int `json:"totalSteps"`

	// What Stoa adds; absent unless the deployment uses it.

	// Paused says why the deployment stands still: "operator", "canary" or "blue-green".
	Paused string `json:"paused,omitempty"`
	// Deadline after which the deployment goes back.
	Deadline Version `json:"deadline,omitempty"`
	// Reverts is the deployment that this one takes back.
	Reverts string `json:"reverts,omitempty"`

	// Only with embed=waiting.

	// By is who asked for it, StartedAt when.
	By        string  `json:"by,omitempty"`
	StartedAt Version `json:"startedAt,omitempty"`
}

// DeploymentStep is carried out before the next begins.
type DeploymentStep struct {
	Actions []DeploymentAction `json:"actions"`
}

// DeploymentAction is what a step does to one app.
type DeploymentAction struct {
	// Action is "StartApplication", "ScaleApplication", "RestartApplication" or
	// "StopApplication".
	Action string `json:"action"`
	App    string `json:"app"`
	// ReadinessCheckResults of current actions; nil in steps.
	ReadinessCheckResults []ReadinessResult `json:"readinessCheckResults,omitzero"`
	// Waiting says in words what the action waits for; only in /v2/deployments?embed=waiting.
	Waiting string `json:"waiting,omitempty"`
}

// Error is the body of every refusal.
type Error struct {
	Message string `json:"message"`
	// Details is a string, or []Violation.
	Details     any            `json:"details,omitempty"`
	Deployments []Identifiable `json:"deployments,omitempty"`
}

// Violation is what is wrong with one place of a document: "/healthChecks(0)/path".
type Violation struct {
	Path   string   `json:"path"`
	Errors []string `json:"errors"`
}
