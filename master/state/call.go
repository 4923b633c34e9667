package state

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/role"
)

var errRemoved = errors.New("Framework has been removed")

func rolesError(roles []string) error {
	slices.Sort(roles)
	return fmt.Errorf("the roles { %s } are not among the master's --roles", strings.Join(roles, ", "))
}

// call is any scheduler call but SUBSCRIBE: the status codes of Mesos 1.11, src/master/http.cpp and scheduler-http-api.md, from the check for the framework
// on, then the verb. 202 says received; what is wrong with the content comes as events.
func (m *Master) call(in Call) {
	f, status, message := m.caller(in)
	if f == nil {
		m.answer(in.Token, status, message)
		return
	}
	c := in.Call
	switch c.GetType() {
	case schedulerpb.Call_TEARDOWN:
		m.removeFramework(f)
	case schedulerpb.Call_ACCEPT:
		m.accept(f, c.GetAccept())
	case schedulerpb.Call_DECLINE:
		m.decline(f, c.GetDecline())
	case schedulerpb.Call_REVIVE:
		m.revive(f, c.GetRevive().GetRoles())
	case schedulerpb.Call_SUPPRESS:
		m.suppress(f, c.GetSuppress().GetRoles())
	case schedulerpb.Call_KILL:
		m.kill(f, c.GetKill())
	case schedulerpb.Call_SHUTDOWN:
		m.shutdownExecutor(f, c.GetShutdown())
	case schedulerpb.Call_ACKNOWLEDGE:
		if c.Acknowledge != nil {
			m.acknowledge(f, c.Acknowledge)
		}
		for _, a := range c.Acknowledgements {
			m.acknowledge(f, a)
		}
	case schedulerpb.Call_ACKNOWLEDGE_OPERATION_STATUS:
		m.acknowledgeOperation(f, c.GetAcknowledgeOperationStatus())
	case schedulerpb.Call_RECONCILE:
		m.reconcile(f, c.GetReconcile().GetTasks())
	case schedulerpb.Call_RECONCILE_OPERATIONS:
		m.reconcileOperations(f, c.GetReconcileOperations().GetOperations())
	case schedulerpb.Call_MESSAGE:
		m.message(f, c.GetMessage())
	case schedulerpb.Call_UPDATE_FRAMEWORK:
		m.updateFramework(in.Token, f, c.GetUpdateFramework())
		return
	case schedulerpb.Call_REQUEST,
		// The allocator ignores requests, as Mesos's hierarchical one does; inverse
		// offers are not made yet, so that every answer to one names none.
		schedulerpb.Call_ACCEPT_INVERSE_OFFERS,
		schedulerpb.Call_DECLINE_INVERSE_OFFERS:
	default:
		m.answer(in.Token, 501, fmt.Sprintf("call type %d is not implemented", c.GetType()))
		return
	}
	m.answer(in.Token, 202, "")
}

// caller finds the framework a call is from, or the status that refuses it.
func (m *Master) caller(in Call) (f *framework, status int, message string) {
	f = m.frameworks[id.Framework(in.Call.GetFrameworkId().GetValue())]
	switch {
	case f == nil:
		return nil, 400, "Framework cannot be found"
	case in.Principal != "" && in.Principal != f.info.GetPrincipal():
		return nil, 400, fmt.Sprintf("authenticated as principal '%s', but the framework's principal is '%s'", in.Principal, f.info.GetPrincipal())
	case !f.connected():
		return nil, 403, "Framework is not subscribed"
	case in.Stream == "":
		return nil, 400, "All non-subscribe calls should include the 'Mesos-Stream-Id' header"
	case in.Stream != f.stream:
		return nil, 400, fmt.Sprintf("the 'Mesos-Stream-Id' of this call is not the one of framework %s's subscription; it was replaced by a newer one", f.id)
	}
	return f, 0, ""
}

// ownRoles checks the roles of REVIVE and SUPPRESS; one that is invalid or not subscribed
// drops the whole call, silently (Mesos 1.11, src/master/master.cpp). None means all.
func (f *framework) ownRoles(roles []string) (own []string, ok bool) {
	if len(roles) == 0 {
		return f.roles, true
	}
	for _, r := range roles {
		if role.Validate(r) != nil || !slices.Contains(f.roles, r) {
			return nil, false
		}
	}
	return roles, true
}

func (m *Master) revive(f *framework, roles []string) {
	own, ok := f.ownRoles(roles)
	if !ok {
		return
	}
	f.suppressed = slices.DeleteFunc(slices.Clone(f.suppressed), func(r string) bool { return slices.Contains(own, r) })
	m.alloc.Revive(f.id, sortedSet(roles))
	m.touchFramework(f)
}

func (m *Master) suppress(f *framework, roles []string) {
	own, ok := f.ownRoles(roles)
	if !ok {
		return
	}
	f.suppressed = sortedSet(append(slices.Clone(own), f.suppressed...))
	m.alloc.Suppress(f.id, sortedSet(roles))
	m.touchFramework(f)
}
