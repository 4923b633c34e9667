package id

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/uuid"
)

func TestValidate(t *testing.T) {
	for _, good := range []string{"a", "task-1", "...", ".a", "a b", "日本", "a:b@c", strings.Repeat("x", MaxLen)} {
		if err := Validate(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		"": "empty", ".": "cannot be", "..": "cannot be", "a/b": "not allowed", `a\b`: "not allowed", "a\x00": "not allowed",
		"\n": "not allowed", "a\x1f": "not allowed", "a\x7f": "not allowed", strings.Repeat("x", MaxLen+1): "too long",
	} {
		if err := Validate(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: error %v, want one that says %q", bad, err, want)
		}
	}
}

func TestMade(t *testing.T) {
	m := "93a279d2-c078-44e9-999c-3789b2f7016a"
	for got, want := range map[string]string{
		string(NewFramework(m, 0)):     m + "-0000",
		string(NewFramework(m, 1)):     m + "-0001",
		string(NewFramework(m, 12345)): m + "-12345",
		string(NewAgent(m, 0)):         m + "-S0",
		string(NewOffer(m, 17)):        m + "-O17",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if err := Validate(got); err != nil {
			t.Error(err)
		}
	}
}

func TestUUID(t *testing.T) {
	r, again := rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(1, 2))
	seen := map[UUID]bool{{}: true}
	for range 100 {
		u := NewUUID(r)
		if u != NewUUID(again) {
			t.Fatal("the same seed gives another uuid")
		}
		if seen[u] || u.Zero() {
			t.Fatalf("%v comes twice", u)
		}
		seen[u] = true
		std := uuid.UUID(u)
		if std.Version() != 4 || std.Variant() != uuid.RFC4122 || std.String() != u.String() {
			t.Fatalf("%v is %v, version %v, variant %v", u, std, std.Version(), std.Variant())
		}
		parsed, err := ParseUUID(strings.ToUpper(u.String()))
		if err != nil || parsed != u {
			t.Fatalf("%v is read as %v, %v", u, parsed, err)
		}
		wire, err := UUIDFrom(u.Bytes())
		if err != nil || wire != u || !bytes.Equal(u.Bytes(), u[:]) {
			t.Fatalf("%v on the wire is %v, %v", u, wire, err)
		}
	}
	if !(UUID{}).Zero() {
		t.Error("the zero value is not none")
	}
	for _, bad := range []string{"", "93a279d2", "93a279d2-c078-44e9-999c-3789b2f7016", "93a279d2-c078-44e9-999c-3789b2f7016aa",
		"93a279d2-c078-44e9-999c-3789b2f7016g", "93a279d2c078-44e9--999c-3789b2f7016a", "{3a279d2-c078-44e9-999c-3789b2f7016}"} {
		if u, err := ParseUUID(bad); err == nil {
			t.Errorf("%q is read as %v", bad, u)
		}
	}
	for _, n := range []int{0, 15, 17} {
		if u, err := UUIDFrom(make([]byte, n)); err == nil {
			t.Errorf("%d bytes are read as %v", n, u)
		}
	}
}

func FuzzParseUUID(f *testing.F) {
	f.Add("93a279d2-c078-44e9-999c-3789b2f7016a")
	f.Fuzz(func(t *testing.T, s string) {
		if u, err := ParseUUID(s); err == nil && u.String() != strings.ToLower(s) {
			t.Errorf("%q is read as %v", s, u)
		}
	})
}
