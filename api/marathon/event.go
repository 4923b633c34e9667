package marathon

// Event is one event of the stream: a type of this package with an EventType method,
// written as one JSON object with "eventType" and "timestamp" (A5 of Marathon's docs,
// docs/event-bus.md).
type Event interface {
	EventType() string
}

// EventBase has the two fields that every event begins with.
type EventBase struct {
	Type      string  `json:"eventType"`
	Timestamp Version `json:"timestamp"`
}

// EventType is the name on the stream.
func (e EventBase) EventType() string { return e.Type }

// PlanEvent is a plan as events show it since 1.8.
type PlanEvent struct {
	ID      string           `json:"id"`
	Steps   []DeploymentStep `json:"steps"`
	Version Version          `json:"version"`
}

type (
	// APIPost is api_post_event.
	APIPost struct {
		EventBase
		ClientIP      string `json:"clientIp"`
		URI           string `json:"uri"`
		AppDefinition *App   `json:"appDefinition"`
	}
	// StatusUpdate is status_update_event.
	StatusUpdate struct {
		EventBase
		SlaveID     string      `json:"slaveId"`
		TaskID      string      `json:"taskId"`
		TaskStatus  string      `json:"taskStatus"`
		Message     string      `json:"message"`
		AppID       string      `json:"appId"`
		Host        string      `json:"host"`
		IPAddresses []IPAddress `json:"ipAddresses"`
		Ports       []int       `json:"ports"`
		Version     Version     `json:"version"`
	}
	// InstanceChanged is instance_changed_event.
	InstanceChanged struct {
		EventBase
		InstanceID     string  `json:"instanceId"`
		Condition      string  `json:"condition"`
		RunSpecID      string  `json:"runSpecId"`
		AgentID        string  `json:"agentId"`
		Host           string  `json:"host"`
		RunSpecVersion Version `json:"runSpecVersion"`
	}
	// InstanceHealthChanged is instance_health_changed_event; Healthy may be null.
	InstanceHealthChanged struct {
		EventBase
		InstanceID     string  `json:"instanceId"`
		RunSpecID      string  `json:"runSpecId"`
		Healthy        *bool   `json:"healthy"`
		RunSpecVersion Version `json:"runSpecVersion"`
	}
	// UnknownInstanceTerminated is unknown_instance_terminated_event.
	UnknownInstanceTerminated struct {
		EventBase
		InstanceID string `json:"instanceId"`
		RunSpecID  string `json:"runSpecId"`
		Condition  string `json:"condition"`
	}
	// HealthStatusChanged is health_status_changed_event.
	HealthStatusChanged struct {
		EventBase
		AppID      string  `json:"appId"`
		InstanceID string  `json:"instanceId"`
		TaskID     string  `json:"taskId"`
		Version    Version `json:"version"`
		Alive      bool    `json:"alive"`
	}
	// FailedHealthCheck is failed_health_check_event.
	FailedHealthCheck struct {
		EventBase
		AppID       string      `json:"appId"`
		TaskID      string      `json:"taskId"`
		InstanceID  string      `json:"instanceId"`
		HealthCheck HealthCheck `json:"healthCheck"`
	}
	// HealthCheckChange is add_health_check_event (with Version and HealthCheck) and
	// remove_health_check_event.
	HealthCheckChange struct {
		EventBase
		AppID       string       `json:"appId"`
		Version     Version      `json:"version,omitempty"`
		HealthCheck *HealthCheck `json:"healthCheck,omitempty"`
	}
	// UnhealthyKill is unhealthy_instance_kill_event.
	UnhealthyKill struct {
		EventBase
		AppID      string  `json:"appId"`
		TaskID     string  `json:"taskId"`
		InstanceID string  `json:"instanceId"`
		Version    Version `json:"version"`
		Reason     string  `json:"reason"`
		Host       string  `json:"host"`
		SlaveID    string  `json:"slaveId"`
	}
	// AppTerminated is app_terminated_event.
	AppTerminated struct {
		EventBase
		AppID string `json:"appId"`
	}
	// DeploymentStepEvent is deployment_info, deployment_step_success and
	// deployment_step_failure.
	DeploymentStepEvent struct {
		EventBase
		Plan        PlanEvent      `json:"plan"`
		CurrentStep DeploymentStep `json:"currentStep"`
	}
	// DeploymentEnd is deployment_success and deployment_failed (with Reason).
	DeploymentEnd struct {
		EventBase
		ID     string    `json:"id"`
		Plan   PlanEvent `json:"plan"`
		Reason string    `json:"reason,omitempty"`
	}
	// GroupChange is group_change_success and group_change_failed (with Reason).
	GroupChange struct {
		EventBase
		GroupID string  `json:"groupId"`
		Version Version `json:"version"`
		Reason  string  `json:"reason,omitempty"`
	}
	// Scheduler is scheduler_registered_event, scheduler_reregistered_event and
	// scheduler_disconnected_event.
	Scheduler struct {
		EventBase
		FrameworkID string `json:"frameworkId,omitempty"`
		Master      string `json:"master,omitempty"`
	}
	// FrameworkMessage is framework_message_event.
	FrameworkMessage struct {
		EventBase
		SlaveID    string `json:"slaveId"`
		ExecutorID string `json:"executorId"`
		Message    []byte `json:"message"`
	}
	// Stream is event_stream_attached and event_stream_detached.
	Stream struct {
		EventBase
		RemoteAddress string `json:"remoteAddress"`
	}
	// Subscription is subscribe_event and unsubscribe_event (callbacks).
	Subscription struct {
		EventBase
		ClientIP    string `json:"clientIp"`
		CallbackURL string `json:"callbackUrl"`
	}
)
