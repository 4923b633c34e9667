package jsontext

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAsEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching("[ -~\x7f\u2028]*")).Draw(t, "string")
		zone := time.FixedZone("", 60*rapid.IntRange(-14*60, 14*60).Draw(t, "zone"))
		when := time.Unix(rapid.Int64Range(-1<<35, 1<<37).Draw(t, "seconds"), rapid.Int64Range(0, 1e9-1).Draw(t, "nanoseconds")).In(zone)
		list := rapid.SliceOf(rapid.Int()).Draw(t, "list")
		for _, c := range []struct {
			got  []byte
			want any
		}{
			{String(nil, s), s}, {Time(nil, when), when}, {Ints(nil, list), list}, {Ints(nil, nil), []int(nil)}, {Value(nil, s), s},
		} {
			want, err := json.Marshal(c.want)
			if err != nil {
				t.Fatal(err)
			}
			if string(c.got) != string(want) {
				t.Errorf("%s, want %s", c.got, want)
			}
		}
	})
	if got := string(Value(nil, func() {})) + string(Time(nil, time.Unix(1<<40, 0))); got != "nullnull" {
		t.Errorf("what cannot be written is %s", got)
	}
}
