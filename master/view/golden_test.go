package view_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	"github.com/stoa-kernel/stoa/api/mesosjson"
	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/master/state"
	"github.com/stoa-kernel/stoa/master/view"
)

// testdata/mesos has what a real Mesos answered. The state behind each set of answers is
// put into a view through events, and the view must answer the same: names, forms of
// numbers, which fields there are and their order.
func TestAnswersAreThoseOfMesos(t *testing.T) {
	for _, set := range []string{"running", "reserved"} {
		read := func(call string) ([]byte, *masterpb.Response) {
			b, err := os.ReadFile(filepath.Join("testdata", "mesos", set+"-"+call+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var m masterpb.Response
			if err := mesosjson.Unmarshal(b, &m); err != nil {
				t.Fatal(err)
			}
			return b, &m
		}
		v := view.New(view.Config{})
		_, all := read("GET_STATE")
		_, roles := read("GET_ROLES")
		_, quota := read("GET_QUOTA")
		_, weights := read("GET_WEIGHTS")
		for _, e := range events(t, all.GetGetState(), roles.GetGetRoles(), quota.GetGetQuota(), weights.GetGetWeights()) {
			v.Apply(e)
		}
		v.Publish()
		root := v.Root()
		message := func(m *masterpb.Response) func(io.Writer, codec.Codec) error {
			return func(w io.Writer, c codec.Codec) error {
				b, err := c.Append(nil, m)
				if err == nil {
					_, err = w.Write(b)
				}
				return err
			}
		}
		for call, write := range map[string]func(io.Writer, codec.Codec) error{
			"GET_STATE": root.GetState, "GET_TASKS": root.GetTasks, "GET_AGENTS": root.GetAgents,
			"GET_FRAMEWORKS": root.GetFrameworks, "GET_EXECUTORS": root.GetExecutors,
			"GET_ROLES": message(root.GetRoles()), "GET_QUOTA": message(root.GetQuota()), "GET_WEIGHTS": message(root.GetWeights()),
		} {
			want, _ := read(call)
			var got bytes.Buffer
			if err := write(&got, codec.JSON); err != nil {
				t.Fatal(err)
			}
			if g, w := canonical(t, got.Bytes()), canonical(t, want); g != w {
				t.Errorf("%s %s differs from Mesos:\n%s", set, call, firstDifference(g, w))
			}
		}
	}
}

func events(t *testing.T, all *masterpb.Response_GetState, roles *masterpb.Response_GetRoles, quota *masterpb.Response_GetQuota, weights *masterpb.Response_GetWeights) []state.Event {
	t.Helper()
	var out []state.Event
	bag := func(rs []*mesos.Resource) resource.Resources {
		b, err := resource.Of(rs...)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	at := func(i *mesos.TimeInfo) time.Time {
		if i == nil {
			return time.Time{}
		}
		return time.Unix(0, i.GetNanoseconds())
	}
	for _, a := range all.GetGetAgents().GetAgents() {
		out = append(out, state.AgentAdded{Agent: &state.Agent{
			ID: id.Agent(a.GetAgentInfo().GetId().GetValue()), Info: a.AgentInfo,
			Address: strings.TrimPrefix(a.GetPid(), "slave(1)@"), Version: a.GetVersion(), Connected: a.GetActive(),
			Registered: at(a.RegisteredTime), Reregistered: at(a.ReregisteredTime),
			Total: bag(a.TotalResources), Allocated: bag(a.AllocatedResources), Offered: bag(a.OfferedResources),
		}})
	}
	fw := func(f *masterpb.Response_GetFrameworks_Framework) *state.Framework {
		return &state.Framework{
			Info: f.FrameworkInfo, Connected: f.GetConnected(), Recovered: f.GetRecovered(),
			Registered: at(f.RegisteredTime), Unregistered: at(f.UnregisteredTime),
			Allocated: bag(f.AllocatedResources), Offered: bag(f.OfferedResources),
		}
	}
	for _, f := range all.GetGetFrameworks().GetFrameworks() {
		out = append(out, state.FrameworkAdded{Framework: fw(f)})
	}
	for _, f := range all.GetGetFrameworks().GetCompletedFrameworks() {
		out = append(out, state.FrameworkRemoved{Framework: fw(f)})
	}
	executors := make(map[string]*mesos.ExecutorInfo)
	for _, e := range all.GetGetExecutors().GetExecutors() {
		executors[e.GetExecutorInfo().GetExecutorId().GetValue()] = e.ExecutorInfo
	}
	task := func(m *mesos.Task, completed bool) state.Event {
		return state.TaskAdded{Task: &state.Task{
			Framework: id.Framework(m.GetFrameworkId().GetValue()), Agent: id.Agent(m.GetAgentId().GetValue()),
			Info: &mesos.TaskInfo{
				Name: m.Name, TaskId: m.TaskId, AgentId: m.AgentId, Resources: m.Resources,
				Executor: executors[m.GetExecutorId().GetValue()],
			},
			Executor: id.Executor(m.GetExecutorId().GetValue()),
			State:    m.GetState(), StatusState: m.GetStatusUpdateState(), StatusUUID: m.StatusUpdateUuid,
			Statuses: m.Statuses, Completed: completed,
		}}
	}
	for _, m := range all.GetGetTasks().GetTasks() {
		out = append(out, task(m, false))
	}
	for _, m := range all.GetGetTasks().GetCompletedTasks() {
		out = append(out, task(m, true))
	}
	configs := make(map[string]state.Role)
	for _, c := range quota.GetStatus().GetConfigs() {
		guarantee, err := resource.QuantitiesOf(c.Guarantees)
		if err != nil {
			t.Fatal(err)
		}
		limit, err := resource.QuantitiesOf(c.Limits)
		if err != nil {
			t.Fatal(err)
		}
		configs[c.GetRole()] = state.Role{Guarantee: guarantee, Limit: limit}
	}
	var list []state.Role
	for _, r := range roles.GetRoles() {
		role := configs[r.GetName()]
		role.Name, role.Weight = r.GetName(), r.GetWeight()
		role.Weighted = slices.ContainsFunc(weights.GetWeightInfos(), func(w *mesos.WeightInfo) bool { return w.GetRole() == r.GetName() })
		for _, f := range r.Frameworks {
			role.Frameworks = append(role.Frameworks, id.Framework(f.GetValue()))
		}
		list = append(list, role)
	}
	return append(out, state.RolesChanged{Roles: list})
}

// canonical is the text with a line per value, in the order of the input, but for what
// legitimately differs: the order within a bag of resources and within a map, and what
// our agents can do.
func canonical(t *testing.T, b []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	text := walk(t, d, "")
	if d.More() {
		t.Fatal("more follows the object")
	}
	return text
}

func walk(t *testing.T, d *json.Decoder, key string) string {
	t.Helper()
	token, err := d.Token()
	if err != nil {
		t.Fatalf("%v in %s", err, key)
	}
	open, ok := token.(json.Delim)
	if !ok {
		if s, ok := token.(string); ok {
			return `"` + s + `"`
		}
		b, err := json.Marshal(token)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var items []string
	for d.More() {
		if open == '[' {
			items = append(items, walk(t, d, key))
			continue
		}
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		value := walk(t, d, name.(string))
		if key == "agent_info" && name == "checkpoint" {
			continue // a field of v0's SlaveInfo that Mesos lets through; v1 has none
		}
		items = append(items, name.(string)+": "+value)
	}
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	switch {
	case open == '[' && (strings.HasSuffix(key, "resources") || key == "guarantee"),
		key == "guarantees", key == "limits", open == '[' && strings.HasSuffix(key, "tasks"):
		slices.SortStableFunc(items, func(a, b string) int { return cmp.Compare(a, b) })
	case open == '[' && key == "capabilities" && len(items) > 4:
		items = []string{"those of an agent"}
	}
	return string(open) + "\n" + strings.Join(items, "\n") + "\nend"
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			from := max(0, i-4)
			return "got  …" + strings.Join(g[from:min(i+3, len(g))], " ") + "\nwant …" + strings.Join(w[from:min(i+3, len(w))], " ")
		}
	}
	return "one is longer than the other"
}
