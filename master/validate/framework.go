package validate

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/id"
)

// MaxRegex bounds the program of a regular expression in an offer constraint, in
// instructions, and MaxRegexText its text in bytes.
const (
	MaxRegex     = 100
	MaxRegexText = 4096
)

// Has reports whether the framework has a capability.
func Has(info *mesos.FrameworkInfo, c mesos.FrameworkInfo_Capability_Type) bool {
	for _, have := range info.GetCapabilities() {
		if have.GetType() == c {
			return true
		}
	}
	return false
}

// Roles returns the roles a framework subscribes to: roles with MULTI_ROLE, else the one
// role, "*" by default.
func Roles(info *mesos.FrameworkInfo) []string {
	if Has(info, mesos.FrameworkInfo_Capability_MULTI_ROLE) {
		return info.GetRoles()
	}
	return []string{info.GetRole()}
}

// Framework checks a FrameworkInfo (Mesos 1.11, docs/scheduler-http-api.md).
func Framework(info *mesos.FrameworkInfo) error {
	return first(frameworkRoles(info), frameworkID(info), offerFilters(info), failoverTimeout(info))
}

func frameworkRoles(info *mesos.FrameworkInfo) error {
	if Has(info, mesos.FrameworkInfo_Capability_MULTI_ROLE) {
		if info.Role != nil {
			return errors.New("'FrameworkInfo.role' must not be set by a framework with the capability MULTI_ROLE; use 'roles'")
		}
		var twice []string
		for i, r := range info.Roles {
			if slices.Contains(info.Roles[:i], r) {
				twice = append(twice, r)
			}
		}
		if len(twice) > 0 {
			return fmt.Errorf("'FrameworkInfo.roles' contains duplicates: %s", set(twice))
		}
		for _, r := range info.Roles {
			if err := Role(r); err != nil {
				return fmt.Errorf("'FrameworkInfo.roles' contains an invalid role: %w", err)
			}
		}
		return nil
	}
	if len(info.Roles) > 0 {
		return errors.New("'FrameworkInfo.roles' must not be set by a framework without the capability MULTI_ROLE; use 'role'")
	}
	return wrap("'FrameworkInfo.role' is invalid", Role(info.GetRole()))
}

func frameworkID(info *mesos.FrameworkInfo) error {
	if info.GetId().GetValue() == "" {
		return nil
	}
	return wrap("'FrameworkInfo.id' is invalid", id.Validate(info.Id.GetValue()))
}

func offerFilters(info *mesos.FrameworkInfo) error {
	roles := make([]string, 0, len(info.OfferFilters))
	for r := range info.OfferFilters {
		roles = append(roles, r)
	}
	slices.Sort(roles)
	for _, r := range roles {
		for _, q := range info.OfferFilters[r].GetMinAllocatableResources().GetQuantities() {
			if len(q.Quantities) == 0 {
				return fmt.Errorf("'FrameworkInfo.offer_filters' of role '%s': an entry of 'quantities' must name at least one resource", r)
			}
			if name, err := quantities(q.Quantities); err != nil {
				return fmt.Errorf("'FrameworkInfo.offer_filters' of role '%s': quantity of '%s': %w", r, name, err)
			}
		}
	}
	return nil
}

// quantities checks a map of scalars, in the order of their names.
func quantities(m map[string]*mesos.Value_Scalar) (name string, err error) {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		if err := quantity(m[n].GetValue()); err != nil {
			return n, err
		}
	}
	return "", nil
}

// failoverTimeout: the bound is what fits into nanoseconds, as Mesos's Duration.
func failoverTimeout(info *mesos.FrameworkInfo) error {
	s := info.GetFailoverTimeout()
	if math.IsNaN(s) || s < 0 || s > math.MaxInt64/1e9 {
		return fmt.Errorf("The framework failover_timeout (%v) is invalid", s)
	}
	return nil
}

