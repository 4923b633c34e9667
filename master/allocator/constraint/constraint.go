// Package constraint evaluates offer constraints: what a framework demands of an
// agent's hostname, region, zone and attributes before it is offered anything of it, as
// Mesos 1.11 (docs/offer-constraints.md, src/master/allocator/mesos/
// offer_constraints_filter.cpp).
package constraint

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
)

const (
	// MaxProgram bounds a compiled expression, in instructions (Mesos:
	// --offer_constraints_re2_max_program_size, 100).
	MaxProgram = 100
	// MaxPattern bounds an expression's text, in bytes. Mesos bounds the memory of the
	// compiled one (--offer_constraints_re2_max_mem, 4096 B) instead.
	MaxPattern = 4096
	// MaxConstraints bounds the attribute constraints of a framework over all roles and
	// groups. Mesos has no bound; a hostile framework could stop the master.
	MaxConstraints = 100_000
)

// Set is the compiled constraints of a framework. The nil set constrains nothing.
type Set struct{ roles map[string]*Role }

// Role is the constraints for one role: an agent is admitted if it satisfies all
// constraints of at least one group.
type Role struct{ groups []group }

// Nowhere admits no agent.
var Nowhere = new(Role)

// Role is the constraints for role, nil if it has none.
func (s *Set) Role(role string) *Role {
	if s == nil {
		return nil
	}
	return s.roles[role]
}

// Compile checks and compiles the constraints of a framework subscribed to roles. The
// error names the path of the offending field. Regular expressions have RE2's syntax
// and must match the whole value.
func Compile(c *schedulerpb.OfferConstraints, roles []string) (*Set, error) {
	if c == nil {
		return nil, nil
	}
	s := &Set{roles: map[string]*Role{}}
	n := 0
	for _, role := range slices.Sorted(maps.Keys(c.GetRoleConstraints())) {
		path := "offer_constraints.role_constraints[" + strconv.Quote(role) + "]"
		if !slices.Contains(roles, role) {
			return nil, fmt.Errorf("%s: the framework is not subscribed to this role", path)
		}
		groups := c.GetRoleConstraints()[role].GetGroups()
		if len(groups) == 0 {
			return nil, fmt.Errorf("%s.groups: empty: leave the role out to constrain nothing", path)
		}
		r := new(Role)
		for i, g := range groups {
			path := fmt.Sprintf("%s.groups[%d].attribute_constraints", path, i)
			if len(g.GetAttributeConstraints()) == 0 {
				return nil, fmt.Errorf("%s: empty: a group needs at least one constraint", path)
			}
			if n += len(g.GetAttributeConstraints()); n > MaxConstraints {
				return nil, fmt.Errorf("offer_constraints: more than %d attribute constraints", MaxConstraints)
			}
			var compiled group
			for j, ac := range g.GetAttributeConstraints() {
				sel, pred, err := compile(ac)
				if err != nil {
					return nil, fmt.Errorf("%s[%d].%w", path, j, err)
				}
				compiled.add(sel, pred)
			}
			r.groups = append(r.groups, compiled)
		}
		s.roles[role] = r
	}
	return s, nil
}

// selector is what of an agent a constraint looks at.
type selector struct {
	pseudo schedulerpb.AttributeConstraint_Selector_PseudoattributeType
	name   string // of an attribute, if pseudo is UNKNOWN
}

type verb uint8

const (
	exists verb = iota
	notExists
	equals
	notEquals
	matches
	notMatches
)

type predicate struct {
	verb  verb
	value string
	regex *regexp.Regexp
}

func compile(ac *schedulerpb.AttributeConstraint) (selector, predicate, error) {
	var s selector
	switch sel := ac.GetSelector().GetSelector().(type) {
	case *schedulerpb.AttributeConstraint_Selector_AttributeName:
		s.name = sel.AttributeName
	case *schedulerpb.AttributeConstraint_Selector_PseudoattributeType_:
		switch sel.PseudoattributeType {
		case schedulerpb.AttributeConstraint_Selector_HOSTNAME,
			schedulerpb.AttributeConstraint_Selector_REGION,
			schedulerpb.AttributeConstraint_Selector_ZONE:
			s.pseudo = sel.PseudoattributeType
		default:
			return s, predicate{}, errors.New("selector.pseudoattribute_type: unknown: use HOSTNAME, REGION or ZONE")
		}
	default:
		return s, predicate{}, errors.New("selector: exactly one of attribute_name and pseudoattribute_type must be set")
	}
	switch p := ac.GetPredicate().GetPredicate().(type) {
	case *schedulerpb.AttributeConstraint_Predicate_Exists_:
		return s, predicate{verb: exists}, nil
	case *schedulerpb.AttributeConstraint_Predicate_NotExists_:
		return s, predicate{verb: notExists}, nil
	case *schedulerpb.AttributeConstraint_Predicate_TextEquals_:
		return s, predicate{verb: equals, value: p.TextEquals.GetValue()}, nil
	case *schedulerpb.AttributeConstraint_Predicate_TextNotEquals_:
		return s, predicate{verb: notEquals, value: p.TextNotEquals.GetValue()}, nil
	case *schedulerpb.AttributeConstraint_Predicate_TextMatches_:
		re, err := expression(p.TextMatches.GetRegex())
		if err != nil {
			return s, predicate{}, fmt.Errorf("predicate.text_matches.regex: %w", err)
		}
		return s, predicate{verb: matches, regex: re}, nil
	case *schedulerpb.AttributeConstraint_Predicate_TextNotMatches_:
		re, err := expression(p.TextNotMatches.GetRegex())
		if err != nil {
			return s, predicate{}, fmt.Errorf("predicate.text_not_matches.regex: %w", err)
		}
		return s, predicate{verb: notMatches, regex: re}, nil
	}
	return s, predicate{}, errors.New("predicate: of no known type: set one of exists, not_exists, text_equals, " +
		"text_not_equals, text_matches and text_not_matches")
}

