package state

import (
	"fmt"

	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/master/validate"
	"google.golang.org/protobuf/proto"
)

// updateFramework is UPDATE_FRAMEWORK (Mesos 1.11, docs/scheduler-http-api.md): synchronous, and everything it
// names replaces what was.
func (m *Master) updateFramework(token Token, f *framework, call *schedulerpb.Call_UpdateFramework) {
	info := call.GetFrameworkInfo()
	if err := m.checkFramework(info, call.SuppressedRoles, call.OfferConstraints); err != nil {
		m.answer(token, 400, fmt.Sprintf("'UpdateFramework' call is not valid: %v", err))
		return
	}
	if err := validate.FrameworkUpdate(f.info, info); err != nil {
		m.answer(token, 400, fmt.Sprintf("FrameworkInfo update is not valid: %v", err))
		return
	}
	changed := !proto.Equal(f.info, info)
	m.update(f, info, call.SuppressedRoles, call.OfferConstraints)
	if changed {
		m.persistFramework(f, 0)
		m.tellAgents(f)
	}
	m.answer(token, 200, "")
}
