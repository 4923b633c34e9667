// Package reason is why something does not run, as data: what the allocator, the master
// and frameworks report, the API returns as a code, and people read as words.
package reason

import "fmt"

// Reason is one rule that stood in the way. An agent counts under the first rule it
// fails, in the order of the constants, so counts of agents never overlap.
type Reason uint8

// Reasons.
const (
	None Reason = iota // nothing is in the way

	// Of an agent.
	AgentInactive      // its link is broken, it drains or is deactivated
	NeedsGPUCapability // it has GPUs and the framework lacks GPU_RESOURCES
	OtherRegion        // it is in another region and the framework lacks REGION_AWARE
	Constraint         // the framework's offer constraints exclude it
	NothingFree        // all it has is in use or offered
	CPUs               // not enough of it free
	Mem
	Disk
	Ports
	GPUs
	Other             // not enough of another resource free
	ReservedElsewhere // enough is free, but reserved to other roles or of a kind the framework cannot use
	QuotaLimit        // a limit of the role or one above it leaves too little
	Headroom          // what is free is held back for guarantees of other roles
	BelowMinimum      // less than the minimum that is worth an offer
	Filtered          // the framework declined this and asked not to be offered it again for a time

	// Of everything.
	NoAgents     // none is registered
	Unknown      // no such framework
	Disconnected // the framework is not connected
	Unsubscribed // the framework is not subscribed to the role
	Suppressed   // the framework suppressed offers for the role
	Paused       // the master waits for agents to return before it allocates
	NoExecutor   // the task waits for its executor to register

	count
)

var table = [count]struct{ code, words string }{
	None:               {"none", "nothing in the way"},
	AgentInactive:      {"agent_inactive", "agent not connected"},
	NeedsGPUCapability: {"needs_gpu_capability", "agent has GPUs, framework lacks GPU_RESOURCES"},
	OtherRegion:        {"other_region", "agent in another region"},
	Constraint:         {"constraint", "offer constraint"},
	NothingFree:        {"nothing_free", "nothing free"},
	CPUs:               {"insufficient_cpus", "cpus"},
	Mem:                {"insufficient_mem", "memory"},
	Disk:               {"insufficient_disk", "disk"},
	Ports:              {"insufficient_ports", "ports"},
	GPUs:               {"insufficient_gpus", "gpus"},
	Other:              {"insufficient_other", "another resource"},
	ReservedElsewhere:  {"reserved_elsewhere", "reserved to other roles"},
	QuotaLimit:         {"quota_limit", "quota limit"},
	Headroom:           {"headroom", "held back for guarantees"},
	BelowMinimum:       {"below_minimum", "below the minimum offer"},
	Filtered:           {"filtered", "declined by the framework"},
	NoAgents:           {"no_agents", "no agents are registered"},
	Unknown:            {"unknown_framework", "no such framework"},
	Disconnected:       {"disconnected", "the framework is not connected"},
	Unsubscribed:       {"unsubscribed", "the framework is not subscribed to the role"},
	Suppressed:         {"suppressed", "the framework suppressed offers for the role"},
	Paused:             {"paused", "the master waits for agents to return before it makes offers"},
	NoExecutor:         {"no_executor", "the task waits for its executor to register"},
}

// String is the code programs see: lower case, stable.
func (r Reason) String() string {
	if r < count {
		return table[r].code
	}
	return fmt.Sprintf("reason_%d", uint8(r))
}

// Words is what people read, in the lower case and without a full stop.
func (r Reason) Words() string {
	if r < count {
		return table[r].words
	}
	return r.String()
}

// Insufficient is the reason for too little of a resource.
func Insufficient(name string) Reason {
	switch name {
	case "cpus":
		return CPUs
	case "mem":
		return Mem
	case "disk":
		return Disk
	case "ports":
		return Ports
	case "gpus":
		return GPUs
	}
	return Other
}

// MarshalText is String.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads String.
func (r *Reason) UnmarshalText(text []byte) error {
	for i := range count {
		if table[i].code == string(text) {
			*r = i
			return nil
		}
	}
	return fmt.Errorf("reason %q is not known", text)
}
