package marathon

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/stoa-kernel/stoa/api/jsontext"
)

// EncodeEvent writes an event as JSON. The ones that every instance causes have their form
// written out, as encoding/json would write it.
func EncodeEvent(e Event) ([]byte, error) {
	var room [640]byte // enough for most, on the stack; hundreds of thousands are kept
	b := room[:0]
	switch e := e.(type) {
	case InstanceChanged:
		b = e.begin(b)
		b = text(b, `,"instanceId":`, e.InstanceID)
		b = text(b, `,"condition":`, e.Condition)
		b = text(b, `,"runSpecId":`, e.RunSpecID)
		b = text(b, `,"agentId":`, e.AgentID)
		b = text(b, `,"host":`, e.Host)
		b = text(b, `,"runSpecVersion":`, string(e.RunSpecVersion))
	case StatusUpdate:
		b = e.begin(b)
		b = text(b, `,"slaveId":`, e.SlaveID)
		b = text(b, `,"taskId":`, e.TaskID)
		b = text(b, `,"taskStatus":`, e.TaskStatus)
		b = text(b, `,"message":`, e.Message)
		b = text(b, `,"appId":`, e.AppID)
		b = text(b, `,"host":`, e.Host)
		b = append(b, `,"ipAddresses":`...)
		if e.IPAddresses != nil && len(e.IPAddresses) == 0 {
			b = append(b, "[]"...)
		} else {
			b = jsontext.Value(b, e.IPAddresses)
		}
		b = append(b, `,"ports":`...)
		b = jsontext.Ints(b, e.Ports)
		b = text(b, `,"version":`, string(e.Version))
	case HealthStatusChanged:
		b = e.begin(b)
		b = text(b, `,"appId":`, e.AppID)
		b = text(b, `,"instanceId":`, e.InstanceID)
		b = text(b, `,"taskId":`, e.TaskID)
		b = text(b, `,"version":`, string(e.Version))
		b = append(b, `,"alive":`...)
		b = strconv.AppendBool(b, e.Alive)
	case InstanceHealthChanged:
		b = e.begin(b)
		b = text(b, `,"instanceId":`, e.InstanceID)
		b = text(b, `,"runSpecId":`, e.RunSpecID)
		b = append(b, `,"healthy":`...)
		if e.Healthy == nil {
			b = append(b, "null"...)
		} else {
			b = strconv.AppendBool(b, *e.Healthy)
		}
		b = text(b, `,"runSpecVersion":`, string(e.RunSpecVersion))
	default:
		return json.Marshal(e)
	}
	return bytes.Clone(append(b, '}')), nil
}

func (e EventBase) begin(b []byte) []byte {
	b = text(b, `{"eventType":`, e.Type)
	return text(b, `,"timestamp":`, string(e.Timestamp))
}

func text(b []byte, name, value string) []byte {
	return jsontext.String(append(b, name...), value)
}
