package mesosjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	agentpb "github.com/stoa-kernel/stoa/api/mesos/v1/agent"
	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	quotapb "github.com/stoa-kernel/stoa/api/mesos/v1/quota"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/internal/recordio"
	"google.golang.org/protobuf/proto"
)

// What a real Mesos wrote, decoded and written again, is the same text: every name, form
// of number, default and order, but for what noDifference lists and for the empty arrays
// which the hand-written parts of Mesos's operator API have.
func TestCaptures(t *testing.T) {
	record := func(file string, m func() proto.Message) {
		t.Helper()
		raw, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		r := recordio.NewReader(bytes.NewReader(raw), 0)
		n := 0
		for ; ; n++ {
			b, err := r.Read()
			if err != nil {
				break
			}
			again(t, file, b, m())
		}
		if n < 10 {
			t.Errorf("%s: only %d records", file, n)
		}
	}
	record("scheduler-subscribe.recordio", func() proto.Message { return new(schedulerpb.Event) })
	record("operator-subscribe.recordio", func() proto.Message { return new(masterpb.Event) })
	for file, m := range map[string]proto.Message{
		"reserved-master_v1_GET_STATE.json":     new(masterpb.Response),
		"reserved-master_v1_GET_QUOTA.json":     new(masterpb.Response),
		"running-master_v1_GET_FRAMEWORKS.json": new(masterpb.Response),
		"running-master_v1_GET_MASTER.json":     new(masterpb.Response),
		"running-agent_v1_GET_STATE.json":       new(agentpb.Response),
		"running-agent_v1_GET_AGENT.json":       new(agentpb.Response),
		"running-agent_v1_GET_CONTAINERS.json":  new(agentpb.Response),
	} {
		raw, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		again(t, file, raw, m)
	}
}

func again(t *testing.T, file string, raw []byte, m proto.Message) {
	t.Helper()
	if err := Unmarshal(raw, m); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	got, want := string(Marshal(m)), string(raw)
	want = emptyArray.ReplaceAllString(want, "")
	want = leadingEmptyArray.ReplaceAllString(want, "")
	for from, to := range noDifference {
		want = strings.ReplaceAll(want, from, to)
	}
	if got != want {
		i := 0
		for i < len(got) && i < len(want) && got[i] == want[i] {
			i++
		}
		from := max(0, i-80)
		t.Errorf("%s differs at byte %d:\n got …%.200s\nwant …%.200s", file, i, got[from:], want[from:])
	}
}

var (
	emptyArray        = regexp.MustCompile(`,"[a-z_]+":\[\]`)
	leadingEmptyArray = regexp.MustCompile(`"[a-z_]+":\[\],?`)
	noDifference      = map[string]string{
		`{"mem":{"value":512.0},"cpus":{"value":1.0}}`:  `{"cpus":{"value":1.0},"mem":{"value":512.0}}`,
		`{"mem":{"value":1024.0},"cpus":{"value":2.0}}`: `{"cpus":{"value":2.0},"mem":{"value":1024.0}}`,
		// A v0 field that the v1 definitions do not have.
		`-S0"},"checkpoint":true}`: `-S0"}}`,
		// Mesos's digits are not always those nearest to the value; both read the same.
		"1795380916.6758297": "1795380916.6758296",
	}
)

// The calls of a Python client decode to the same message before and after our encoding.
func TestCapturedCalls(t *testing.T) {
	raw, err := os.ReadFile("testdata/scheduler-calls.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range bytes.Lines(raw) {
		var row struct{ Call json.RawMessage }
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatal(err)
		}
		one, two := new(schedulerpb.Call), new(schedulerpb.Call)
		if err := Unmarshal(row.Call, one); err != nil {
			t.Fatal(err)
		}
		if err := Unmarshal(Marshal(one), two); err != nil {
			t.Fatal(err)
		}
		fillDefaults(one.ProtoReflect())
		if !proto.Equal(one, two) {
			t.Errorf("%s\nreads %v\nagain %v", row.Call, one, two)
		}
		n++
	}
	if n < 5 {
		t.Errorf("only %d calls", n)
	}
}

