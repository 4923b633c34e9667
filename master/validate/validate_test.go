package validate

import (
	"math"
	"slices"
	"strings"
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	quotapb "github.com/stoa-kernel/stoa/api/mesos/v1/quota"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// text reads a message from its text form; required fields may be missing.
func text[T proto.Message](t *testing.T, m T, s string) T {
	t.Helper()
	if err := (prototext.UnmarshalOptions{AllowPartial: true}).Unmarshal([]byte(s), m); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return m
}

// expect compares an error with the text it must contain; "" wants none.
func expect(t *testing.T, what string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: got error %v, want one with %q", what, err, want)
	}
}

func TestCall(t *testing.T) {
	const id = `framework_id { value: "f" } `
	uuid := `uuid: "0123456789abcdef"`
	for call, want := range map[string]string{
		``:                    "Expecting 'type' to be present",
		`type: SUBSCRIBE`:     "Expecting 'subscribe' to be present",
		`type: UNKNOWN ` + id: "",
		`type: SUBSCRIBE subscribe { framework_info { user: "u" name: "n" } }`:                                               "",
		`type: SUBSCRIBE subscribe { framework_info { user: "u" name: "n" id { value: "x" } } }`:                             "'framework_id' differs",
		`type: SUBSCRIBE framework_id { value: "x" } subscribe { framework_info { user: "u" name: "n" id { value: "x" } } }`: "",
		`type: TEARDOWN`:                           "Expecting 'framework_id' to be present",
		`type: TEARDOWN ` + id:                     "",
		`type: REVIVE ` + id:                       "",
		`type: SUPPRESS ` + id:                     "",
		`type: ACCEPT ` + id:                       "Expecting 'accept' to be present",
		`type: DECLINE ` + id:                      "Expecting 'decline' to be present",
		`type: KILL ` + id:                         "Expecting 'kill' to be present",
		`type: SHUTDOWN ` + id:                     "Expecting 'shutdown' to be present",
		`type: ACKNOWLEDGE ` + id:                  "Expecting 'acknowledge' to be present",
		`type: RECONCILE ` + id:                    "Expecting 'reconcile' to be present",
		`type: MESSAGE ` + id:                      "Expecting 'message' to be present",
		`type: REQUEST ` + id:                      "Expecting 'request' to be present",
		`type: ACCEPT_INVERSE_OFFERS ` + id:        "Expecting 'accept_inverse_offers' to be present",
		`type: DECLINE_INVERSE_OFFERS ` + id:       "Expecting 'decline_inverse_offers' to be present",
		`type: ACKNOWLEDGE_OPERATION_STATUS ` + id: "Expecting 'acknowledge_operation_status' to be present",
		`type: RECONCILE_OPERATIONS ` + id:         "Expecting 'reconcile_operations' to be present",
		`type: UPDATE_FRAMEWORK ` + id:             "Expecting 'update_framework' to be present",
		`type: ACKNOWLEDGE acknowledge { agent_id { value: "a" } task_id { value: "t" } uuid: "short" } ` + id:                                       "a uuid must have 16 bytes; this one has 5",
		`type: ACKNOWLEDGE acknowledge { agent_id { value: "a" } task_id { value: "t" } ` + uuid + ` } ` + id:                                        "",
		`type: ACKNOWLEDGE_OPERATION_STATUS acknowledge_operation_status { operation_id { value: "o" } ` + uuid + ` } ` + id:                         "agent_id' must be set",
		`type: ACKNOWLEDGE_OPERATION_STATUS acknowledge_operation_status { agent_id { value: "a" } operation_id { value: "o" } ` + uuid + ` } ` + id: "",
		`type: UPDATE_FRAMEWORK update_framework { framework_info { user: "u" name: "n" } } ` + id:                                                   "'framework_id' differs",
		`type: KILL kill { task_id { value: "t" } kill_policy { grace_period { nanoseconds: -1 } } } ` + id:                                          "'grace_period' must not be negative",
		`type: KILL kill { task_id { value: "t" } kill_policy { pre_stop { } } } ` + id:                                                              "'pre_stop.value' must be set",
	} {
		expect(t, call, Call(text(t, &schedulerpb.Call{}, call)), want)
	}
	big := text(t, &schedulerpb.Call{}, `type: MESSAGE message { agent_id { value: "a" } executor_id { value: "e" } data: "x" } `+id)
	big.Message.Data = make([]byte, MaxFrameworkMessage+1)
	expect(t, "big message", Call(big), "at most")
}

