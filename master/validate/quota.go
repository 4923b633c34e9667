package validate

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	quotapb "github.com/stoa-kernel/stoa/api/mesos/v1/quota"
)

// The greatest quota: one exabyte in megabytes for mem and disk, a million millions for
// the others.
const (
	maxQuotaBytes = 1 << 40
	maxQuota      = 1_000_000_000_000
)

// Quota checks one QuotaConfig: role, amounts, and that guarantees are within limits.
func Quota(c *quotapb.QuotaConfig) error {
	if c.Role == nil {
		return errors.New("'QuotaConfig.role' must be set")
	}
	if err := Role(c.GetRole()); err != nil {
		return wrap("'QuotaConfig.role' is invalid", err)
	}
	if err := quotaAmounts(c.Guarantees); err != nil {
		return wrap("'QuotaConfig.guarantees' is invalid", err)
	}
	if err := quotaAmounts(c.Limits); err != nil {
		return wrap("'QuotaConfig.limits' is invalid", err)
	}
	names := make([]string, 0, len(c.Guarantees))
	for n := range c.Guarantees {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		if l, ok := c.Limits[n]; ok && c.Guarantees[n].GetValue() > l.GetValue() {
			return fmt.Errorf("'QuotaConfig.guarantees' has %s:%v, which is more than the limit %v", n, c.Guarantees[n].GetValue(), l.GetValue())
		}
	}
	return nil
}

func quotaAmounts(m map[string]*mesos.Value_Scalar) error {
	if name, err := quantities(m); err != nil {
		return wrap("'"+name+"'", err)
	}
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		bound := float64(maxQuota)
		if n == "mem" || n == "disk" {
			bound = maxQuotaBytes
		}
		if v := m[n].GetValue(); v > bound {
			return fmt.Errorf("'%s' is %v; more than %.0f is not supported", n, v, bound)
		}
	}
	return nil
}

// Weight checks one WeightInfo. The role is trimmed first, as Mesos does.
func Weight(w *mesos.WeightInfo) error {
	role := strings.TrimSpace(w.GetRole())
	if err := Role(role); err != nil {
		return fmt.Errorf("weight of role '%s': %w", role, err)
	}
	if v := w.GetWeight(); !(v > 0) || math.IsInf(v, 0) {
		return fmt.Errorf("weight of role '%s' is %v; it must be positive", role, v)
	}
	return nil
}
