package match

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/service/instance"
)

// Refusal is why one offer does not fit one app.
type Refusal struct {
	// Reason is the first that applies, in the order of the funnel.
	Reason Reason
	// Lacks is how far the offer is from fitting, for naming the nearest agents: the
	// largest share that is missing of anything needed, above 0 and at most 1. What no
	// larger offer could mend counts as 1.
	Lacks float64
	refusal
}

// refusal is what the words are made of. Most refusals are only counted, so nothing is
// put into words before somebody asks; all of it is a copy or never changes.
type refusal struct {
	all   reasons
	shape *shape
	host  *instance.Agent
	need  *[scalars]resource.Milli
	have  [scalars]resource.Milli
	// ports that are there, and the first fixed one that is not.
	ports uint64
	port  int
	// bad is the first rule in the way, -1 if it is the home region; tally is what it saw.
	bad   int
	tally seen
	// offered is the role of the offer, wanted that of the instance; home the service's
	// region.
	offered, wanted, home string
	// holds is where the instance's reservation is, if not here.
	holds *instance.Agent
	// volume is the persistent volume for which there is no disk.
	volume int
}

// reasons is a set, a bit for each of Reasons.
type reasons uint16

func bit(one Reason) reasons { return 1 << slices.Index(Reasons, one) }

// Bits of the reasons.
var (
	noRole        = bit(UnfulfilledRole)
	noConstraint  = bit(UnfulfilledConstraint)
	noReservation = bit(NoCorrespondingReservationFound)
	inMaintenance = bit(AgentMaintenance)
	noPorts       = bit(InsufficientPorts)
	scarce        = bit(DeclinedScarceResources)
	unable        = bit(NoCapability)

	short = [scalars]reasons{
		cpus: bit(InsufficientCpus), mem: bit(InsufficientMemory),
		disk: bit(InsufficientDisk), gpus: bit(InsufficientGpus),
	}
)

func (r reasons) list() []Reason {
	var all []Reason
	for i, one := range Reasons {
		if r&(1<<i) != 0 {
			all = append(all, one)
		}
	}
	return all
}

// finish makes a Refusal of what was found.
func (r *refusal) finish() *Refusal {
	out := &Refusal{refusal: *r}
	for i, one := range Reasons {
		if r.all&(1<<i) != 0 {
			out.Reason = one
			break
		}
	}
	mend := noPorts
	for i, one := range short {
		mend |= one
		if r.all&one != 0 && r.need[i] > r.have[i] {
			out.Lacks = max(out.Lacks, float64(r.need[i]-r.have[i])/float64(r.need[i]))
		}
	}
	if r.all&noPorts != 0 {
		if n := r.shape.ports(); r.port == 0 {
			out.Lacks = max(out.Lacks, float64(n-int(r.ports))/float64(n))
		} else {
			out.Lacks = 1
		}
	}
	if r.all&^mend != 0 || r.volume >= 0 {
		out.Lacks = 1
	}
	return out
}

// All reasons that apply, in the order of the funnel.
func (r Refusal) All() []Reason { return r.all.list() }

// Text says it in words, with names and numbers: "4 cpus needed, 1.5 offered".
func (r Refusal) Text() string {
	var parts []string
	for _, one := range r.All() {
		parts = append(parts, r.text(one))
	}
	return strings.Join(parts, "; ")
}

func (r *refusal) text(one Reason) string {
	switch one {
	case UnfulfilledRole:
		return r.roleText()
	case UnfulfilledConstraint:
		if r.bad < 0 {
			return fmt.Sprintf("the agent is in region %q; without a constraint on @region or @zone the app stays in %q", r.host.Region, r.home)
		}
		return r.shape.rules[r.bad].why(r.host, &r.tally)
	case NoCorrespondingReservationFound:
		if r.holds != nil {
			return "its reservation and volumes are on " + r.holds.Host
		}
		return "its reservation and volumes are not in the offer"
	case AgentMaintenance:
		return "the agent is in a maintenance window, or about to be"
	case InsufficientCpus:
		return r.amounts("cpus", cpus)
	case InsufficientMemory:
		return r.amounts("MiB of memory", mem)
	case InsufficientDisk:
		if r.volume >= 0 {
			return r.shape.volumes[r.volume].why()
		}
		return r.amounts("MiB of disk", disk)
	case InsufficientGpus:
		return r.amounts("gpus", gpus)
	case InsufficientPorts:
		if r.port != 0 {
			return "port " + strconv.Itoa(r.port) + " is not in the offer"
		}
		return fmt.Sprintf("%d ports needed, %d offered", r.shape.ports(), r.ports)
	case DeclinedScarceResources:
		return "the agent's GPUs are kept for apps that need some"
	}
	return r.shape.capability + " is not supported by any agent of this version"
}

func (r *refusal) roleText() string {
	s := r.shape
	switch {
	case r.offered != "" && r.offered != r.wanted:
		return fmt.Sprintf("offered to role %s, the app's role is %s", r.offered, r.wanted)
	case s.resident && s.role == "*":
		return "nothing can be reserved for role *, and the app has persistent volumes: give it a role"
	case s.resident && !s.star:
		return `volumes are made of unreserved resources, which acceptedResourceRoles leaves out: add "*"`
	case !s.star:
		return fmt.Sprintf("nothing in the offer is reserved for role %s, and acceptedResourceRoles leaves out the rest", s.role)
	}
	return `everything in the offer is reserved, and acceptedResourceRoles takes only what is not: add "` + s.role + `"`
}

func (r *refusal) amounts(what string, i int) string {
	return fmt.Sprintf("%v %s needed, %v offered", r.need[i], what, r.have[i])
}
