package instance_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
)

// same says that a Reader reads what encoding/json does.
func same(t interface{ Errorf(string, ...any) }, r *instance.Reader, raw []byte) {
	want := new(instance.Instance)
	if json.Unmarshal(raw, want) != nil {
		want = nil
	}
	got, err := r.Read(raw)
	if (err == nil) != (want != nil) || err == nil && !reflect.DeepEqual(got, want) {
		t.Errorf("%s\nis read as %+v (%v)\nwant       %+v", raw, got, err, want)
	}
}

func some(t *rapid.T) *instance.Instance {
	word := func(name string) string {
		return rapid.OneOf(rapid.Just(""), rapid.StringMatching("[a-z./_-]{1,9}"), rapid.StringMatching(`[}{"\\<é☃,\n]{1,3}`)).Draw(t, name)
	}
	when := func(name string) time.Time {
		n := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(1, 1<<61)).Draw(t, name)
		if n == 0 {
			return time.Time{}
		}
		return time.Unix(0, n).In(time.FixedZone("", rapid.SampledFrom([]int{0, 0, 3600}).Draw(t, "zone")))
	}
	small := rapid.IntRange(-1, 1<<33)
	i := &instance.Instance{
		ID: word("id"), App: word("app"), Version: marathon.Version(word("version")), Incarnation: small.Draw(t, "incarnation"),
		Goal: instance.GoalRunning, Condition: instance.Condition(word("condition")), Since: when("since"), TaskID: word("task"),
		Role: word("role"), Ports: rapid.SliceOfN(small, 0, 3).Draw(t, "ports"), StagedAt: when("staged"), StartedAt: when("started"),
		TaskState: word("state"), Ready: rapid.Bool().Draw(t, "ready"), Preview: rapid.Bool().Draw(t, "preview"),
		DrainUntil: when("drain"), KillingSince: when("killing"), Wipe: rapid.Bool().Draw(t, "wipe"),
	}
	if i.ID != "" && rapid.Bool().Draw(t, "task of it") {
		i.TaskID = instance.TaskID(i.ID, 1)
	}
	if rapid.Bool().Draw(t, "agent") {
		i.Agent = &instance.Agent{ID: word("agent id"), Host: word("host"), Zone: word("zone")}
		if rapid.Bool().Draw(t, "attributes") {
			i.Agent.Attributes = map[string]string{"a": word("attribute")}
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "addresses") {
		i.IPAddresses = append(i.IPAddresses, marathon.IPAddress{IPAddress: word("address"), Protocol: "IPv4"})
	}
	for range rapid.IntRange(0, 2).Draw(t, "checks") {
		i.Health = append(i.Health, instance.Health{
			Known: rapid.Bool().Draw(t, "known"), Alive: rapid.Bool().Draw(t, "alive"), ConsecutiveFailures: small.Draw(t, "failures"),
			Ignored: small.Draw(t, "ignored"), FirstSuccess: when("first"), LastSuccess: when("last"), LastFailure: when("failure"),
			LastFailureCause: word("cause"),
		})
	}
	switch rapid.IntRange(0, 9).Draw(t, "rare") {
	case 0:
		i.Reservation = &instance.Reservation{Done: true, Since: when("reserved"), Volumes: []marathon.LocalVolume{{UUID: "u"}}}
	case 1:
		i.CheckResult = map[string]any{"exit": 1.0}
	case 2:
		i.Drain = new(time.Second)
	}
	return i
}

func TestReadsAsEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := new(instance.Reader)
		for range 3 {
			raw, err := json.Marshal(some(t))
			if err != nil {
				t.Fatal(err)
			}
			same(t, r, raw)
			same(t, r, raw) // its words and its agent have been seen now
			at := rapid.IntRange(0, len(raw)-1).Draw(t, "at")
			same(t, r, raw[:at])
			broken := append([]byte(nil), raw...)
			broken[at] = rapid.Byte().Draw(t, "byte")
			same(t, r, broken)
		}
	})
}

func FuzzRead(f *testing.F) {
	for _, text := range []string{
		`{}`, ``, `null`, `{"id":"a","id":"b"}`, `{"ID":"a"}`, `{"id":"a"} `, ` {"id":"a"}`, `{"id":"a",}`, `{,"id":"a"}`, `{"ports":[1,]}`,
		`{"ports":[01]}`, `{"ports":[1e3]}`, `{"ports":null,"health":[]}`, `{"agent":{"id":"}"}}`, `{"agent":null}`, `{"agent":[]}`,
		`{"ready":false}`, `{"ready":true1}`, `{"since":""}`, `{"since":"2026-01-01T00:00:00+01:00"}`, `{"incarnation":9999999999}`,
		`{"id":"a","taskId":"a._app.1","health":[{"known":true}],"ipAddresses":[{"ipAddress":"::1","protocol":"IPv6"}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) { same(t, new(instance.Reader), raw) })
}