// expression compiles a pattern that must match a whole value.
func expression(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > MaxPattern {
		return nil, fmt.Errorf("%d bytes are too long: at most %d", len(pattern), MaxPattern)
	}
	// Alone first: "a)(b" must not become valid by what is put around it.
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", pattern, err)
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, fmt.Errorf("%q: %w", pattern, err)
	}
	if len(prog.Inst) > MaxProgram {
		return nil, fmt.Errorf("%q is too complex: a program of %d instructions, at most %d are allowed",
			pattern, len(prog.Inst), MaxProgram)
	}
	re, err := regexp.Compile(`^(?:` + parsed.String() + `)$`)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", pattern, err)
	}
	return re, nil
}

// group is constraints that must all hold. Marathon's UNIQUE becomes one
// "hostname is not X" for each instance, so what must not be equal is kept as a set.
type group struct {
	rest []rule
	not  []unequal
}

type rule struct {
	selector
	predicate
}

type unequal struct {
	selector
	values map[string]bool
}

func (g *group) add(s selector, p predicate) {
	if p.verb != notEquals {
		g.rest = append(g.rest, rule{s, p})
		return
	}
	for i := range g.not {
		if g.not[i].selector == s {
			g.not[i].values[p.value] = true
			return
		}
	}
	g.not = append(g.not, unequal{s, map[string]bool{p.value: true}})
}

// Admits reports whether the framework may be offered resources of an agent.
func (r *Role) Admits(hostname string, domain *mesos.DomainInfo, attributes []*mesos.Attribute) bool {
	return slices.ContainsFunc(r.groups, func(g group) bool { return g.holds(hostname, domain, attributes) })
}

func (g *group) holds(hostname string, domain *mesos.DomainInfo, attributes []*mesos.Attribute) bool {
	for i := range g.rest {
		if !g.rest[i].holds(g.rest[i].of(hostname, domain, attributes)) {
			return false
		}
	}
	for i := range g.not {
		if v := g.not[i].of(hostname, domain, attributes); v.text && g.not[i].values[v.value] {
			return false
		}
	}
	return true
}

// value is what a selector found.
type value struct {
	there bool
	text  bool
	value string
}

// of selects. Of several attributes with one name only the first counts (as Mesos).
func (s selector) of(hostname string, domain *mesos.DomainInfo, attributes []*mesos.Attribute) value {
	fault := domain.GetFaultDomain()
	switch s.pseudo {
	case schedulerpb.AttributeConstraint_Selector_HOSTNAME:
		return value{true, true, hostname}
	case schedulerpb.AttributeConstraint_Selector_REGION:
		return value{fault != nil, fault != nil, fault.GetRegion().GetName()}
	case schedulerpb.AttributeConstraint_Selector_ZONE:
		return value{fault != nil, fault != nil, fault.GetZone().GetName()}
	}
	for _, a := range attributes {
		if a.GetName() == s.name {
			return value{true, a.GetType() == mesos.Value_TEXT, a.GetText().GetValue()}
		}
	}
	return value{}
}

// holds applies a predicate. An attribute that is not text satisfies every predicate on
// text, the negative ones too; one that is missing only the negative ones (as Mesos).
func (p predicate) holds(v value) bool {
	switch p.verb {
	case exists:
		return v.there
	case notExists:
		return !v.there
	}
	negative := p.verb == notEquals || p.verb == notMatches
	switch {
	case !v.there:
		return negative
	case !v.text:
		return true
	case p.regex != nil:
		return p.regex.MatchString(v.value) != negative
	}
	return (v.value == p.value) != negative
}
