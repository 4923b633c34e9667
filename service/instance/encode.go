package instance

import (
	"strconv"
	"time"

	"github.com/stoa-kernel/stoa/api/jsontext"
)

// AppendJSON appends what encoding/json writes of an instance. There is a record of every
// step of every task.
func (i *Instance) AppendJSON(b []byte) []byte {
	b = appendText(append(b, '{'), `"id":`, i.ID)
	b = appendText(b, `,"app":`, i.App)
	b = appendText(b, `,"version":`, string(i.Version))
	b = append(b, `,"incarnation":`...)
	b = strconv.AppendInt(b, int64(i.Incarnation), 10)
	b = appendText(b, `,"goal":`, string(i.Goal))
	b = appendText(b, `,"condition":`, string(i.Condition))
	b = jsontext.Time(append(b, `,"since":`...), i.Since)
	b = given(b, `,"taskId":`, i.TaskID)
	b = given(b, `,"role":`, i.Role)
	if i.Agent != nil {
		b = i.Agent.appendJSON(append(b, `,"agent":`...))
	}
	if len(i.Ports) > 0 {
		b = jsontext.Ints(append(b, `,"ports":`...), i.Ports)
	}
	if len(i.IPAddresses) > 0 {
		b = jsontext.Value(append(b, `,"ipAddresses":`...), i.IPAddresses)
	}
	b = since(b, `,"stagedAt":`, i.StagedAt)
	b = since(b, `,"startedAt":`, i.StartedAt)
	b = given(b, `,"taskState":`, i.TaskState)
	for n := range i.Health {
		if n == 0 {
			b = append(b, `,"health":[`...)
		} else {
			b = append(b, ',')
		}
		if b = i.Health[n].appendJSON(b); n == len(i.Health)-1 {
			b = append(b, ']')
		}
	}
	if i.CheckResult != nil {
		b = jsontext.Value(append(b, `,"checkResult":`...), i.CheckResult)
	}
	b = flag(b, `,"ready":true`, i.Ready)
	if len(i.Readiness) > 0 {
		b = jsontext.Value(append(b, `,"readiness":`...), i.Readiness)
	}
	b = flag(b, `,"preview":true`, i.Preview)
	b = since(b, `,"drainUntil":`, i.DrainUntil)
	b = since(b, `,"killingSince":`, i.KillingSince)
	if i.Drain != nil {
		b = strconv.AppendInt(append(b, `,"drain":`...), int64(*i.Drain), 10)
	}
	if i.Reservation != nil {
		b = jsontext.Value(append(b, `,"reservation":`...), i.Reservation)
	}
	return append(flag(b, `,"wipe":true`, i.Wipe), '}')
}

func (a *Agent) appendJSON(b []byte) []byte {
	b = appendText(append(b, '{'), `"id":`, a.ID)
	b = appendText(b, `,"host":`, a.Host)
	b = given(b, `,"region":`, a.Region)
	b = given(b, `,"zone":`, a.Zone)
	if len(a.Attributes) > 0 {
		b = jsontext.Value(append(b, `,"attributes":`...), a.Attributes)
	}
	return append(b, '}')
}

func (h *Health) appendJSON(b []byte) []byte {
	start := len(b)
	b = flag(b, `,"known":true`, h.Known)
	b = flag(b, `,"alive":true`, h.Alive)
	b = count(b, `,"consecutiveFailures":`, h.ConsecutiveFailures)
	b = count(b, `,"ignored":`, h.Ignored)
	b = since(b, `,"firstSuccess":`, h.FirstSuccess)
	b = since(b, `,"lastSuccess":`, h.LastSuccess)
	b = since(b, `,"lastFailure":`, h.LastFailure)
	b = given(b, `,"lastFailureCause":`, h.LastFailureCause)
	if len(b) == start {
		return append(b, "{}"...)
	}
	b[start] = '{' // in place of the first comma
	return append(b, '}')
}

func appendText(b []byte, name, value string) []byte {
	return jsontext.String(append(b, name...), value)
}

// given, flag, since and count leave out what is not set.
func given(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendText(b, name, value)
}

func flag(b []byte, name string, set bool) []byte {
	if !set {
		return b
	}
	return append(b, name...)
}

func since(b []byte, name string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return jsontext.Time(append(b, name...), t)
}

func count(b []byte, name string, n int) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(append(b, name...), int64(n), 10)
}
