package marathon

// Queue is GET /v2/queue.
type Queue struct {
	Queue []QueueItem `json:"queue"`
}

// QueueItem is an app with instances that wait to be launched.
type QueueItem struct {
	Count                  int           `json:"count"`
	Role                   string        `json:"role"`
	Delay                  QueueDelay    `json:"delay"`
	Since                  Version       `json:"since"`
	ProcessedOffersSummary OffersSummary `json:"processedOffersSummary"`
	// LastUnusedOffers only with embed=lastUnusedOffers, latest first.
	LastUnusedOffers []UnusedOffer `json:"lastUnusedOffers,omitzero"`
	App              *App          `json:"app"`
}

// QueueDelay is the backoff left. Overdue says that there is none: what is waited for is
// an offer.
type QueueDelay struct {
	TimeLeftSeconds int64 `json:"timeLeftSeconds"`
	Overdue         bool  `json:"overdue"`
}

// OffersSummary counts the offers since the app began to wait.
type OffersSummary struct {
	ProcessedOffersCount       int            `json:"processedOffersCount"`
	UnusedOffersCount          int            `json:"unusedOffersCount"`
	LastUnusedOfferAt          Version        `json:"lastUnusedOfferAt,omitempty"`
	LastUsedOfferAt            Version        `json:"lastUsedOfferAt,omitempty"`
	RejectSummaryLastOffers    []DeclinedStep `json:"rejectSummaryLastOffers"`
	RejectSummaryLaunchAttempt []DeclinedStep `json:"rejectSummaryLaunchAttempt"`
}

// DeclinedStep is one step of the funnel of reasons: of so many offers that came this
// far, so many were declined for the reason.
type DeclinedStep struct {
	Reason    string `json:"reason"`
	Declined  int    `json:"declined"`
	Processed int    `json:"processed"`
}

// UnusedOffer is an offer that did not fit, and why.
type UnusedOffer struct {
	Offer     Offer    `json:"offer"`
	Reason    []string `json:"reason"`
	Timestamp Version  `json:"timestamp"`
}

// Offer as Marathon shows it.
type Offer struct {
	ID         string           `json:"id"`
	Hostname   string           `json:"hostname"`
	AgentID    string           `json:"agentId"`
	Resources  []OfferResource  `json:"resources"`
	Attributes []AgentAttribute `json:"attributes"`
}

// OfferResource has one of Scalar, Ranges and Set.
type OfferResource struct {
	Name   string        `json:"name"`
	Role   string        `json:"role"`
	Scalar *float64      `json:"scalar,omitempty"`
	Ranges []NumberRange `json:"ranges,omitempty"`
	Set    []string      `json:"set,omitempty"`
}

// AgentAttribute has one of Text, Scalar, Ranges and Set.
type AgentAttribute struct {
	Name   string        `json:"name"`
	Text   *string       `json:"text,omitempty"`
	Scalar *float64      `json:"scalar,omitempty"`
	Ranges []NumberRange `json:"ranges,omitempty"`
	Set    []string      `json:"set,omitempty"`
}

// NumberRange includes both ends.
type NumberRange struct {
	Begin uint64 `json:"begin"`
	End   uint64 `json:"end"`
}

// Info is GET /v2/info.
type Info struct {
	Name            string         `json:"name"`
	Version         string         `json:"version"`
	BuildRef        string         `json:"buildref"`
	Elected         bool           `json:"elected"`
	Leader          string         `json:"leader"`
	FrameworkID     *string        `json:"frameworkId"`
	MarathonConfig  map[string]any `json:"marathon_config"`
	ZookeeperConfig map[string]any `json:"zookeeper_config"`
	HTTPConfig      map[string]any `json:"http_config"`
}

// AppVersion is one entry of GET /v2/apps/{id}/versions?embed=history (Stoa's).
type AppVersion struct {
	Version Version `json:"version"`
	// By is who wrote it: the user of basic authentication, else the client's address.
	By string `json:"by,omitempty"`
	// Outcome of its deployment: "success", "failed", "canceled", or "" while it runs or
	// if nothing is known.
	Outcome    string `json:"outcome,omitempty"`
	Deployment string `json:"deployment,omitempty"`
	// Deleted says that the app was removed then.
	Deleted bool `json:"deleted,omitempty"`
	// Changes against the version before; everything, if there is none.
	Changes []FieldChange `json:"changes"`
}

// FieldChange is one field that differs, by its path in the document: "/env/COLOR".
type FieldChange struct {
	Path string `json:"path"`
	Old  any    `json:"old,omitempty"`
	New  any    `json:"new,omitempty"`
}

// DryRun answers ?dryRun=true.
type DryRun struct {
	Steps []DeploymentStep `json:"steps"`
	// Changes by app; for groups only with embed=changes (Stoa's).
	Changes []PlannedChange `json:"changes,omitempty"`
}

// PlannedChange is what a plan does to one app.
type PlannedChange struct {
	App string `json:"app"`
	// Restart says that running instances are replaced.
	Restart bool          `json:"restart,omitempty"`
	Created bool          `json:"created,omitempty"`
	Deleted bool          `json:"deleted,omitempty"`
	Changes []FieldChange `json:"changes"`
}
