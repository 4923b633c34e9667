package constraint

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
)

func parse(t *testing.T, groups string) *schedulerpb.OfferConstraints {
	t.Helper()
	c := new(schedulerpb.OfferConstraints)
	if err := prototext.Unmarshal([]byte(`role_constraints { key: "web" value { `+groups+` } }`), c); err != nil {
		t.Fatal(err)
	}
	return c
}

// one is a group with one constraint.
func one(selector, predicate string) string {
	return fmt.Sprintf(`groups { attribute_constraints { selector { %s } predicate { %s } } }`, selector, predicate)
}

var (
	text = func(name, v string) *mesos.Attribute {
		return &mesos.Attribute{Name: &name, Type: mesos.Value_TEXT.Enum(), Text: &mesos.Value_Text{Value: &v}}
	}
	scalar = func(name string, v float64) *mesos.Attribute {
		return &mesos.Attribute{Name: &name, Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: &v}}
	}
	domain = &mesos.DomainInfo{FaultDomain: &mesos.DomainInfo_FaultDomain{
		Region: &mesos.DomainInfo_FaultDomain_RegionInfo{Name: proto.String("eu")},
		Zone:   &mesos.DomainInfo_FaultDomain_ZoneInfo{Name: proto.String("eu-1")},
	}}
)

func TestAdmits(t *testing.T) {
	attributes := []*mesos.Attribute{text("rack", "r1"), text("rack", "r2"), scalar("level", 3), text("os", "linux\nx")}
	rack, level, none := `attribute_name: "rack"`, `attribute_name: "level"`, `attribute_name: "none"`
	host, region, zone := `pseudoattribute_type: HOSTNAME`, `pseudoattribute_type: REGION`, `pseudoattribute_type: ZONE`
	is, not := `text_equals { value: %q }`, `text_not_equals { value: %q }`
	like, unlike := `text_matches { regex: %q }`, `text_not_matches { regex: %q }`
	with := func(format, v string) string { return fmt.Sprintf(format, v) }
	for _, c := range []struct {
		groups string
		domain *mesos.DomainInfo
		want   bool
	}{
		{one(rack, `exists {}`), nil, true},
		{one(none, `exists {}`), nil, false},
		{one(rack, `not_exists {}`), nil, false},
		{one(none, `not_exists {}`), nil, true},
		{one(level, `exists {}`), nil, true},
		{one(rack, with(is, "r1")), nil, true},
		{one(rack, with(is, "r2")), nil, false}, // only the first of a name counts
		{one(rack, with(not, "r1")), nil, false},
		{one(rack, with(not, "r2")), nil, true},
		{one(rack, with(like, "r[0-9]")), nil, true},
		{one(rack, with(like, "r")), nil, false}, // the whole value
		{one(rack, with(like, "1")), nil, false},
		{one(rack, with(like, "x|r1")), nil, true},
		{one(rack, with(like, `\Qr1`)), nil, true},
		{one(rack, with(like, "(?i)R1")), nil, true},
		{one(rack, with(unlike, "r[0-9]")), nil, false},
		{one(rack, with(unlike, "r")), nil, true},
		{one(`attribute_name: "os"`, with(like, "linux")), nil, false}, // $ is the end, not a line's
		{one(`attribute_name: "os"`, with(like, "linux.x")), nil, false},
		{one(`attribute_name: "os"`, with(like, "(?s)linux.x")), nil, true},
		// An attribute that is not text satisfies all predicates on text.
		{one(level, with(is, "x")), nil, true},
		{one(level, with(not, "3")), nil, true},
		{one(level, with(like, "x")), nil, true},
		{one(level, with(unlike, ".*")), nil, true},
		// One that is missing satisfies the negative ones.
		{one(none, with(is, "x")), nil, false},
		{one(none, with(not, "x")), nil, true},
		{one(none, with(like, ".*")), nil, false},
		{one(none, with(unlike, ".*")), nil, true},
		{one(host, with(is, "node-1")), nil, true},
		{one(host, with(unlike, "node-.*")), nil, false},
		{one(region, with(is, "eu")), domain, true},
		{one(region, with(is, "eu")), nil, false},
		{one(region, `not_exists {}`), nil, true},
		{one(zone, with(like, "eu-[12]")), domain, true},
		{one(zone, with(not, "eu-1")), domain, false},
		{one(zone, with(not, "eu-1")), nil, true},
		// Groups are alternatives, constraints of a group conditions.
		{one(none, `exists {}`) + one(rack, `exists {}`), nil, true},
		{`groups { attribute_constraints { selector { ` + rack + ` } predicate { exists {} } }
		  attribute_constraints { selector { ` + none + ` } predicate { exists {} } } }`, nil, false},
		// Many "is not" of one selector.
		{`groups { attribute_constraints { selector { ` + host + ` } predicate { text_not_equals { value: "a" } } }
		  attribute_constraints { selector { ` + host + ` } predicate { text_not_equals { value: "node-1" } } }
		  attribute_constraints { selector { ` + rack + ` } predicate { text_not_equals { value: "b" } } } }`, nil, false},
		{`groups { attribute_constraints { selector { ` + host + ` } predicate { text_not_equals { value: "a" } } }
		  attribute_constraints { selector { ` + host + ` } predicate { text_not_equals { value: "r1" } } }
		  attribute_constraints { selector { ` + rack + ` } predicate { text_not_equals { value: "node-1" } } } }`, nil, true},
	} {
		set, err := Compile(parse(t, c.groups), []string{"web"})
		if err != nil {
			t.Errorf("%s: %v", c.groups, err)
			continue
		}
		if got := set.Role("web").Admits("node-1", c.domain, attributes); got != c.want {
			t.Errorf("%s: admits is %t", c.groups, got)
		}
		if set.Role("other") != nil {
			t.Errorf("%s: constrains another role", c.groups)
		}
	}
	if Nowhere.Admits("node-1", nil, nil) {
		t.Error("Nowhere admits an agent")
	}
}