func TestPrincipal(t *testing.T) {
	call := text(t, &schedulerpb.Call{}, `type: SUBSCRIBE subscribe { framework_info { user: "u" name: "n" principal: "p" } }`)
	expect(t, "none", Principal(call, ""), "")
	expect(t, "same", Principal(call, "p"), "")
	expect(t, "other", Principal(call, "q"), "authenticated as principal 'q'")
	call = text(t, &schedulerpb.Call{}, `type: UPDATE_FRAMEWORK update_framework { framework_info { user: "u" name: "n" principal: "p" } }`)
	expect(t, "update", Principal(call, "q"), "authenticated as principal 'q'")
	expect(t, "another call", Principal(&schedulerpb.Call{}, "q"), "")
}

func TestOperator(t *testing.T) {
	for call, want := range map[string]string{
		``:                 "Expecting 'type' to be present",
		`type: GET_STATE`:  "",
		`type: LIST_FILES`: "Expecting 'list_files'",
		`type: READ_FILE`:  "Expecting 'read_file'",
		`type: READ_FILE read_file { path: "/" }`:                 "offset",
		`type: UPDATE_WEIGHTS`:                                    "Expecting 'update_weights'",
		`type: UPDATE_QUOTA`:                                      "Expecting 'update_quota'",
		`type: TEARDOWN`:                                          "Expecting 'teardown'",
		`type: TEARDOWN teardown { framework_id { value: "f" } }`: "",
	} {
		expect(t, call, Operator(text(t, &masterpb.Call{}, call)), want)
	}
}

func TestFramework(t *testing.T) {
	const multi = `capabilities { type: MULTI_ROLE } `
	for info, want := range map[string]string{
		``:                                "",
		`role: "a/b"`:                     "",
		`role: "/a"`:                      "'FrameworkInfo.role' is invalid",
		`roles: "a"`:                      "without the capability MULTI_ROLE",
		multi:                             "",
		multi + `roles: "a" roles: "b/c"`: "",
		multi + `role: "a"`:               "'FrameworkInfo.role' must not be set",
		multi + `roles: "a" roles: "b" roles: "a" roles: "b"`: "duplicates: { a, b }",
		multi + `roles: ".."`:      "contains an invalid role",
		`id { value: "x/y" }`:      "'FrameworkInfo.id' is invalid",
		`id { value: "" }`:         "",
		`failover_timeout: -1`:     "failover_timeout (-1) is invalid",
		`failover_timeout: nan`:    "is invalid",
		`failover_timeout: 1e300`:  "is invalid",
		`failover_timeout: 604800`: "",
		`offer_filters { key: "*" value { min_allocatable_resources { quantities { } } } }`:                                                    "at least one resource",
		`offer_filters { key: "*" value { min_allocatable_resources { quantities { quantities { key: "cpus" value { value: -1 } } } } } }`:     "negative values",
		`offer_filters { key: "*" value { min_allocatable_resources { quantities { quantities { key: "cpus" value { value: inf } } } } } }`:    "infinite values",
		`offer_filters { key: "*" value { min_allocatable_resources { quantities { quantities { key: "cpus" value { value: nan } } } } } }`:    "not a number",
		`offer_filters { key: "*" value { min_allocatable_resources { quantities { quantities { key: "cpus" value { value: 1e-310 } } } } } }`: "subnormal",
		`offer_filters { key: "*" value { min_allocatable_resources { } } }`:                                                                   "",
	} {
		expect(t, info, Framework(text(t, &mesos.FrameworkInfo{}, `user: "u" name: "n" `+info)), want)
	}
	if r := Roles(text(t, &mesos.FrameworkInfo{}, ``)); !slices.Equal(r, []string{"*"}) {
		t.Errorf("the default role is *, not %v", r)
	}
}

func TestFrameworkUpdate(t *testing.T) {
	old := text(t, &mesos.FrameworkInfo{}, `user: "u" name: "n" principal: "p"`)
	for info, want := range map[string]string{
		`user: "u" name: "other" principal: "p" webui_url: "x"`: "",
		`user: "v" name: "n" principal: "p"`:                    "'FrameworkInfo.user' cannot be changed",
		`user: "u" name: "n" principal: "q"`:                    "Changing framework's principal is not allowed.",
		`user: "u" name: "n"`:                                   "Changing framework's principal is not allowed.",
		`user: "u" name: "n" principal: "p" checkpoint: true`:   "'FrameworkInfo.checkpoint' cannot be changed",
	} {
		expect(t, info, FrameworkUpdate(old, text(t, &mesos.FrameworkInfo{}, info)), want)
	}
}

