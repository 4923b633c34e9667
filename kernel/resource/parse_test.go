package resource

import (
	"math"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, text, role, want string }{
		{"empty", "", "*", "{}"},
		{"only separators", ";; ;", "*", "{}"},
		{"order is ours", "ports:[31000-32000];disk:10;mem:1024;cpus:45.55", "*", "cpus:45.55; mem:1024; disk:10; ports:[31000-32000]"},
		{"spaces", " cpus : 4 ; mem:1 024", "*", "cpus:4; mem:1024"},
		{"zeros vanish", "cpus:0;mem:0.0;ports:[];bugs:{}", "*", "{}"},
		{"same name adds", "cpus:1;cpus:2", "*", "cpus:3"},
		{"three digits", "cpus:1.0006", "*", "cpus:1.001"},
		{"exponent", "cpus:1e-1;mem:1E3", "*", "cpus:0.1; mem:1000"},
		{"ranges", "ports:[10000-20000, 30000-50000]", "*", "ports:[10000-20000, 30000-50000]"},
		{"ranges touch", "ports:[1-2,4-5,3-3]", "*", "ports:[1-5]"},
		{"ranges overlap in text", "ports:[1-10,5-20]", "*", "ports:[1-20]"},
		{"ranges of two objects", "ports:[1-10];ports:[8-20]", "*", "ports:[1-20]"},
		{"all numbers there are", "ports:[0-18446744073709551615]", "*", "ports:[0-18446744073709551615]"},
		{"set", "bugs:{c, a,b}", "*", "bugs:{a, b, c}"},
		{"role", "disk(ads):10", "*", "disk(reservations: [(STATIC,ads)]):10"},
		{"role with spaces", " cpus ( ads ) :1", "*", "cpus(reservations: [(STATIC,ads)]):1"},
		{"star as a role", "cpus(*):1", "ads", "cpus:1"},
		{"default role", "cpus:1;mem(web):2", "ads", "cpus(reservations: [(STATIC,ads)]):1; mem(reservations: [(STATIC,web)]):2"},
		{"role in a tree", "cpus(a/b):1", "*", "cpus(reservations: [(STATIC,a/b)]):1"},
		{"own names sort last", "zip:1;apple:2;cpus:3", "*", "cpus:3; apple:2; zip:1"},

		{"json", `[{"name":"cpus","type":"SCALAR","scalar":{"value":8}},
			{"name":"mem","type":"SCALAR","scalar":{"value":"512.5"},"role":"r"},
			{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":10},{"begin":"11","end":3.1e4}]}},
			{"name":"bugs","type":"SET","set":{"item":["b","a"]},"unknown":{"x":[1]},"disk":null}]`, "*",
			"cpus:8; mem(reservations: [(STATIC,r)]):512.5; ports:[1-31000]; bugs:{a, b}"},
		{"json default role", `[{"name":"cpus","type":"SCALAR","scalar":{"value":8}}]`, "d", "cpus(reservations: [(STATIC,d)]):8"},
		{"json reservations", `[{"name":"cpus","type":"SCALAR","scalar":{"value":8},"reservations":[{"type":"STATIC","role":"r"}]}]`, "d",
			"cpus(reservations: [(STATIC,r)]):8"},
		{"json big numbers", `[{"name":"p","type":"RANGES","ranges":{"range":[{"begin":18446744073709551614,"end":18446744073709551615}]}}]`, "*",
			"p:[18446744073709551614-18446744073709551615]"},
		{"json disks", `[{"name":"disk","type":"SCALAR","scalar":{"value":8},"disk":{"source":{"type":"MOUNT","mount":{"root":"/m"}}}},
			{"name":"disk","type":"SCALAR","scalar":{"value":9},"disk":{"source":{"type":"PATH","path":{"root":"/p"}}}},
			{"name":"disk","type":"SCALAR","scalar":{"value":7},"disk":{"source":{"type":"RAW","vendor":"v","id":"i","profile":"p","metadata":{"labels":[{"key":"k","value":"v"}]}}}},
			{"name":"disk","type":"SCALAR","scalar":{"value":6},"disk":{"source":{"type":"BLOCK"}},"provider_id":{"value":"x"}}]`, "*",
			"disk[PATH:/p]:9; disk[MOUNT:/m]:8; disk[BLOCK]:6; disk[RAW(v,i,p)]:7"},
		{"json empty", " [] ", "*", "{}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse(c.text, c.role)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			checkForm(t, got)
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no colon", "cpus", "not of the form"},
		{"two colons", "cpus:1:2", "not of the form"},
		{"no value", "cpus:", "empty"},
		{"no name", ":1", "needs a name"},
		{"negative", "cpus:-1", "not a number of at least 0"},
		{"infinite", "cpus:inf", "not a number"},
		{"not a number", "cpus:nan", "not a number"},
		{"hexadecimal", "cpus:0x10", "not a number"},
		{"exponent overflow", "cpus:1e400", "not a number"},
		{"too large", "cpus:1e16", "out of range"},
		{"adds up to too much", "cpus:9e14;cpus:9e14", "add up"},
		{"too small to count", "cpus:0.0004", "0.001 or more"},
		{"text", "cpus:abc", "not a number"},
		{"ranges not closed", "ports:[1-2", "brackets"},
		{"ranges without an end", "ports:[1]", "form 1-9"},
		{"ranges inverted", "ports:[2-1]", "begins after its end"},
		{"negative range", "ports:[-1-2]", "form 1-9"},
		{"range too large", "ports:[1-18446744073709551616]", "form 1-9"},
		{"nested brackets", "ports:[[1-2]]", "form 1-9"},
		{"set not closed", "bugs:{a", "brackets"},
		{"set in a set", "bugs:{a,{b}}", "brackets"},
		{"value then brackets", "bugs:a{b}", "brackets"},
		{"set with a double", "bugs:{a,a}", "twice"},
		{"parentheses", "cpus(r:1", "parentheses"},
		{"parentheses the wrong way", "cpus)r(:1", "parentheses"},
		{"behind the parentheses", "cpus(r)x:1", "parentheses"},
		{"bad role", "cpus(-r):1", "dash"},
		{"empty role", "cpus():1", "empty"},
		{"two types", "cpus:1;cpus:[1-2]", "both SCALAR and RANGES"},
		{"too long", strings.Repeat("a", maxText+1), "too many"},
		{"too many ranges", "ports:[" + strings.Repeat("1-1,", maxPieces) + "1-1]", "too long"},

		{"json syntax", `[{"name":`, "JSON"},
		{"json null entry", `[null]`, "null"},
		{"json no type", `[{"name":"cpus","scalar":{"value":1}}]`, "type is not set"},
		{"json bad type", `[{"name":"cpus","type":"FLOAT","scalar":{"value":1}}]`, "FLOAT"},
		{"json wrong value", `[{"name":"cpus","type":"RANGES","scalar":{"value":1}}]`, "exactly that value"},
		{"json no amount", `[{"name":"cpus","type":"SCALAR","scalar":{}}]`, "no value"},
		{"json amount", `[{"name":"cpus","type":"SCALAR","scalar":{"value":"many"}}]`, "not a number"},
		{"json half a range", `[{"name":"p","type":"RANGES","ranges":{"range":[{"begin":1}]}}]`, "no begin or no end"},
		{"json negative range", `[{"name":"p","type":"RANGES","ranges":{"range":[{"begin":-1,"end":2}]}}]`, "whole number"},
		{"json overlap", `[{"name":"p","type":"RANGES","ranges":{"range":[{"begin":1,"end":3},{"begin":3,"end":4}]}}]`, "overlap"},
		{"json volume", `[{"name":"disk","type":"SCALAR","scalar":{"value":1},"role":"r","disk":{"persistence":{"id":"v"},"volume":{"mode":"RW","container_path":"p"}}}]`, "made by CREATE"},
		{"json volume mode", `[{"name":"disk","type":"SCALAR","scalar":{"value":1},"disk":{"volume":{"mode":"RWX"}}}]`, "neither RW nor RO"},
		{"json volume without a path", `[{"name":"disk","type":"SCALAR","scalar":{"value":1},"disk":{"volume":{"mode":"RW"}}}]`, "container_path"},
		{"json dynamic", `[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"role":"r","reservation":{"principal":"p"}}]`, "made by RESERVE"},
		{"json revocable", `[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"revocable":{}}]`, "revocable"},
		{"json shared", `[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"shared":{}}]`, "shared"},
		{"json source", `[{"name":"disk","type":"SCALAR","scalar":{"value":1},"disk":{"source":{"type":"TAPE"}}}]`, "UNKNOWN"},
		{"json source without a type", `[{"name":"disk","type":"SCALAR","scalar":{"value":1},"disk":{"source":{}}}]`, "UNKNOWN"},
		{"json reservation type", `[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"reservations":[{"type":"LOOSE","role":"r"}]}]`, "UNKNOWN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse(c.text, "*")
			if err == nil {
				t.Fatalf("taken as %v", got)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
			if !got.Empty() {
				t.Errorf("with the error comes %v", got)
			}
		})
	}
}

