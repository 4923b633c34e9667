// Package state is the run framework as a value: what `stoa run` submitted, its
// instances and their attempts, changed by Step and by nothing else.
package state

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
)

// Restart says what follows the end of an instance's task.
type Restart string

const (
	Never     Restart = "never"
	OnFailure Restart = "on-failure"
	Always    Restart = "always"
)

// Spec is what a user asks to run. It is the body of POST /v1/runs.
type Spec struct {
	// Name shows in listings; the command's base name by default.
	Name string `json:"name,omitempty"`
	// Instances to run at once, 1 by default, MaxInstances at most.
	Instances int `json:"instances,omitempty"`
	// Argv is executed as it is, without a shell.
	Argv []string `json:"argv"`
	// CPUs (0.1 by default) and Mem in MiB (64 by default) per instance.
	CPUs float64           `json:"cpus,omitempty"`
	Mem  float64           `json:"mem,omitempty"`
	Disk float64           `json:"disk,omitempty"`
	Env  map[string]string `json:"env,omitempty"`
	URIs []string          `json:"uris,omitempty"`
	// User runs the command; empty for the framework's.
	User    string  `json:"user,omitempty"`
	Restart Restart `json:"restart,omitempty"`
}

// MaxInstances bounds one run, so that its record stays below what a store takes.
const MaxInstances = 500

// Defaults fills what is not set and refuses what cannot be.
func (s Spec) Defaults() (Spec, error) {
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		return s, fmt.Errorf("argv is empty: name a command to run")
	}
	if s.Name == "" {
		s.Name = s.Argv[0][strings.LastIndexByte(s.Argv[0], '/')+1:]
	}
	if strings.ContainsAny(s.Name, "/\\ \t\n") || s.Name == "." || s.Name == ".." || len(s.Name) > 100 {
		return s, fmt.Errorf("name %q: at most 100 bytes, no slash and no white space; choose another with --name", s.Name)
	}
	if s.Instances == 0 {
		s.Instances = 1
	}
	if s.Instances < 0 || s.Instances > MaxInstances {
		return s, fmt.Errorf("instances is %d, must be 1 to %d", s.Instances, MaxInstances)
	}
	if s.CPUs == 0 {
		s.CPUs = 0.1
	}
	if s.Mem == 0 {
		s.Mem = 64
	}
	// Written so that NaN is refused too.
	if !(s.CPUs >= 0.01 && s.CPUs <= 1e6) || !(s.Mem >= 1 && s.Mem <= 1e9) || !(s.Disk >= 0 && s.Disk <= 1e12) {
		return s, fmt.Errorf("cpus %v, mem %v, disk %v: cpus must be at least 0.01 and mem at least 1 MiB", s.CPUs, s.Mem, s.Disk)
	}
	switch s.Restart {
	case "":
		s.Restart = Never
	case Never, OnFailure, Always:
	default:
		return s, fmt.Errorf("restart is %q, must be never, on-failure or always", s.Restart)
	}
	return s, nil
}

// State of an instance.
type State string

const (
	Waiting  State = "waiting"  // for an offer, or for its backoff
	Staging  State = "staging"  // accepted, no update seen
	Running  State = "running"  // also while starting or killing
	Finished State = "finished" // exit 0
	Failed   State = "failed"
	Killed   State = "killed"
)

// Ended reports whether nothing more will come of the instance.
func (s State) Ended() bool { return s == Finished || s == Failed || s == Killed }

// Instance is one of a run's copies and its newest attempt.
type Instance struct {
	Index   int   `json:"index"`
	Attempt int   `json:"attempt"`
	State   State `json:"state"`
	// Task is the newest attempt's id, empty before the first launch.
	Task  id.Task  `json:"task,omitempty"`
	Agent id.Agent `json:"agent,omitempty"`
	// Reported is the last task state the kernel told.
	Reported string `json:"reported,omitempty"`
	Message  string `json:"message,omitempty"`
	// Exit is the exit code, or 128 plus the signal; set once the attempt ended.
	Exit    *int       `json:"exit,omitempty"`
	Started *time.Time `json:"started,omitempty"`
	Ended   *time.Time `json:"ended,omitempty"`
	// Failures in a row, which the backoff grows with.
	Failures int `json:"failures,omitempty"`
	// NotBefore is when the backoff ends.
	NotBefore *time.Time `json:"not_before,omitempty"`
}

// Run is one submission. Published and stored copies are never changed.
type Run struct {
	ID        string     `json:"id"`
	Framework string     `json:"framework_id,omitempty"`
	Spec      Spec       `json:"spec"`
	Created   time.Time  `json:"created"`
	Canceled  bool       `json:"canceled,omitempty"`
	Instances []Instance `json:"instances"`
	Done      *time.Time `json:"done,omitempty"`
	// Exit is the code `stoa run` ends with: the first non-zero one of its instances.
	Exit int `json:"exit"`
}

func (r *Run) clone() *Run {
	c := *r
	c.Instances = slices.Clone(r.Instances)
	return &c
}

// taskID names an attempt; ids are never used twice.
func taskID(run string, index, attempt int) id.Task {
	return id.Task(fmt.Sprintf("%s.%d.%d", run, index, attempt))
}

// parseTask finds the run and instance a task id belongs to.
func parseTask(t id.Task) (run string, index, attempt int, ok bool) {
	i := strings.LastIndexByte(string(t), '.')
	if i < 0 {
		return "", 0, 0, false
	}
	j := strings.LastIndexByte(string(t[:i]), '.')
	if j < 0 {
		return "", 0, 0, false
	}
	if _, err := fmt.Sscanf(string(t[j+1:]), "%d.%d", &index, &attempt); err != nil {
		return "", 0, 0, false
	}
	return string(t[:j]), index, attempt, true
}

// taskInfo describes an instance's task; resources and agent are the offer's.
func (r *Run) taskInfo(in *Instance, agent *mesos.AgentID) *mesos.TaskInfo {
	s := &r.Spec
	command := &mesos.CommandInfo{
		Shell:     ptr(false),
		Value:     &s.Argv[0],
		Arguments: s.Argv,
	}
	if s.User != "" {
		command.User = &s.User
	}
	for _, u := range s.URIs {
		command.Uris = append(command.Uris, &mesos.CommandInfo_URI{Value: ptr(u)})
	}
	vars := []*mesos.Environment_Variable{{Name: ptr("STOA_RUN"), Value: &r.ID}, {Name: ptr("STOA_INSTANCE"), Value: ptr(fmt.Sprint(in.Index))}}
	for _, k := range slices.Sorted(maps.Keys(s.Env)) {
		vars = append(vars, &mesos.Environment_Variable{Name: ptr(k), Value: ptr(s.Env[k])})
	}
	command.Environment = &mesos.Environment{Variables: vars}
	return &mesos.TaskInfo{
		Name:    &s.Name,
		TaskId:  &mesos.TaskID{Value: ptr(string(in.Task))},
		AgentId: agent,
		Command: command,
	}
}

func ptr[T any](v T) *T { return &v }
