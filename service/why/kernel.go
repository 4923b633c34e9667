package why

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stoa-kernel/stoa/service/state"
)

// Kernel is what the master says of offers: why a role would not get the resources that
// an instance needs.
type Kernel struct {
	Lines []string
	Facts map[string]string
	// Failed says why there is no answer.
	Failed string
}

// Asks is what the master is to be asked for, as resources in text; "" if offers are not
// what the app waits for.
func Asks(in *Input) string {
	q := in.Queue
	if q == nil || q.Blocked != "" || in.Now.Before(q.DelayUntil) {
		return ""
	}
	var all []string
	for _, need := range in.needs() {
		all = append(all, fmt.Sprintf("%s:%g", need.name, need.amount))
	}
	return strings.Join(all, ";")
}

type need struct {
	name   string
	amount float64
}

// needs are the scalars of an instance that are not 0.
func (in *Input) needs() []need {
	all := []need{{"cpus", in.App.CPUs}, {"mem", in.App.Mem}, {"disk", in.App.Disk}, {"gpus", float64(in.App.GPUs)}}
	return slices.DeleteFunc(all, func(n need) bool { return n.amount <= 0 })
}

// unoffered explains an app that waits and has refused nothing, or whose role may not have
// what it needs; false if it is for the refused offers to explain.
func (a *answer) unoffered(q *state.Queue) bool {
	since := span(a.Now.Sub(q.Since))
	if over := a.overQuota(); len(over) > 0 {
		a.say("it waits for an offer, for %s by now, and role %s gets none: its quota is used up", since, q.Role)
		for _, text := range over {
			a.more("%s", text)
		}
		a.try("raise the limit of the role (UPDATE_QUOTA of the master's API), stop something in it, or ask for less")
		return true
	}
	if q.Unused > 0 {
		return false
	}
	a.say("it waits for an offer, and in %s none has come to role %s that did not go to another instance or app", since, q.Role)
	switch k := a.Kernel; {
	case k == nil:
	case k.Failed != "":
		a.more("the master, asked why, gives no answer: %s", k.Failed)
		a.try("look whether the master runs: stoa agents")
	default:
		for _, line := range k.Lines {
			line = strings.TrimSpace(line)
			if next, ok := strings.CutPrefix(line, "next: "); ok {
				a.try("%s", next)
			} else {
				a.more("the master says: %s", line)
			}
		}
	}
	return true
}

// overQuota is what quotas leave too little of, in words, by the master's facts
// quota.ROLE.NAME.limit and quota.ROLE.NAME.used.
func (a *answer) overQuota() []string {
	if a.Kernel == nil {
		return nil
	}
	var over []string
	for _, key := range slices.Sorted(maps.Keys(a.Kernel.Facts)) {
		text, ok := strings.CutPrefix(key, "quota.")
		text, isLimit := strings.CutSuffix(text, ".limit")
		dot := strings.LastIndexByte(text, '.') // a role's name may have dots
		if !ok || !isLimit || dot < 0 {
			continue
		}
		role, name := text[:dot], text[dot+1:]
		limit, err := strconv.ParseFloat(a.Kernel.Facts[key], 64)
		used, errUsed := strconv.ParseFloat(a.Kernel.Facts["quota."+text+".used"], 64)
		if err != nil || errUsed != nil {
			continue
		}
		for _, n := range a.needs() {
			if n.name == name && used+n.amount > limit {
				over = append(over, fmt.Sprintf("role %s may have %g %s and has %g; an instance needs %g", role, limit, name, used, n.amount))
			}
		}
	}
	return over
}
