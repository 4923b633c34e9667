package marathon

// Why is GET /v2/why?app={id} (Stoa's): what keeps an app from being as it should, and
// what to do about it.
type Why struct {
	// Lines are for people: the first says how the app is, then come causes, each with
	// what to try. A line that begins with two spaces belongs to the one before.
	Lines []string `json:"lines"`
	// Facts are the same for programs.
	Facts WhyFacts `json:"facts"`
}

// Statuses of WhyFacts, in Marathon's words where it has some.
const (
	StatusRunning   = "running"
	StatusSuspended = "suspended"
	// StatusWaiting waits for offers, StatusDelayed for the end of its backoff,
	// StatusBlocked for something that no offer can mend.
	StatusWaiting = "waiting"
	StatusDelayed = "delayed"
	StatusBlocked = "blocked"
	// StatusStarting has tasks that do not run yet; StatusUnhealthy has some that run but
	// are not healthy or ready.
	StatusStarting  = "starting"
	StatusUnhealthy = "unhealthy"
	// StatusEnding has more tasks than it should.
	StatusEnding = "ending"
	// StatusDeploying is as it should be, but a deployment is not over.
	StatusDeploying = "deploying"
)

// WhyFacts are what is known of an app that matters for the question.
type WhyFacts struct {
	App    string `json:"app"`
	Status string `json:"status"`
	// Instances is how many there should be, the others how many there are.
	Instances int `json:"instances"`
	Waiting   int `json:"waiting"`
	Staged    int `json:"staged"`
	Running   int `json:"running"`
	Healthy   int `json:"healthy"`
	Unhealthy int `json:"unhealthy"`
	// WaitingSince is set while instances wait to be launched.
	WaitingSince Version `json:"waitingSince,omitempty"`
	// DelaySeconds is the backoff left, after so many failures in a row.
	DelaySeconds float64 `json:"delaySeconds,omitempty"`
	Failures     int     `json:"failures,omitempty"`
	// Blocked is what holds it back before any offer is looked at.
	Blocked    string         `json:"blocked,omitempty"`
	Offers     *WhyOffers     `json:"offers,omitempty"`
	Deployment *WhyDeployment `json:"deployment,omitempty"`
	// Kernel is what the master says of the resources an instance needs: how many agents
	// have them free, what the others lack, the quotas of the role and those above it.
	Kernel map[string]string `json:"kernel,omitempty"`
	// Checks that fail, and instances that are late, at most 10 of each.
	Checks   []WhyCheck    `json:"checks,omitempty"`
	Late     []WhyInstance `json:"late,omitempty"`
	Attempts []WhyAttempt  `json:"attempts,omitempty"`
}

// WhyOffers sums up the offers that were looked at since the app began to wait.
type WhyOffers struct {
	Role      string         `json:"role"`
	Processed int            `json:"processed"`
	Declined  map[string]int `json:"declined"`
	// Nearest are the agents that lack least, one offer of each.
	Nearest []WhyAgent `json:"nearest"`
}

// WhyAgent is why an agent's offer did not fit. Lacks is the largest share that is
// missing of anything, from 0 to 1.
type WhyAgent struct {
	Agent   string   `json:"agent"`
	AgentID string   `json:"agentId"`
	Reasons []string `json:"reasons"`
	Text    string   `json:"text"`
	Lacks   float64  `json:"lacks"`
}

// WhyDeployment is the deployment that holds the app.
type WhyDeployment struct {
	ID      string  `json:"id"`
	By      string  `json:"by,omitempty"`
	Since   Version `json:"since"`
	Step    int     `json:"step"`
	Steps   int     `json:"steps"`
	Action  string  `json:"action,omitempty"`
	Waiting string  `json:"waiting,omitempty"`
	Paused  string  `json:"paused,omitempty"`
	// Elsewhere are the other apps of the step that are not done, with what they wait for.
	Elsewhere map[string]string `json:"elsewhere,omitempty"`
}

// WhyCheck is a health or readiness check that fails.
type WhyCheck struct {
	Instance string `json:"instance"`
	Host     string `json:"host"`
	// Check names it: "HTTP /health on port 31005".
	Check    string `json:"check"`
	Failures int    `json:"failures"`
	// Most is after how many failures the instance is killed by the next one; 0 is never.
	Most  int    `json:"most"`
	Cause string `json:"cause,omitempty"`
	Grace bool   `json:"grace,omitempty"`
}

// WhyInstance is an instance that is not where it should be.
type WhyInstance struct {
	Instance  string  `json:"instance"`
	Host      string  `json:"host"`
	Condition string  `json:"condition"`
	Since     Version `json:"since"`
	Text      string  `json:"text"`
}

// WhyAttempt is how a task ended.
type WhyAttempt struct {
	Task    string  `json:"task"`
	Host    string  `json:"host"`
	State   string  `json:"state"`
	Reason  string  `json:"reason,omitempty"`
	Message string  `json:"message,omitempty"`
	Exit    *int    `json:"exit,omitempty"`
	Ended   Version `json:"ended"`
	// LastedSeconds from the start of the task, or if it did not start from its staging.
	LastedSeconds float64 `json:"lastedSeconds"`
	// Cause and Try say what it looks like, "" if nobody can tell.
	Cause  string `json:"cause,omitempty"`
	Try    string `json:"try,omitempty"`
	Stdout string `json:"stdout,omitempty"`
	Stderr string `json:"stderr,omitempty"`
}
