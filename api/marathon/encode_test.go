package marathon

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

func TestEventsAreAsEncodingJSONWritesThem(t *testing.T) {
	alive := true
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.Make[EventBase]().Draw(t, "base")
		for _, e := range []Event{
			InstanceChanged{EventBase: base}, StatusUpdate{EventBase: base, IPAddresses: []IPAddress{}, Ports: []int{}},
			InstanceHealthChanged{EventBase: base, Healthy: &alive}, InstanceHealthChanged{EventBase: base},
			rapid.Make[InstanceChanged]().Draw(t, "changed"), rapid.Make[StatusUpdate]().Draw(t, "status"),
			rapid.Make[HealthStatusChanged]().Draw(t, "health"), rapid.Make[InstanceHealthChanged]().Draw(t, "healthy"),
			AppTerminated{EventBase: base, AppID: "/a"},
		} {
			want, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := EncodeEvent(e); err != nil || string(got) != string(want) {
				t.Errorf("%s, %v; want %s", got, err, want)
			}
		}
	})
}