func TestSuppressedRoles(t *testing.T) {
	expect(t, "own", SuppressedRoles([]string{"a", "b"}, []string{"b"}), "")
	expect(t, "other", SuppressedRoles([]string{"a"}, []string{"c", "a", "b"}), "{ b, c }")
}

func TestOfferConstraints(t *testing.T) {
	group := func(s string) string {
		return `role_constraints { key: "a" value { groups { attribute_constraints { ` + s + ` } } } }`
	}
	name := `selector { attribute_name: "rack" } `
	for c, want := range map[string]string{
		``: "",
		`role_constraints { key: "b" value { } }`:                                                           "not among the framework's roles",
		`role_constraints { key: "a" value { } }`:                                                           "'groups' must not be empty",
		`role_constraints { key: "a" value { groups { } } }`:                                                "a group must not be empty",
		group(name + `predicate { exists { } }`):                                                            "",
		group(`selector { pseudoattribute_type: HOSTNAME } predicate { not_exists { } }`):                   "",
		group(`selector { pseudoattribute_type: UNKNOWN } predicate { exists { } }`):                        "unknown pseudoattribute",
		group(`selector { } predicate { exists { } }`):                                                      "exactly one of",
		group(name + `predicate { }`):                                                                       "unknown predicate",
		group(name + `predicate { text_matches { regex: "a.*" } }`):                                         "",
		group(name + `predicate { text_not_matches { regex: "(" } }`):                                       "regular expression '('",
		group(name + `predicate { text_matches { regex: "` + strings.Repeat("abc", 50) + `" } }`):           "too complex",
		group(name + `predicate { text_matches { regex: "` + strings.Repeat("a", MaxRegexText+1) + `" } }`): "at most 4096",
	} {
		expect(t, c, OfferConstraints([]string{"a"}, text(t, &schedulerpb.OfferConstraints{}, c)), want)
	}
}

