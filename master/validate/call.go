package validate

import (
	"errors"
	"fmt"

	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
)

// MaxFrameworkMessage bounds MESSAGE's data, in bytes; Mesos has no bound.
const MaxFrameworkMessage = 8 << 20

// Call checks the form of a scheduler call (Mesos 1.11, src/master/validation.cpp): its error is the body
// of a 400. Required fields are there, or it would not have been decoded. A type this version does not know
// passes, and is answered 501 later.
func Call(c *schedulerpb.Call) error {
	if c.Type == nil {
		return errors.New("Expecting 'type' to be present")
	}
	if c.GetType() == schedulerpb.Call_SUBSCRIBE {
		return subscribe(c)
	}
	if c.GetFrameworkId().GetValue() == "" {
		return errors.New("Expecting 'framework_id' to be present")
	}
	field, present := body(c)
	if !present {
		return fmt.Errorf("Expecting '%s' to be present", field)
	}
	switch c.GetType() {
	case schedulerpb.Call_ACKNOWLEDGE:
		return acknowledgements(c)
	case schedulerpb.Call_ACKNOWLEDGE_OPERATION_STATUS:
		a := c.AcknowledgeOperationStatus
		if a.AgentId == nil {
			return errors.New("'acknowledge_operation_status.agent_id' must be set")
		}
		return wrap("'acknowledge_operation_status.uuid'", UUID(a.Uuid))
	case schedulerpb.Call_UPDATE_FRAMEWORK:
		if c.FrameworkId.GetValue() != c.UpdateFramework.FrameworkInfo.GetId().GetValue() {
			return errors.New("'framework_id' differs from 'update_framework.framework_info.id'")
		}
	case schedulerpb.Call_MESSAGE:
		if n := len(c.Message.Data); n > MaxFrameworkMessage {
			return fmt.Errorf("'message.data' has %d bytes; at most %d are forwarded", n, MaxFrameworkMessage)
		}
	case schedulerpb.Call_KILL:
		return wrap("'kill.kill_policy'", killPolicy(c.Kill.KillPolicy))
	}
	return nil
}

// acknowledgements refuses a call with one that no agent could have asked for.
func acknowledgements(c *schedulerpb.Call) error {
	if n := len(c.Acknowledgements); n > schedulerpb.MaxAcknowledgements {
		return fmt.Errorf("'acknowledgements' has %d elements; at most %d are taken", n, schedulerpb.MaxAcknowledgements)
	}
	if c.Acknowledge != nil {
		if err := UUID(c.Acknowledge.Uuid); err != nil {
			return wrap("'acknowledge.uuid'", err)
		}
	}
	for i, a := range c.Acknowledgements {
		if err := UUID(a.Uuid); err != nil {
			return wrap(fmt.Sprintf("'acknowledgements[%d].uuid'", i), err)
		}
	}
	return nil
}

func subscribe(c *schedulerpb.Call) error {
	if c.Subscribe == nil {
		return errors.New("Expecting 'subscribe' to be present")
	}
	if c.Subscribe.FrameworkInfo.GetId().GetValue() != c.FrameworkId.GetValue() {
		return errors.New("'framework_id' differs from 'subscribe.framework_info.id'")
	}
	return nil
}

// body names the field a call of this type needs, and whether it is there.
func body(c *schedulerpb.Call) (field string, present bool) {
	switch c.GetType() {
	case schedulerpb.Call_ACCEPT:
		return "accept", c.Accept != nil
	case schedulerpb.Call_DECLINE:
		return "decline", c.Decline != nil
	case schedulerpb.Call_ACCEPT_INVERSE_OFFERS:
		return "accept_inverse_offers", c.AcceptInverseOffers != nil
	case schedulerpb.Call_DECLINE_INVERSE_OFFERS:
		return "decline_inverse_offers", c.DeclineInverseOffers != nil
	case schedulerpb.Call_KILL:
		return "kill", c.Kill != nil
	case schedulerpb.Call_SHUTDOWN:
		return "shutdown", c.Shutdown != nil
	case schedulerpb.Call_ACKNOWLEDGE:
		return "acknowledge", c.Acknowledge != nil || len(c.Acknowledgements) > 0
	case schedulerpb.Call_ACKNOWLEDGE_OPERATION_STATUS:
		return "acknowledge_operation_status", c.AcknowledgeOperationStatus != nil
	case schedulerpb.Call_RECONCILE:
		return "reconcile", c.Reconcile != nil
	case schedulerpb.Call_RECONCILE_OPERATIONS:
		return "reconcile_operations", c.ReconcileOperations != nil
	case schedulerpb.Call_MESSAGE:
		return "message", c.Message != nil
	case schedulerpb.Call_REQUEST:
		return "request", c.Request != nil
	case schedulerpb.Call_UPDATE_FRAMEWORK:
		return "update_framework", c.UpdateFramework != nil
	default: // TEARDOWN, REVIVE, SUPPRESS and UNKNOWN need none
		return "", true
	}
}

// Principal checks that a SUBSCRIBE or UPDATE_FRAMEWORK does not claim another principal
// than the connection authenticated as; "" means that nobody authenticated.
func Principal(c *schedulerpb.Call, principal string) error {
	if principal == "" {
		return nil
	}
	info := c.GetSubscribe().GetFrameworkInfo()
	if c.GetType() == schedulerpb.Call_UPDATE_FRAMEWORK {
		info = c.GetUpdateFramework().GetFrameworkInfo()
	}
	if info == nil || info.Principal == nil || info.GetPrincipal() == principal {
		return nil
	}
	return fmt.Errorf("authenticated as principal '%s', but FrameworkInfo.principal is '%s'", principal, info.GetPrincipal())
}
