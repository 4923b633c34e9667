package attribute

import (
	"strings"
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"each kind", "rack:abc;zone:west;os:centos5,full;level:10;keys:[1000-1500]", "rack:abc;zone:west;os:centos5,full;level:10;keys:[1000-1500]"},
		{"newlines", "rack:abc\nlevel:10.5\n", "rack:abc;level:10.5"},
		{"spaces", " rack : a b ; level: 10 ", "rack:ab;level:10"},
		{"names repeat", "rack:a;rack:b", "rack:a;rack:b"},
		{"colons in the value", "url:http://x:80/", "url:http://x:80/"},
		{"numbers that are none", "a:-5;b:inf;c:1.2.3;d:0x10", "a:-5;b:inf;c:1.2.3;d:0x10"},
		{"ranges coalesce", "keys:[5-6,1-4]", "keys:[1-6]"},
		{"parentheses", "os:linux(debian)", "os:linux(debian)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			if s := String(got); s != c.want {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
			again, err := Parse(String(got))
			if err != nil || !Equal(got, again) {
				t.Errorf("%q is read as %v, %v", String(got), again, err)
			}
		})
	}
	for text, want := range map[string]string{
		"rack": "name:value", ":abc": "name:value", "rack:": "empty", "set:{a,b}": "SET is not supported",
		"keys:[1-2": "brackets", "keys:[3-1]": "begins after", "x:a[b]": "brackets",
		strings.Repeat("a", maxText+1):           "too many",
		strings.Repeat("a:b;", maxCount) + "c:d": "at most",
	} {
		if got, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, error %v, want one that says %q", text, got, err, want)
		}
	}
}

func TestGetAndText(t *testing.T) {
	all, err := Parse("rack:a;level:10.125;rack:b;keys:[1-2,5-6]")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"rack": "a", "level": "10.125", "keys": "[1-2, 5-6]"} {
		if got := Text(Get(all, name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if Get(all, "zone") != nil {
		t.Error("something is found under a name that is not there")
	}
	huge := 1e300
	if got := Text(&mesos.Attribute{Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: &huge}}); got != "1e+300" {
		t.Errorf("a huge scalar is %q", got)
	}
	if got := Text(&mesos.Attribute{Type: mesos.Value_SET.Enum(), Set: &mesos.Value_Set{Item: []string{"a", "b"}}}); got != "{a, b}" {
		t.Errorf("a set is %q", got)
	}
}

func TestValidate(t *testing.T) {
	name, begin, end := "a", uint64(2), uint64(1)
	text := &mesos.Value_Text{Value: &name}
	for want, a := range map[string]*mesos.Attribute{
		"needs a name":     {Type: mesos.Value_TEXT.Enum(), Text: text},
		"has no type":      {Name: &name, Text: text},
		"not supported":    {Name: &name, Type: mesos.Value_SET.Enum(), Set: &mesos.Value_Set{}},
		"type is SCALAR":   {Name: &name, Type: mesos.Value_SCALAR.Enum(), Text: text},
		"type is RANGES":   {Name: &name, Type: mesos.Value_RANGES.Enum(), Text: text},
		"type is TEXT":     {Name: &name, Type: mesos.Value_TEXT.Enum()},
		"begins after its": {Name: &name, Type: mesos.Value_RANGES.Enum(), Ranges: &mesos.Value_Ranges{Range: []*mesos.Value_Range{{Begin: &begin, End: &end}}}},
	} {
		if err := Validate(a); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want one that says %q", a, err, want)
		}
	}
	if err := Validate(&mesos.Attribute{Name: &name, Type: mesos.Value_TEXT.Enum(), Text: text}); err != nil {
		t.Error(err)
	}
}

func TestEqual(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"", "", true}, {"a:b;c:1", "c:1;a:b", true}, {"a:b", "a:c", false}, {"a:b", "a:b;c:1", false}, {"a:1", "a:1.0", true}, {"a:x;a:x", "a:x", true},
	} {
		a, err := Parse(c.a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Parse(c.b)
		if err != nil {
			t.Fatal(err)
		}
		if Equal(a, b) != c.want {
			t.Errorf("%q and %q equal: %v", c.a, c.b, !c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("rack:abc;zone:west;level:10;keys:[1000-1500]")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Parse(text)
		if err != nil {
			return
		}
		for _, a := range all {
			if err := Validate(a); err != nil {
				t.Fatal(err)
			}
			if Get(all, a.GetName()) == nil {
				t.Fatalf("%q is not found", a.GetName())
			}
		}
		again, err := Parse(String(all))
		if err != nil || len(again) != len(all) {
			t.Fatalf("%q is read as %v, %v", String(all), again, err)
		}
	})
}