func TestNoConstraints(t *testing.T) {
	set, err := Compile(nil, nil)
	if err != nil || set.Role("web") != nil {
		t.Errorf("no constraints are %v, %v", set, err)
	}
}

func TestRefusals(t *testing.T) {
	rack := `attribute_name: "rack"`
	long := strings.Repeat("a", MaxPattern+1)
	for _, c := range []struct{ groups, want string }{
		{``, `offer_constraints.role_constraints["web"].groups: empty`},
		{`groups {}`, `offer_constraints.role_constraints["web"].groups[0].attribute_constraints: empty`},
		{one(rack, `exists {}`) + `groups { attribute_constraints { selector {} predicate { exists {} } } }`,
			`offer_constraints.role_constraints["web"].groups[1].attribute_constraints[0].selector: exactly one`},
		{one(`pseudoattribute_type: UNKNOWN`, `exists {}`), `.selector.pseudoattribute_type: unknown`},
		{one(rack, ``), `.predicate: of no known type`},
		{one(rack, `text_matches { regex: "a)(b" }`), `.predicate.text_matches.regex: "a)(b": `},
		{one(rack, `text_not_matches { regex: "(" }`), `.predicate.text_not_matches.regex: "(": `},
		{one(rack, `text_matches { regex: "(?<=a)b" }`), `.predicate.text_matches.regex: "(?<=a)b": `},
		{one(rack, `text_matches { regex: "a{200}" }`), `too complex: a program of`},
		{one(rack, `text_matches { regex: "((a{100}){100}){100}" }`), `.predicate.text_matches.regex: `},
		{one(rack, `text_matches { regex: "`+long+`" }`), `4097 bytes are too long`},
	} {
		_, err := Compile(parse(t, c.groups), []string{"web"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.200s: %v, want %s", c.groups, err, c.want)
		}
	}
	_, err := Compile(parse(t, one(rack, `exists {}`)), []string{"db"})
	if err == nil || !strings.Contains(err.Error(), `role_constraints["web"]: the framework is not subscribed`) {
		t.Errorf("a role that is not the framework's: %v", err)
	}
	many := parse(t, one(rack, `exists {}`))
	g := many.RoleConstraints["web"].Groups[0]
	for range MaxConstraints {
		g.AttributeConstraints = append(g.AttributeConstraints, g.AttributeConstraints[0])
	}
	if _, err := Compile(many, []string{"web"}); err == nil || !strings.Contains(err.Error(), "more than 100000") {
		t.Errorf("too many constraints: %v", err)
	}
}
