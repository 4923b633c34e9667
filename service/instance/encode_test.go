package instance

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stoa-kernel/stoa/api/marathon"
)

func TestRecordIsAsEncodingJSONWritesIt(t *testing.T) {
	set := make(map[string]bool) // fields that had a value at least once
	note := func(v reflect.Value) {
		for n := range v.NumField() {
			if !v.Field(n).IsZero() {
				set[v.Type().Name()+"."+v.Type().Field(n).Name] = true
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		when := rapid.Custom(func(t *rapid.T) time.Time {
			if !rapid.Bool().Draw(t, "set") {
				return time.Time{}
			}
			return time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "s"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns")).UTC()
		})
		word, flag, number := rapid.StringN(0, 8, -1), rapid.Bool(), rapid.IntRange(-2, 3)
		i := &Instance{
			ID: word.Draw(t, "id"), App: word.Draw(t, "app"), Version: marathon.Version(word.Draw(t, "version")), Incarnation: number.Draw(t, "incarnation"),
			Goal: Goal(word.Draw(t, "goal")), Condition: Condition(word.Draw(t, "condition")), Since: when.Draw(t, "since"),
			TaskID: word.Draw(t, "task"), Role: word.Draw(t, "role"), Agent: rapid.Make[*Agent]().Draw(t, "agent"),
			Ports: rapid.Make[[]int]().Draw(t, "ports"), IPAddresses: rapid.Make[[]marathon.IPAddress]().Draw(t, "addresses"),
			StagedAt: when.Draw(t, "staged"), StartedAt: when.Draw(t, "started"), TaskState: word.Draw(t, "state"),
			Health: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Health {
				return Health{Known: flag.Draw(t, "known"), Alive: flag.Draw(t, "alive"), ConsecutiveFailures: number.Draw(t, "failures"),
					Ignored: number.Draw(t, "ignored"), FirstSuccess: when.Draw(t, "first"), LastSuccess: when.Draw(t, "last"),
					LastFailure: when.Draw(t, "failed"), LastFailureCause: word.Draw(t, "cause")}
			}), 0, 3).Draw(t, "health"),
			Ready: flag.Draw(t, "ready"), Readiness: rapid.Make[[]marathon.ReadinessResult]().Draw(t, "readiness"),
			Preview: flag.Draw(t, "preview"), DrainUntil: when.Draw(t, "drain"), KillingSince: when.Draw(t, "killing"), Wipe: flag.Draw(t, "wipe"),
			Drain: rapid.Make[*time.Duration]().Draw(t, "period"),
		}
		if flag.Draw(t, "reserved") {
			i.Reservation = &Reservation{Done: flag.Draw(t, "done"), Since: when.Draw(t, "asked")}
		}
		if flag.Draw(t, "checked") {
			i.CheckResult = map[string]any{"tcp": map[string]any{"succeeded": true}}
		}
		note(reflect.ValueOf(*i))
		if i.Agent != nil {
			note(reflect.ValueOf(*i.Agent))
		}
		for _, h := range i.Health {
			note(reflect.ValueOf(h))
		}
		want, err := json.Marshal(i)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(i.AppendJSON(nil)); got != string(want) {
			t.Errorf("%s\nwant %s", got, want)
		}
	})
	for _, of := range []reflect.Type{reflect.TypeFor[Instance](), reflect.TypeFor[Agent](), reflect.TypeFor[Health]()} {
		for n := range of.NumField() {
			if name := of.Name() + "." + of.Field(n).Name; !set[name] {
				t.Errorf("%s was never tried", name)
			}
		}
	}
}
