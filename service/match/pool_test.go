package match_test

import (
	"testing"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
)

func TestShare(t *testing.T) {
	describe := func(change func(*instance.Agent)) *instance.Agent {
		h := &instance.Agent{ID: "s-h", Host: "h", Attributes: map[string]string{"rack": "a"}}
		if change != nil {
			change(h)
		}
		return h
	}
	for name, one := range map[string]struct {
		known *instance.Agent
		same  bool
	}{
		"none":              {nil, false},
		"the same":          {describe(nil), true},
		"another":           {describe(func(h *instance.Agent) { h.ID = "s-g" }), false},
		"moved":             {describe(func(h *instance.Agent) { h.Host = "g" }), false},
		"in another region": {describe(func(h *instance.Agent) { h.Region = "eu" }), false},
		"in another rack":   {describe(func(h *instance.Agent) { h.Attributes["rack"] = "b" }), false},
	} {
		p := pool(t, attributes(t, offer(t, "h", machine, "dev"), "rack:a"))
		p.Share(one.known)
		if got := p.Host() == one.known; got != one.same {
			t.Errorf("%s: %v", name, got)
		}
		if p.Role() != "dev" || p.Empty() {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestAllows(t *testing.T) {
	h := pool(t, attributes(t, offer(t, "h", machine, "dev"), "rack:a")).Host()
	for _, one := range []struct {
		constraint []string
		want       bool
	}{
		{nil, true},
		{[]string{"rack", "LIKE", "a|b"}, true},
		{[]string{"rack", "LIKE", "b"}, false},
		{[]string{"rack", "UNIQUE"}, true},
		{[]string{"zone", "UNIQUE"}, false},
	} {
		a := app(func(a *marathon.App) { a.Constraints = [][]string{one.constraint} })
		if got := match.Allows(a, h); got != one.want {
			t.Errorf("%v: %v", one.constraint, got)
		}
	}
}