func TestEncoding(t *testing.T) {
	for _, c := range []struct {
		m    proto.Message
		want string
	}{
		{&schedulerpb.Call{}, `{}`},
		{&mesos.Filters{}, `{"refuse_seconds":5.0}`},
		{&mesos.Filters{RefuseSeconds: proto.Float64(0)}, `{"refuse_seconds":0.0}`},
		{&mesos.CommandInfo{Value: proto.String("a")}, `{"shell":true,"value":"a"}`},
		{&mesos.TaskID{Value: proto.String("\x00\x1f\"\\/\b\f\n\r\t é\x7f\xff€")},
			`{"value":"\u0000\u001F\"\\/\b\f\n\r\t é` + "\x7f\uFFFD€" + `"}`},
		{&schedulerpb.Call_Acknowledge{Uuid: []byte{0xfb, 0xff, 0}}, `{"uuid":"+/8A"}`},
		{&schedulerpb.Call_Acknowledge{Uuid: []byte{}}, `{"uuid":""}`},
		{&schedulerpb.Event{Type: schedulerpb.Event_Type(99).Enum()}, `{"type":"UNKNOWN_ENUM_VALUE_Type_99"}`},
		{&mesos.TimeInfo{Nanoseconds: proto.Int64(math.MinInt64)}, `{"nanoseconds":-9223372036854775808}`},
		{&mesos.Value_Range{Begin: proto.Uint64(0), End: proto.Uint64(math.MaxUint64)}, `{"begin":0,"end":18446744073709551615}`},
		{&quotapb.QuotaConfig{Role: proto.String("r"), Limits: map[string]*mesos.Value_Scalar{
			"mem": {Value: proto.Float64(1)}, "cpus": {Value: proto.Float64(2)}, `"`: {Value: proto.Float64(3)}}},
			`{"role":"r","limits":{"\"":{"value":3.0},"cpus":{"value":2.0},"mem":{"value":1.0}}}`},
		{&schedulerpb.Call_Suppress{Roles: []string{"a", "b"}}, `{"roles":["a","b"]}`},
	} {
		if got := string(Marshal(c.m)); got != c.want {
			t.Errorf("%v\n got %s\nwant %s", c.m, got, c.want)
		}
	}
}

func TestFloats(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.0", 4: "4.0", 9999: "9999.0", 0.1: "0.1", -2.5: "-2.5",
		1795380916.179343: "1795380916.179343",
		1e20:              "100000000000000000000.0", 1e21: "1e21", 1.5e300: "1.5e300",
		1e-6: "0.000001", 1.25e-6: "0.00000125", 1e-7: "1e-7", -1.5e-9: "-1.5e-9", 5e-324: "5e-324",
		math.MaxFloat64: "1.7976931348623157e308",
		math.Inf(1):     `"Infinity"`, math.Inf(-1): `"-Infinity"`,
	} {
		if got := string(appendFloat(nil, v)); got != want {
			t.Errorf("%g: %s, want %s", v, got, want)
		}
	}
	if got := string(appendFloat(nil, math.Copysign(0, -1))); got != "-0.0" {
		t.Errorf("minus zero: %s", got)
	}
	if got := string(appendFloat(nil, math.NaN())); got != "null" {
		t.Errorf("NaN: %s", got)
	}
}