func TestMilliOf(t *testing.T) {
	for _, c := range []struct {
		in   float64
		want Milli
		text string
	}{
		{0, 0, "0"},
		{math.Copysign(0, -1), 0, "0"},
		{0.001, 1, "0.001"},
		{0.0005, 1, "0.001"},
		{0.00049, 0, "0"},
		{0.1 + 0.2, 300, "0.3"},
		{1.9999, 2000, "2"},
		{9999, 9999000, "9999"},
		{-1.5, -1500, "-1.5"},
		{-0.0005, -1, "-0.001"},
		{12345.678, 12345678, "12345.678"},
		{1e15, 1e18, "1000000000000000"},
	} {
		got, err := MilliOf(c.in)
		if err != nil || got != c.want || got.String() != c.text {
			t.Errorf("MilliOf(%v) = %d %q, %v, want %d %q", c.in, got, got, err, c.want, c.text)
		}
		if again, err := MilliOf(got.Float()); err != nil || again != got {
			t.Errorf("%v as a float is %v, which is %d again, %v", got, got.Float(), again, err)
		}
	}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1.1e15, -1.1e15, math.MaxFloat64} {
		if got, err := MilliOf(v); err == nil {
			t.Errorf("MilliOf(%v) = %v, want an error", v, got)
		}
	}
	if s := Milli(math.MinInt64).String(); s != "-9223372036854775.808" {
		t.Errorf("the least amount prints as %s", s)
	}
}