// FrameworkUpdate checks that UPDATE_FRAMEWORK changes none of the fields that are fixed:
// principal, user and checkpoint.
func FrameworkUpdate(old, info *mesos.FrameworkInfo) error {
	if err := FrameworkPrincipal(old, info); err != nil {
		return err
	}
	if old.GetUser() != info.GetUser() {
		return fmt.Errorf("'FrameworkInfo.user' cannot be changed from '%s' to '%s'", old.GetUser(), info.GetUser())
	}
	if old.GetCheckpoint() != info.GetCheckpoint() {
		return fmt.Errorf("'FrameworkInfo.checkpoint' cannot be changed from %t to %t", old.GetCheckpoint(), info.GetCheckpoint())
	}
	return nil
}

// FrameworkPrincipal is the part of FrameworkUpdate that a new SUBSCRIBE must keep too.
// The old principal is not told: whoever asks may not be its owner.
func FrameworkPrincipal(old, info *mesos.FrameworkInfo) error {
	if (old.Principal == nil) != (info.Principal == nil) || old.GetPrincipal() != info.GetPrincipal() {
		return errors.New("Changing framework's principal is not allowed.")
	}
	return nil
}

// SuppressedRoles checks that only subscribed roles are suppressed.
func SuppressedRoles(roles, suppressed []string) error {
	if other := missing(suppressed, roles); len(other) > 0 {
		return fmt.Errorf("'suppressed_roles' %s are not among the framework's roles", set(other))
	}
	return nil
}

// OfferConstraints checks offer constraints against the framework's roles (Mesos 1.11, scheduler.proto, OfferConstraints).
func OfferConstraints(roles []string, c *schedulerpb.OfferConstraints) error {
	names := make([]string, 0, len(c.GetRoleConstraints()))
	for r := range c.GetRoleConstraints() {
		names = append(names, r)
	}
	slices.Sort(names)
	if other := missing(names, roles); len(other) > 0 {
		return fmt.Errorf("'offer_constraints.role_constraints' has the role '%s', which is not among the framework's roles", other[0])
	}
	for _, r := range names {
		groups := c.RoleConstraints[r].GetGroups()
		if len(groups) == 0 {
			return fmt.Errorf("'offer_constraints' of role '%s': 'groups' must not be empty", r)
		}
		for _, g := range groups {
			if len(g.GetAttributeConstraints()) == 0 {
				return fmt.Errorf("'offer_constraints' of role '%s': a group must not be empty", r)
			}
			for _, a := range g.AttributeConstraints {
				if err := attributeConstraint(a); err != nil {
					return fmt.Errorf("'offer_constraints' of role '%s': %w", r, err)
				}
			}
		}
	}
	return nil
}

func attributeConstraint(a *schedulerpb.AttributeConstraint) error {
	switch s := a.GetSelector().GetSelector().(type) {
	case *schedulerpb.AttributeConstraint_Selector_PseudoattributeType_:
		switch s.PseudoattributeType {
		case schedulerpb.AttributeConstraint_Selector_HOSTNAME,
			schedulerpb.AttributeConstraint_Selector_REGION,
			schedulerpb.AttributeConstraint_Selector_ZONE:
		default:
			return errors.New("unknown pseudoattribute type; HOSTNAME, REGION and ZONE are known")
		}
	case *schedulerpb.AttributeConstraint_Selector_AttributeName:
	default:
		return errors.New("exactly one of 'selector.attribute_name' and 'selector.pseudoattribute_type' must be set")
	}
	switch p := a.GetPredicate().GetPredicate().(type) {
	case nil:
		return errors.New("unknown predicate type")
	case *schedulerpb.AttributeConstraint_Predicate_TextMatches_:
		return constraintRegex(p.TextMatches.GetRegex())
	case *schedulerpb.AttributeConstraint_Predicate_TextNotMatches_:
		return constraintRegex(p.TextNotMatches.GetRegex())
	}
	return nil
}

func constraintRegex(text string) error {
	if len(text) > MaxRegexText {
		return fmt.Errorf("a regular expression has %d bytes; at most %d are allowed", len(text), MaxRegexText)
	}
	if _, err := regexp.Compile(text); err != nil {
		return fmt.Errorf("regular expression '%s': %w", text, err)
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return fmt.Errorf("regular expression '%s': %w", text, err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return fmt.Errorf("regular expression '%s': %w", text, err)
	}
	if n := len(program.Inst); n > MaxRegex {
		return fmt.Errorf("regular expression '%s' is too complex: its program has %d instructions, at most %d are allowed", text, n, MaxRegex)
	}
	return nil
}