func bag(t *testing.T, s string) resource.Resources {
	t.Helper()
	r, err := resource.Parse(s, "*")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTask(t *testing.T) {
	const some = `resources { name: "cpus" type: SCALAR scalar { value: 1 } } `
	tests := []struct{ info, resources, want string }{
		{some, "cpus:1;mem:64", ""},
		{`task_id { value: "" } ` + some, "cpus:1", "'task_id' is invalid"},
		{`task_id { value: "a/b" } ` + some, "cpus:1", "'task_id' is invalid"},
		{``, "", "Task uses no resources"},
		{some, "gpus:0.5", "GPUs are given as whole numbers"},
		{some + `kill_policy { grace_period { nanoseconds: -1 } }`, "cpus:1", "'kill_policy' is invalid"},
		{some + `kill_policy { pre_stop { value: "bye" } pre_stop_timeout { nanoseconds: 1 } drain_period { nanoseconds: 0 } }`, "cpus:1", ""},
		{some + `kill_policy { drain_period { nanoseconds: 1 } }`, "cpus:1", ""},
		{some + `kill_policy { drain_period { nanoseconds: -1 } }`, "cpus:1", "'drain_period' must not be negative"},
		{some + `kill_policy { pre_stop { } }`, "cpus:1", "'pre_stop.value' must be set"},
		{some + `kill_policy { pre_stop { value: "bye" user: "u" } }`, "cpus:1", "'pre_stop.user' is not supported"},
		{some + `kill_policy { pre_stop { value: "bye" uris { value: "u" } } }`, "cpus:1", "'pre_stop.uris' is not supported"},
		{some + `kill_policy { pre_stop { value: "bye" environment { variables { name: "A" } } } }`, "cpus:1", "'pre_stop' is invalid: environment variable 'A'"},
		{some + `kill_policy { pre_stop { value: "bye" } pre_stop_timeout { nanoseconds: 0 } }`, "cpus:1", "'pre_stop_timeout' must be more than 0"},
		{some + `kill_policy { pre_stop_timeout { nanoseconds: 1 } }`, "cpus:1", "without 'pre_stop'"},
		{some + `max_completion_time { nanoseconds: -1 }`, "cpus:1", "'max_completion_time' must not be negative"},
		{some + `limits { key: "disk" value { value: 1 } }`, "cpus:1", "only cpus and mem can be limited"},
		{some + `limits { key: "mem" value { value: 64 } }`, "cpus:1", "limits mem without requesting any"},
		{some + `limits { key: "mem" value { value: 32 } }`, "cpus:1;mem:64", "below its request"},
		{some + `limits { key: "cpus" value { value: nan } }`, "cpus:1", "is not a number"},
		{some + `limits { key: "cpus" value { value: inf } } limits { key: "mem" value { value: 64 } }`, "cpus:1;mem:64", ""},
		{some + `command { environment { variables { name: "A" } } }`, "cpus:1", "type 'VALUE' needs 'value'"},
		{some + `command { environment { variables { name: "A" value: "1" secret { } } } }`, "cpus:1", "must not have 'secret'"},
		{some + `command { environment { variables { name: "A" type: UNKNOWN } } }`, "cpus:1", "unknown type"},
		{some + `command { environment { variables { name: "A" type: SECRET } } }`, "cpus:1", "needs 'secret'"},
		{some + `command { environment { variables { name: "A" type: SECRET value: "x" secret { } } } }`, "cpus:1", "must not have 'value'"},
		{some + `command { environment { variables { name: "A" type: SECRET secret { type: REFERENCE } } } }`, "cpus:1", "type REFERENCE needs"},
		{some + `command { environment { variables { name: "A" type: SECRET secret { type: VALUE } } } }`, "cpus:1", "type VALUE needs"},
		{some + `command { environment { variables { name: "A" type: SECRET secret { type: VALUE value { data: "a\000" } } } } }`, "cpus:1", "zero byte"},
		{some + `container { type: DOCKER }`, "cpus:1", "needs 'docker'"},
		{some + `container { type: DOCKER docker { image: "i" parameters { key: "name" value: "x" } } }`, "cpus:1", "must not have 'name'"},
		{some + `container { type: MESOS volumes { mode: RW container_path: "p" } }`, "cpus:1", "exactly one of"},
		{some + `container { type: MESOS volumes { mode: RW container_path: "p" source { } } }`, "cpus:1", "'source.type' is unknown"},
		{some + `container { type: MESOS volumes { mode: RW container_path: "p" source { type: SANDBOX_PATH } } }`, "cpus:1", "'source.sandbox_path' must be set"},
		{some + `container { type: MESOS volumes { mode: RW container_path: "p" source { type: HOST_PATH } } }`, "cpus:1", "'source.host_path' must be set"},
		{some + `container { type: MESOS volumes { mode: RW container_path: "p" source { type: DOCKER_VOLUME } } }`, "cpus:1", "'source.docker_volume' must be set"},
		{some + `container { type: MESOS volumes { mode: RW container_path: "p" source { type: SECRET } } }`, "cpus:1", "'source.secret' must be set"},
		{some + `container { type: MESOS volumes { mode: RW container_path: "p" source { type: CSI_VOLUME csi_volume { plugin_name: "x" } } } }`, "cpus:1", "static_provisioning' must be set"},
		{some + `container { type: MESOS volumes { mode: RW container_path: "p" host_path: "/x" } }`, "cpus:1", ""},
		{some + `health_check { }`, "cpus:1", "'type' must be set"},
		{some + `health_check { type: UNKNOWN }`, "cpus:1", "is not a valid type"},
		{some + `health_check { type: COMMAND }`, "cpus:1", "needs 'command'"},
		{some + `health_check { type: COMMAND command { } }`, "cpus:1", "'command.value' must be set"},
		{some + `health_check { type: HTTP }`, "cpus:1", "needs 'http'"},
		{some + `health_check { type: HTTP http { port: 1 scheme: "ftp" } }`, "cpus:1", "http and https are supported"},
		{some + `health_check { type: HTTP http { port: 1 path: "x" } }`, "cpus:1", "must begin with '/'"},
		{some + `health_check { type: TCP }`, "cpus:1", "needs 'tcp'"},
		{some + `health_check { type: TCP tcp { port: 1 } timeout_seconds: -1 }`, "cpus:1", "'timeout_seconds' must not be negative"},
		{some + `health_check { type: TCP tcp { port: 1 } grace_period_seconds: nan }`, "cpus:1", "'grace_period_seconds' must not be negative"},
		{some + `health_check { type: HTTP http { port: 1 scheme: "https" path: "/x" } }`, "cpus:1", ""},
		{some + `probes { index: 1 protocol: TCP port: 1 } probes { index: 2 protocol: HTTP port: 65535 path: "/x?y" }`, "cpus:1", ""},
		{some + `probes { index: 1 protocol: TCP port: 1 } probes { index: 1 protocol: TCP port: 2 }`, "cpus:1", "two have the index 1"},
		{some + `probes { index: 1 protocol: UNKNOWN port: 1 }`, "cpus:1", "is not a valid protocol"},
		{some + `probes { index: 1 protocol: TCP port: 0 }`, "cpus:1", "index 1: 'port' is 0; it must be 1 to 65535"},
		{some + `probes { index: 1 protocol: TCP port: 65536 }`, "cpus:1", "must be 1 to 65535"},
		{some + `probes { index: 1 protocol: HTTP port: 1 path: "x" }`, "cpus:1", "must begin with '/'"},
		{some + `probes { index: 1 protocol: TCP port: 1 interval_seconds: nan }`, "cpus:1", "'interval_seconds' must not be negative"},
		{some + `probes { index: 1 protocol: TCP port: 1 timeout_seconds: -1 }`, "cpus:1", "'timeout_seconds' must not be negative"},
		{some + strings.Repeat(`probes { index: 1 protocol: TCP port: 1 }`, 101), "cpus:1", "a task may have 100"},
		{some + `check { }`, "cpus:1", "'type' must be set"},
		{some + `check { type: UNKNOWN }`, "cpus:1", "is not a valid type"},
		{some + `check { type: COMMAND }`, "cpus:1", "needs 'command'"},
		{some + `check { type: COMMAND command { command { } } }`, "cpus:1", "'command.value' must be set"},
		{some + `check { type: HTTP }`, "cpus:1", "needs 'http'"},
		{some + `check { type: HTTP http { port: 1 path: "x" } }`, "cpus:1", "must begin with '/'"},
		{some + `check { type: TCP }`, "cpus:1", "needs 'tcp'"},
		{some + `check { type: TCP tcp { port: 1 } interval_seconds: -1 }`, "cpus:1", "'interval_seconds' must not be negative"},
		{some + `check { type: TCP tcp { port: 1 } delay_seconds: 1 }`, "cpus:1", ""},
	}
	for _, tt := range tests {
		info := text(t, &mesos.TaskInfo{}, tt.info)
		if info.TaskId == nil {
			info.TaskId = &mesos.TaskID{Value: proto.String("t")}
		}
		expect(t, tt.info, Task(info, bag(t, tt.resources).Allocate("r")), tt.want)
	}
	expect(t, "unallocated", Task(text(t, &mesos.TaskInfo{}, `task_id { value: "t" } `+some), bag(t, "cpus:1")), "not allocated to a role")
	expect(t, "two roles", Task(text(t, &mesos.TaskInfo{}, `task_id { value: "t" } `+some), bag(t, "cpus:1").Allocate("a").Add(bag(t, "cpus:1").Allocate("b"))), "several roles")

	expect(t, "neither", CommandOrExecutor(&mesos.TaskInfo{}), "at least one (but not both)")
	expect(t, "both", CommandOrExecutor(&mesos.TaskInfo{Command: &mesos.CommandInfo{}, Executor: &mesos.ExecutorInfo{}}), "at least one (but not both)")
	expect(t, "one", CommandOrExecutor(&mesos.TaskInfo{Command: &mesos.CommandInfo{}}), "")
	expect(t, "cgroups", ShareCgroups(text(t, &mesos.TaskInfo{}, `container { type: MESOS linux_info { share_cgroups: false } }`)), "task group")
	expect(t, "cgroups", ShareCgroups(text(t, &mesos.TaskInfo{}, `container { type: MESOS linux_info { share_cgroups: true } }`)), "")
}

func TestExecutor(t *testing.T) {
	const base = `executor_id { value: "e" } framework_id { value: "f" } command { value: "x" } `
	for info, want := range map[string]string{
		base:                   "",
		base + `type: CUSTOM`:  "",
		base + `type: DEFAULT`: "must not be set for a 'DEFAULT'",
		`executor_id { value: "e" } framework_id { value: "f" } type: DEFAULT`:                                                            "must be 'CUSTOM' in LAUNCH",
		`executor_id { value: "e" } framework_id { value: "f" } type: DEFAULT container { type: DOCKER }`:                                 "must be 'MESOS'",
		`executor_id { value: "e" } framework_id { value: "f" } type: DEFAULT container { type: MESOS mesos { image { type: DOCKER } } }`: "must not be set for a 'DEFAULT'",
		`executor_id { value: "e" } framework_id { value: "f" } type: CUSTOM`:                                                             "must be set for a 'CUSTOM'",
		`executor_id { value: "e" } framework_id { value: "f" }`:                                                                          "'ExecutorInfo.command' must be set",
		`executor_id { value: ".." } framework_id { value: "f" } command { value: "x" }`:                                                  "'executor_id' is invalid",
		`executor_id { value: "e" } framework_id { value: "g" } command { value: "x" }`:                                                   "not this framework's 'f'",
		base + `shutdown_grace_period { nanoseconds: -1 }`:                                                                                "must not be negative",
		base + `container { type: MESOS linux_info { share_cgroups: true } }`:                                                             "must not be true",
		base + `container { type: DOCKER }`:                                                                                               "executor's 'container' is invalid",
		`executor_id { value: "e" } framework_id { value: "f" } command { environment { variables { name: "A" } } }`:                      "executor's 'command' is invalid",
	} {
		expect(t, info, Executor(text(t, &mesos.ExecutorInfo{}, info), bag(t, "cpus:1").Allocate("r"), "f"), want)
	}
	expect(t, "unallocated", Executor(text(t, &mesos.ExecutorInfo{}, base), bag(t, "cpus:1"), "f"), "executor uses invalid resources")

	ports := bag(t, "ports:[1-10]")
	expect(t, "overlap", TaskAndExecutor(ports, bag(t, "ports:[10-11]")), "both use some of 'ports'")
	expect(t, "apart", TaskAndExecutor(ports, bag(t, "ports:[11-12]")), "")
	expect(t, "sets", TaskAndExecutor(bag(t, "x:{a,b}"), bag(t, "x:{b,c}")), "both use some of 'x'")
	expect(t, "scalars", TaskAndExecutor(bag(t, "cpus:1"), bag(t, "cpus:1")), "")
}

func TestGroup(t *testing.T) {
	const task = `task_group { tasks { task_id { value: "t" } resources { name: "cpus" type: SCALAR scalar { value: 1 } } } }`
	for g, want := range map[string]string{
		`executor { type: DEFAULT executor_id { value: "e" } } ` + task:                                         "",
		`executor { type: DEFAULT executor_id { value: "" } } ` + task:                                          "'executor_id' is invalid",
		`executor { executor_id { value: "e" } } ` + task:                                                       "'ExecutorInfo.type' must be set",
		`executor { type: UNKNOWN executor_id { value: "e" } } ` + task:                                         "unknown executor type",
		`executor { type: CUSTOM executor_id { value: "e" } } ` + task:                                          "must be set for a 'CUSTOM'",
		`executor { type: DEFAULT executor_id { value: "e" } }`:                                                 "at least one task",
		`executor { type: DEFAULT executor_id { value: "e" } } task_group { tasks { task_id { value: "t" } } }`: "task 't' is invalid: Task uses no resources",
		`executor { type: DEFAULT executor_id { value: "e" } } task_group { tasks { task_id { value: "t" } container { type: DOCKER docker { image: "i" } } resources { name: "cpus" type: SCALAR scalar { value: 1 } } } }`: "Docker ContainerInfo",
	} {
		expect(t, g, Group(text(t, &mesos.Offer_Operation_LaunchGroup{}, g)), want)
	}
}

func TestOperation(t *testing.T) {
	plain := text(t, &mesos.FrameworkInfo{}, `user: "u" name: "n" role: "r"`)
	owned := text(t, &mesos.FrameworkInfo{}, `user: "u" name: "n" role: "r" principal: "p"`)
	const cpus = `name: "cpus" type: SCALAR scalar { value: 1 } allocation_info { role: "r" } `
	const disk = `name: "disk" type: SCALAR scalar { value: 1 } allocation_info { role: "r" } reservations { type: DYNAMIC role: "r" } `
	const volume = `disk { persistence { id: "v" } volume { mode: RW container_path: "c" } }`
	reserve := func(s string) string { return `type: RESERVE reserve { resources { ` + s + ` } }` }
	unreserve := func(s string) string { return `type: UNRESERVE unreserve { resources { ` + s + ` } }` }
	create := func(s string) string { return `type: CREATE create { volumes { ` + s + ` } }` }
	destroy := func(s string) string { return `type: DESTROY destroy { volumes { ` + s + ` } }` }
	tests := []struct {
		op   string
		info *mesos.FrameworkInfo
		want string
	}{
		{reserve(cpus + `reservations { type: DYNAMIC role: "r" }`), plain, ""},
		{reserve(cpus + `reservations { type: DYNAMIC role: "r" principal: "p" }`), owned, ""},
		{reserve(cpus + `reservations { type: DYNAMIC role: "r" principal: "q" }`), owned, "names principal 'q'"},
		{reserve(cpus + `reservations { type: DYNAMIC role: "r" }`), owned, "names principal ''"},
		{reserve(cpus), plain, "has no dynamic reservation"},
		{reserve(cpus + `reservations { type: STATIC role: "r" }`), plain, "has no dynamic reservation"},
		{reserve(cpus + `reservations { type: DYNAMIC role: "s" }`), plain, "is to be reserved to role 's'"},
		{reserve(cpus + `revocable { } reservations { type: DYNAMIC role: "r" }`), plain, "revocable resources cannot be reserved"},
		{reserve(cpus + `provider_id { value: "x" } reservations { type: DYNAMIC role: "r" }`), plain, "resource providers are not supported"},
		{`type: RESERVE reserve { }`, plain, "there are none"},
		{`type: RESERVE reserve { source { ` + cpus + ` } }`, plain, "'reserve.source' is not supported"},
		{reserve(`name: "cpus" type: SCALAR scalar { value: 1 } allocation_info { role: "s" } reservations { type: DYNAMIC role: "s" }`), plain, "role 's' is not among"},
		{unreserve(cpus + `reservations { type: DYNAMIC role: "r" }`), plain, ""},
		{unreserve(cpus), plain, "is not dynamically reserved"},
		{unreserve(disk + volume), plain, "destroy it first"},
		{create(disk + volume), plain, ""},
		{create(disk), plain, "has no DiskInfo"},
		{create(disk + `disk { source { type: PATH path { root: "/x" } } }`), plain, "'disk.persistence' is not set"},
		{create(disk + `disk { persistence { id: "v" } volume { mode: RO container_path: "c" } }`), plain, "read-only"},
		{create(disk + `shared { } ` + volume), plain, "needs the capability SHARED_RESOURCES"},
		{create(disk + `disk { persistence { id: "v" principal: "q" } volume { mode: RW container_path: "c" } }`), owned, "names principal 'q'"},
		{destroy(disk + volume), plain, ""},
		{destroy(disk), plain, "has no DiskInfo"},
		{`type: DESTROY destroy { }`, plain, "there are none"},
		{`type: GROW_VOLUME grow_volume { addition { scalar { value: 0 } } }`, plain, "must be greater than zero"},
		{`type: SHRINK_VOLUME shrink_volume { subtract { value: 0 } }`, plain, "must be greater than zero"},
		{`type: SHRINK_VOLUME shrink_volume { subtract { value: 5 } volume { scalar { value: 5 } } }`, plain, "must be smaller than the volume"},
		{`type: CREATE_DISK create_disk { target_type: RAW }`, plain, "must be MOUNT or BLOCK"},
		{`type: CREATE_DISK create_disk { target_type: MOUNT }`, plain, ""},
		{`type: DESTROY_DISK destroy_disk { }`, plain, ""},
	}
	for _, tt := range tests {
		op := text(t, &mesos.Offer_Operation{}, tt.op)
		var list []*mesos.Resource
		list = append(list, op.GetReserve().GetResources()...)
		list = append(list, op.GetUnreserve().GetResources()...)
		list = append(list, op.GetCreate().GetVolumes()...)
		list = append(list, op.GetDestroy().GetVolumes()...)
		r, err := resource.Of(list...)
		if err != nil {
			t.Fatalf("%s: %v", tt.op, err)
		}
		expect(t, tt.op, Operation(op, r, tt.info), tt.want)
	}
	for name, v := range mesos.Offer_Operation_Type_value {
		op := &mesos.Offer_Operation{Type: mesos.Offer_Operation_Type(v).Enum()}
		want := "needs '" + strings.ToLower(name) + "'"
		if name == "UNKNOWN" {
			want = ""
		}
		expect(t, name, OperationBody(op), want)
	}
}

func TestUnsupported(t *testing.T) {
	for info, want := range map[string]string{
		``: "",
		`command { value: "x" } health_check { command { user: "u" } }`:                       "'TaskInfo.health_check.command.user'",
		`command { value: "x" } check { command { command { uris { value: "/x" } } } }`:       "'TaskInfo.check.command.command.uris'",
		`command { environment { variables { name: "A" type: SECRET } } }`:                    "'TaskInfo.command.environment.variables.secret'",
		`container { type: DOCKER }`:                                                          "'TaskInfo.container.docker'",
		`container { type: MESOS mesos { image { type: DOCKER } } }`:                          "'TaskInfo.container.mesos.image'",
		`container { type: MESOS network_infos { } }`:                                         "'TaskInfo.container.network_infos'",
		`container { type: MESOS tty_info { } }`:                                              "'TaskInfo.container.tty_info'",
		`container { type: MESOS volumes { image { type: DOCKER } } }`:                        "'TaskInfo.container.volumes.image'",
		`container { type: MESOS volumes { source { type: SECRET } } }`:                       "'TaskInfo.container.volumes.source.secret'",
		`container { type: MESOS volumes { source { type: DOCKER_VOLUME } } }`:                "'TaskInfo.container.volumes.source.docker_volume'",
		`container { type: MESOS volumes { source { type: CSI_VOLUME } } }`:                   "'TaskInfo.container.volumes.source.csi_volume'",
		`container { type: MESOS rlimit_info { } linux_info { effective_capabilities { } } }`: "",
		`executor { command { environment { variables { name: "A" type: SECRET } } } }`:       "'TaskInfo.executor.command.environment",
		`executor { container { type: DOCKER } }`:                                             "'TaskInfo.executor.container.docker'",
	} {
		expect(t, info, TaskUnsupported(text(t, &mesos.TaskInfo{}, info)), want)
	}
	for op, want := range map[string]string{
		`type: LAUNCH`: "", `type: RESERVE`: "", `type: UNRESERVE`: "", `type: CREATE`: "", `type: DESTROY`: "",
		`type: LAUNCH_GROUP`: "launch_group", `type: GROW_VOLUME`: "grow_volume", `type: SHRINK_VOLUME`: "shrink_volume",
		`type: CREATE_DISK`: "create_disk", `type: DESTROY_DISK`: "destroy_disk",
	} {
		expect(t, op, OperationUnsupported(text(t, &mesos.Offer_Operation{}, op)), want)
	}
}

func TestQuota(t *testing.T) {
	for q, want := range map[string]string{
		``:           "'QuotaConfig.role' must be set",
		`role: "a/"`: "'QuotaConfig.role' is invalid",
		`role: "a"`:  "",
		`role: "a" guarantees { key: "cpus" value { value: 1 } } limits { key: "cpus" value { value: 1 } }`: "",
		`role: "a" guarantees { key: "cpus" value { value: 2 } } limits { key: "cpus" value { value: 1 } }`: "more than the limit",
		`role: "a" guarantees { key: "cpus" value { value: 2 } }`:                                           "",
		`role: "a" limits { key: "cpus" value { value: -1 } }`:                                              "negative values",
		`role: "a" limits { key: "cpus" value { value: inf } }`:                                             "infinite values",
		`role: "a" guarantees { key: "mem" value { value: 2e12 } }`:                                         "'mem' is 2e+12",
		`role: "a" guarantees { key: "cpus" value { value: 2e12 } }`:                                        "'cpus' is 2e+12",
	} {
		expect(t, q, Quota(text(t, &quotapb.QuotaConfig{}, q)), want)
	}
}

func TestWeight(t *testing.T) {
	for _, tt := range []struct {
		role   string
		weight float64
		want   string
	}{
		{"a", 2, ""}, {" a ", 0.5, ""}, {"a", 0, "must be positive"}, {"a", -1, "must be positive"},
		{"a", math.NaN(), "must be positive"}, {"a", math.Inf(1), "must be positive"}, {"", 1, "empty"},
	} {
		expect(t, tt.role, Weight(&mesos.WeightInfo{Role: &tt.role, Weight: &tt.weight}), tt.want)
	}
}