func TestQuantities(t *testing.T) {
	parse := func(text string) Quantities {
		t.Helper()
		q, err := ParseQuantities(text)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	for text, want := range map[string]string{
		"":                        "{}",
		"cpus:0.01;mem:32":        "cpus:0.01; mem:32",
		" mem : 32 ; cpus:1":      "cpus:1; mem:32",
		"cpus:1;cpus:2":           "cpus:3",
		"cpus:0;mem:1":            "mem:1",
		"c p us:10":               "c p us:10",
		"gpus:3;disk:1;cpus:0.25": "cpus:0.25; disk:1; gpus:3",
	} {
		if got := parse(text).String(); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
	for _, text := range []string{"cpus", "cpus:1:2", "cpus:a", "cpus:[1-2]", "cpus:-1", ":1", "cpus:1e17", "cpus:{a}", strings.Repeat(";", maxText+1)} {
		if got, err := ParseQuantities(text); err == nil {
			t.Errorf("%.20q is taken as %v", text, got)
		}
	}

	a, b := parse("cpus:3;mem:10"), parse("cpus:1;disk:5;mem:10")
	for what, c := range map[string][2]string{
		"a+b":     {a.Add(b).String(), "cpus:4; disk:5; mem:20"},
		"b+a":     {b.Add(a).String(), "cpus:4; disk:5; mem:20"},
		"a-b":     {a.Sub(b).String(), "cpus:2"},
		"b-a":     {b.Sub(a).String(), "disk:5"},
		"set":     {a.Set("disk", 0).Set("cpus", 1).String(), "cpus:0.001; disk:0; mem:10"},
		"a still": {a.String(), "cpus:3; mem:10"},
		"proto":   {mustQuantities(t, a.Set("x", 0)).String(), "cpus:3; mem:10; x:0"},
	} {
		if c[0] != c[1] {
			t.Errorf("%s is %s, want %s", what, c[0], c[1])
		}
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"cpus:1", "", true}, {"", "cpus:1", false}, {"cpus:1", "cpus:1", true}, {"cpus:1", "cpus:1.001", false},
		{"cpus:1;mem:1", "mem:1", true}, {"cpus:1", "mem:1", false}, {"cpus:1;mem:1", "cpus:1;disk:1", false},
	} {
		if got := parse(c.a).Contains(parse(c.b)); got != c.want {
			t.Errorf("%q contains %q: %v", c.a, c.b, got)
		}
	}
	if !parse("cpus:1").Contains(parse("cpus:1").Set("mem", 0)) {
		t.Error("an entry of 0 is not contained")
	}
	if v, ok := a.Set("disk", 0).Get("disk"); v != 0 || !ok {
		t.Errorf("an entry of 0 set reads %v, %v", v, ok)
	}
	if v, ok := a.Get("disk"); v != 0 || ok {
		t.Errorf("no entry reads %v, %v", v, ok)
	}
	big := Quantities{{"cpus", math.MaxInt64}}
	if v, _ := big.Add(parse("cpus:1")).Get("cpus"); v != math.MaxInt64 {
		t.Errorf("the sum wraps to %d", v)
	}
}

func mustQuantities(t *testing.T, q Quantities) Quantities {
	t.Helper()
	out, err := QuantitiesOf(q.Proto())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestQuantitiesOfRefuses(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), -1, 1e16} {
		m := Quantities{{"cpus", 1}}.Proto()
		m["cpus"].Value = &v
		if got, err := QuantitiesOf(m); err == nil {
			t.Errorf("%v is taken as %v", v, got)
		}
	}
	if got, err := QuantitiesOf(Quantities{{"", 1}}.Proto()); err == nil {
		t.Errorf("no name is taken as %v", got)
	}
}