func TestDecoding(t *testing.T) {
	subscribe := &schedulerpb.Call{
		Type: schedulerpb.Call_SUBSCRIBE.Enum(),
		Subscribe: &schedulerpb.Call_Subscribe{FrameworkInfo: &mesos.FrameworkInfo{
			User: proto.String("root"), Name: proto.String("example"),
			FailoverTimeout: proto.Float64(3600000), Checkpoint: proto.Bool(true), Role: proto.String("*"),
			Capabilities: []*mesos.FrameworkInfo_Capability{{Type: mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT.Enum()}},
		}},
	}
	for name, c := range map[string]struct {
		in   string
		want proto.Message
	}{
		"mesos-go's subscribe": {`{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"example","failover_timeout":3.6e+06,"checkpoint":true,"role":"*","capabilities":[{"type":"RESERVATION_REFINEMENT"}],"offer_filters":null}}}`, subscribe},
		"white space":          {" \t\r\n{ \"refuse_seconds\" :\n1 } ", &mesos.Filters{RefuseSeconds: proto.Float64(1)}},
		"all nulls":            {`{"type":null,"accept":null,"framework_id":null}`, &schedulerpb.Call{}},
		"nulls in arrays":      {`{"roles":[null,"a",null]}`, &schedulerpb.Call_Suppress{Roles: []string{"a"}}},
		"unknown fields": {`{"x":{"a":[1,{"b":null}],"c":"\u00e9"},"y":[[]],"z":-1.5e3,"roles":["a"],"t":true,"f":false}`,
			&schedulerpb.Call_Suppress{Roles: []string{"a"}}},
		"single value for repeated": {`{"roles":"a"}`, &schedulerpb.Call_Suppress{Roles: []string{"a"}}},
		"arrays in arrays":          {`{"roles":[["a"],["b",["c"]]]}`, &schedulerpb.Call_Suppress{Roles: []string{"a", "b", "c"}}},
		"empty array":               {`{"roles":[]}`, &schedulerpb.Call_Suppress{}},
		"number in a string":        {`{"refuse_seconds":" 1.5e1 "}`, &mesos.Filters{RefuseSeconds: proto.Float64(15)}},
		"infinity":                  {`{"refuse_seconds":"-Infinity"}`, &mesos.Filters{RefuseSeconds: proto.Float64(math.Inf(-1))}},
		"boolean in a string":       {`{"shell":"false"}`, &mesos.CommandInfo{Shell: proto.Bool(false)}},
		"integer with a fraction":   {`{"nanoseconds":-3.9}`, &mesos.TimeInfo{Nanoseconds: proto.Int64(-3)}},
		"integer with an exponent":  {`{"nanoseconds":12e3}`, &mesos.TimeInfo{Nanoseconds: proto.Int64(12000)}},
		"greatest integers":         {`{"begin":18446744073709551615,"end":"1e3"}`, &mesos.Value_Range{Begin: proto.Uint64(math.MaxUint64), End: proto.Uint64(1000)}},
		"unknown enum, optional":    {`{"type":"NO_SUCH_CALL"}`, &schedulerpb.Call{}},
		"duplicate keys":            {`{"roles":["a"],"roles":["b"]}`, &schedulerpb.Call_Suppress{Roles: []string{"b"}}},
		"duplicate key, then null":  {`{"refuse_seconds":1,"refuse_seconds":null}`, &mesos.Filters{}},
		"duplicate message": {`{"decline":{"filters":{"refuse_seconds":1}},"decline":{"offer_ids":[{"value":"o"}]}}`,
			&schedulerpb.Call{Decline: &schedulerpb.Call_Decline{OfferIds: []*mesos.OfferID{{Value: proto.String("o")}}}}},
		"escapes":            {`{"value":"\"\\\/\b\f\n\r\t\u20AC\ud83D\uDE00é"}`, &mesos.TaskID{Value: proto.String("\"\\/\b\f\n\r\t€😀é")}},
		"escaped field name": {`{"v\u0061lue":"x"}`, &mesos.TaskID{Value: proto.String("x")}},
		"base64 without padding, with space": {`{"agent_id":{"value":"a"},"executor_id":{"value":"e"},"data":"+/ 8\nA+w"}`,
			&schedulerpb.Call_Message{AgentId: &mesos.AgentID{Value: proto.String("a")}, ExecutorId: &mesos.ExecutorID{Value: proto.String("e")}, Data: []byte{0xfb, 0xff, 0, 0xfb}}},
		"map": {`{"role":"r","limits":{"cpus":{"value":1},"mem":{"value":"2"}}}`,
			&quotapb.QuotaConfig{Role: proto.String("r"), Limits: map[string]*mesos.Value_Scalar{"cpus": {Value: proto.Float64(1)}, "mem": {Value: proto.Float64(2)}}}},
		"map with a null": {`{"role_constraints":{"a":null}}`,
			&schedulerpb.OfferConstraints{RoleConstraints: map[string]*schedulerpb.OfferConstraints_RoleConstraints{"a": {}}}},
	} {
		in := c.in
		if name == "base64 without padding, with space" {
			in = strings.ReplaceAll(in, "\n", `\n`)
		}
		got := c.want.ProtoReflect().New().Interface()
		if err := Unmarshal([]byte(in), got); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !proto.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestDecodingErrors(t *testing.T) {
	deep := func(n int, open, shut string) string { return strings.Repeat(open, n) + strings.Repeat(shut, n) }
	for _, c := range []struct {
		m                proto.Message
		in, path, reason string
	}{
		{new(schedulerpb.Call), ``, "", "the end of the text"},
		{new(schedulerpb.Call), `null`, "", "a JSON object was expected, found null"},
		{new(schedulerpb.Call), `[{}]`, "", "found an array"},
		{new(schedulerpb.Call), `{} {}`, "", "an object follows"},
		{new(schedulerpb.Call), `{"type"`, "", "':' was expected"},
		{new(schedulerpb.Call), `{"type":}`, "type", "a name of enum Type was expected, found '}'"},
		{new(schedulerpb.Call), `{"type":"KILL"`, "", "',' or '}' was expected"},
		{new(schedulerpb.Call), `{"type":"KILL",}`, "", "a quoted field name was expected"},
		{new(schedulerpb.Call), `{type:"KILL"}`, "", "a quoted field name was expected, found a boolean"},
		{new(schedulerpb.Call), `{"type":6}`, "type", "a name of enum Type was expected, found a number"},
		{new(schedulerpb.Call), `{"type":true}`, "type", "found a boolean"},
		{new(schedulerpb.Call), `{"decline":"x"}`, "decline", "an object was expected, found a string"},
		{new(schedulerpb.Call), `{"decline":[{}]}`, "decline", "an object was expected, found an array"},
		{new(schedulerpb.Call), `{"kill":{}}`, "kill.task_id", "required field is missing"},
		{new(schedulerpb.Call), `{"kill":{"task_id":null}}`, "kill.task_id", "required field is missing"},
		{new(schedulerpb.Call), `{"accept":{"offer_ids":[{"value":"a"},{}]}}`, "accept.offer_ids[1].value", "required field is missing"},
		{new(schedulerpb.Call), `{"accept":{"offer_ids":[{"value":"a"},3]}}`, "accept.offer_ids[1]", "an object was expected, found a number"},
		{new(schedulerpb.Call), `{"accept":{"filters":{"refuse_seconds":"soon"}}}`, "accept.filters.refuse_seconds", `a number was expected, found the string "soon"`},
		{new(mesos.Filters), `{"refuse_seconds":1e400}`, "refuse_seconds", "does not fit into double"},
		{new(mesos.Filters), `{"refuse_seconds":"NaN"}`, "refuse_seconds", "a number was expected"},
		{new(mesos.Filters), `{"refuse_seconds":01}`, "", "',' or '}' was expected"},
		{new(mesos.Filters), `{"refuse_seconds":1.}`, "refuse_seconds", "not a JSON number"},
		{new(mesos.Filters), `{"refuse_seconds":-}`, "refuse_seconds", "not a JSON number"},
		{new(mesos.Filters), `{"refuse_seconds":+1}`, "refuse_seconds", "found '+'"},
		{new(mesos.Filters), `{"refuse_seconds":nul}`, "refuse_seconds", "a value was expected"},
		{new(mesos.TimeInfo), `{"nanoseconds":9223372036854775808}`, "nanoseconds", "does not fit into int64"},
		{new(mesos.Value_Range), `{"begin":-1,"end":1}`, "begin", "does not fit into uint64"},
		{new(mesos.Value_Range), `{"begin":1,"end":18446744073709551616}`, "end", "does not fit into uint64"},
		{new(mesos.CommandInfo), `{"shell":"yes"}`, "shell", "true or false was expected"},
		{new(mesos.CommandInfo), `{"shell":1}`, "shell", "true or false was expected, found a number"},
		{new(mesos.TaskID), `{"value":5}`, "value", "a string was expected, found a number"},
		{new(mesos.TaskID), `{"value":"a`, "value", "the text ends inside a string"},
		{new(mesos.TaskID), `{"value":"a\`, "value", "the text ends inside a string"},
		{new(mesos.TaskID), `{"value":"a\n` + "\n" + `"}`, "value", "control characters"},
		{new(mesos.TaskID), "{\"value\":\"\xff\"}", "value", "not valid UTF-8"},
		{new(mesos.TaskID), "{\"value\":\"\\n\xff\"}", "value", "not valid UTF-8"},
		{new(mesos.TaskID), `{"value":"\x41"}`, "value", "unknown escape"},
		{new(mesos.TaskID), `{"value":"\u12"}`, "value", "four hexadecimal digits"},
		{new(mesos.TaskID), `{"value":"\ud800"}`, "value", "surrogate pair"},
		{new(mesos.TaskID), `{"value":"\ud800\u0041"}`, "value", "surrogate pair"},
		{new(schedulerpb.Call_Acknowledge), `{"uuid":"a-_b"}`, "uuid", "not base64"},
		{new(mesos.Resource), `{"name":"cpus","type":"SCALER"}`, "type", `"SCALER" is not a value of enum Type`},
		{new(quotapb.QuotaConfig), `{"role":"r","limits":{"cpus":{}}}`, `limits["cpus"].value`, "required field is missing"},
		{new(quotapb.QuotaConfig), `{"role":"r","limits":{"cpus":null}}`, `limits["cpus"].value`, "required field is missing"},
		{new(quotapb.QuotaConfig), `{"role":"r","limits":[]}`, `limits`, "an object was expected, found an array"},
		{new(schedulerpb.Call), `{"x":` + deep(64, "[", "]") + `}`, "", "nested deeper than 64 levels"},
		{new(schedulerpb.Call), `{"x":` + deep(100000, `{"a":`, "}") + `}`, "", "nested deeper than 64 levels"},
		{new(schedulerpb.Call_Suppress), `{"roles":` + strings.Repeat("[", 100000), "", "nested deeper than 64 levels"},
		{new(mesos.ContainerID), strings.Repeat(`{"value":"a","parent":`, 100000), "", "nested deeper than 64 levels"},
	} {
		err := Unmarshal([]byte(c.in), c.m)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%.60s: no error", c.in)
			continue
		}
		if !strings.Contains(e.Reason, c.reason) || c.path != "" && e.Path != c.path {
			t.Errorf("%.60s:\n got %q: %q\nwant %q: …%q…", c.in, e.Path, e.Reason, c.path, c.reason)
		}
		if e.Offset < 0 || e.Offset > len(c.in) {
			t.Errorf("%.60s: offset %d", c.in, e.Offset)
		}
	}
	if err := Unmarshal([]byte(`{"x":`+deep(63, "[", "]")+`}`), new(schedulerpb.Call)); err != nil {
		t.Errorf("64 levels: %v", err)
	}
}

func TestCheckRequired(t *testing.T) {
	full := &schedulerpb.Call{Accept: &schedulerpb.Call_Accept{OfferIds: []*mesos.OfferID{{Value: proto.String("o")}}}}
	if err := CheckRequired(full); err != nil {
		t.Errorf("complete message: %v", err)
	}
	for _, c := range []struct {
		m    proto.Message
		want string
	}{
		{&mesos.TaskID{}, "value: required field is missing"},
		{&schedulerpb.Call{Kill: &schedulerpb.Call_Kill{}}, "kill.task_id: required field is missing"},
		{&schedulerpb.Call{Accept: &schedulerpb.Call_Accept{OfferIds: []*mesos.OfferID{{Value: proto.String("o")}, {}}}},
			"accept.offer_ids[1].value: required field is missing"},
		{&quotapb.QuotaConfig{Role: proto.String("r"), Limits: map[string]*mesos.Value_Scalar{"x": {Value: proto.Float64(1)}, "b": {}}},
			`limits["b"].value: required field is missing`},
	} {
		if err := CheckRequired(c.m); err == nil || err.Error() != c.want {
			t.Errorf("%v: %v, want %s", c.m, err, c.want)
		}
	}
}

// TestSkippedTextIsCheckedToo: what nobody asks for is refused for the same reasons as what
// somebody does, though nothing is made of it.
func TestSkippedTextIsCheckedToo(t *testing.T) {
	for text, good := range map[string]bool{
		`a\n\u00e9\ud83d\ude00\"\\é`: true, "\xff": false, "\\n\xff": false, "\xc3\\n\xa9": false, "\\n\xc3": false,
		`\x`: false, `\u12`: false, `\ud83d`: false, "\\n\x01": false, `\n\`: false,
	} {
		var m mesos.ContainerID
		read := Unmarshal([]byte(`{"value":"`+text+`"}`), &m)
		skipped := Unmarshal([]byte(`{"value":"","x":["`+text+`"]}`), &m)
		if (read == nil) != good || (skipped == nil) != good {
			t.Errorf("%q: read %v, skipped %v", text, read, skipped)
		}
	}
}
