package check

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"google.golang.org/protobuf/proto"
)

// Type says how a target is asked.
type Type uint8

const (
	Command Type = iota // by a command in the task's container
	HTTP                // by a GET
	HTTPS               // the same; certificates are not verified
	TCP                 // by connecting
)

// Target is what is asked.
type Target struct {
	Type Type
	// Command, in the task's namespaces, cgroup, environment and sandbox and as its user.
	Command *mesos.CommandInfo
	// Address of the others, a literal.
	Address string
	Port    uint32
	Path    string // begins with a slash
	// Timeout after which it has failed; 0 is never.
	Timeout time.Duration
	// Outside asks as Marathon's leader does: redirects are not followed, and for HTTP and
	// HTTPS the timeout is how long nothing may come. Without, as curl -L with a time limit.
	Outside bool
	// Ignore1xx makes an answer of 100 to 199 no result.
	Ignore1xx bool
}

// Result is how it went. The zero value is exit code 0, or a refused connection.
type Result struct {
	// None says that nothing is known, and nothing follows.
	None bool
	// Error says why the check could not be performed to its end, "" if it was.
	Error string
	// Code is the exit code or the status code.
	Code int32
	// Connected is TCP's result.
	Connected bool
	// Output is the last of what a command wrote, or why a connection was refused.
	Output string
}

const (
	loopback4 = "127.0.0.1"
	loopback6 = "::1"

	// maxCause bounds the bytes of a cause.
	maxCause = 256
)

// OfHealth is the plan of a HealthCheck.
func OfHealth(h *mesos.HealthCheck) Plan {
	p := Plan{
		Kind: Health, Delay: seconds(h.GetDelaySeconds()), Interval: seconds(h.GetIntervalSeconds()),
		Grace: seconds(h.GetGracePeriodSeconds()), Failures: h.GetConsecutiveFailures(),
		Target: Target{Timeout: seconds(h.GetTimeoutSeconds())},
	}
	t := &p.Target
	switch h.GetType() {
	case mesos.HealthCheck_COMMAND:
		t.Type, t.Command = Command, h.GetCommand()
	case mesos.HealthCheck_HTTP:
		t.Type, t.Port, t.Path = HTTP, h.GetHttp().GetPort(), slash(h.GetHttp().GetPath())
		if h.GetHttp().GetScheme() == "https" {
			t.Type = HTTPS
		}
		t.Address = loopback(h.GetHttp().GetProtocol())
	default:
		t.Type, t.Port, t.Address = TCP, h.GetTcp().GetPort(), loopback(h.GetTcp().GetProtocol())
	}
	return p
}

// OfCheck is the plan of a CheckInfo.
func OfCheck(c *mesos.CheckInfo) Plan {
	p := Plan{
		Kind: Status, Delay: seconds(c.GetDelaySeconds()), Interval: seconds(c.GetIntervalSeconds()),
		Target: Target{Timeout: seconds(c.GetTimeoutSeconds()), Address: loopback4},
	}
	t := &p.Target
	switch c.GetType() {
	case mesos.CheckInfo_COMMAND:
		t.Type, t.Command = Command, c.GetCommand().GetCommand()
	case mesos.CheckInfo_HTTP:
		t.Type, t.Port, t.Path = HTTP, c.GetHttp().GetPort(), slash(c.GetHttp().GetPath())
	default:
		t.Type, t.Port = TCP, c.GetTcp().GetPort()
	}
	return p
}

// OfProbe is the plan of a Probe of a task at address.
func OfProbe(b *mesos.Probe, address string) Plan {
	p := Plan{
		Kind: Outside, Index: b.GetIndex(), Interval: max(seconds(b.GetIntervalSeconds()), minInterval), Grace: seconds(b.GetGracePeriodSeconds()),
		Target: Target{
			Type: HTTP, Address: address, Port: b.GetPort(), Path: slash(b.GetPath()), Timeout: seconds(b.GetTimeoutSeconds()),
			Outside: true, Ignore1xx: b.GetIgnoreHttp_1Xx(),
		},
	}
	if p.Target.Timeout == 0 {
		p.Target.Timeout = p.Interval
	}
	p.Delay = min(p.Interval, firstProbe)
	switch b.GetProtocol() {
	case mesos.Probe_HTTPS:
		p.Target.Type = HTTPS
	case mesos.Probe_TCP:
		p.Target.Type = TCP
	}
	if ip, err := netip.ParseAddr(address); err == nil && ip.Is4() != (b.GetIpProtocol() == mesos.NetworkInfo_IPv4) {
		p.Target.Address = "" // package probe says so at every probe
	}
	return p
}

func loopback(p mesos.NetworkInfo_Protocol) string {
	if p == mesos.NetworkInfo_IPv6 {
		return loopback6
	}
	return loopback4
}

func slash(path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	return "/" + path
}

// seconds turns what the master has validated into a duration; absurd lengths become a
// century.
func seconds(s float64) time.Duration {
	const century = 100 * 365 * 24 * time.Hour
	if !(s > 0) {
		return 0
	}
	return time.Duration(math.Min(s*float64(time.Second), float64(century)))
}

// Failure is why a result is not a success, "" if it is one.
func (r Result) Failure(t Type) string {
	switch {
	case r.Error != "":
		return cause(r.Error)
	case t == Command && r.Code != 0:
		return cause(with(fmt.Sprintf("the command exited with status %d", r.Code), r.Output))
	case (t == HTTP || t == HTTPS) && (r.Code < 200 || r.Code >= 400):
		return cause(fmt.Sprintf("the answer was HTTP status %d", r.Code))
	case t == TCP && !r.Connected:
		return cause(with("no connection", r.Output))
	}
	return ""
}

func with(text, output string) string {
	if output = strings.TrimSpace(output); output == "" {
		return text
	}
	return text + ": " + output
}

// cause is text that a protocol buffer can hold, bounded.
func cause(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxCause {
		return text
	}
	n := maxCause - len("…")
	for !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}

// Empty is a status without a result.
func Empty(t Type) *mesos.CheckStatusInfo {
	switch t {
	case Command:
		return &mesos.CheckStatusInfo{Type: mesos.CheckInfo_COMMAND.Enum(), Command: &mesos.CheckStatusInfo_Command{}}
	case TCP:
		return &mesos.CheckStatusInfo{Type: mesos.CheckInfo_TCP.Enum(), Tcp: &mesos.CheckStatusInfo_Tcp{}}
	}
	return &mesos.CheckStatusInfo{Type: mesos.CheckInfo_HTTP.Enum(), Http: &mesos.CheckStatusInfo_Http{}}
}

// info is a result as a status; one that could not be had is an empty one (as Mesos 1.11).
func (r Result) info(t Type) *mesos.CheckStatusInfo {
	s := Empty(t)
	switch {
	case r.Error != "":
	case t == Command:
		s.Command.ExitCode = proto.Int32(r.Code)
	case t == TCP:
		s.Tcp.Succeeded = proto.Bool(r.Connected)
	default:
		s.Http.StatusCode = proto.Uint32(uint32(r.Code))
	}
	return s
}
