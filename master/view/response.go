package view

import (
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	quotapb "github.com/stoa-kernel/stoa/api/mesos/v1/quota"
	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/master/state"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// element is one message of a repeated field: a fragment, or something made for one
// answer.
type element interface {
	append(b []byte, c codec.Codec) ([]byte, error)
	length() int
}

type made struct{ m proto.Message }

func (e made) append(b []byte, c codec.Codec) ([]byte, error) { return c.Append(b, e.m) }
func (e made) length() int                                    { return proto.Size(e.m) }

// part is a field of a response: a message of parts, or a list of elements. JSON shows
// empty lists, as Mesos does in these answers.
type part struct {
	field protoreflect.FieldDescriptor
	parts []*part
	each  iter.Seq[element]
	size  int // of the content in protobuf, once measured
}

// of finds the field by name in the message that d describes: a name that does not
// exist is a mistake in this file.
func of(d protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	f := d.Fields().ByName(protoreflect.Name(name))
	if f == nil {
		panic(fmt.Sprintf("%s has no field %q", d.FullName(), name))
	}
	return f
}

func object(field protoreflect.FieldDescriptor, parts ...*part) *part {
	return &part{field: field, parts: parts}
}

func elements[E element](field protoreflect.FieldDescriptor, seq iter.Seq[E]) *part {
	return &part{field: field, each: func(yield func(element) bool) {
		for e := range seq {
			if !yield(e) {
				return
			}
		}
	}}
}

func messages[M proto.Message](field protoreflect.FieldDescriptor, list []M) *part {
	return &part{field: field, each: func(yield func(element) bool) {
		for _, m := range list {
			if !yield(made{m}) {
				return
			}
		}
	}}
}

// measure sets size; what is nested stands behind its tag and length.
func (p *part) measure() int {
	p.size = 0
	tag := protowire.SizeTag(p.field.Number())
	if p.each != nil {
		for e := range p.each {
			p.size += tag + protowire.SizeBytes(e.length())
		}
		return p.size
	}
	for _, q := range p.parts {
		n := q.measure()
		if q.each == nil {
			n = protowire.SizeTag(q.field.Number()) + protowire.SizeBytes(n)
		}
		p.size += n
	}
	return p.size
}

// writer collects small pieces.
type writer struct {
	w   io.Writer
	b   []byte
	err error
}

const flushAt = 32 << 10

func (w *writer) flush() {
	if w.err == nil && len(w.b) > 0 {
		_, w.err = w.w.Write(w.b)
	}
	w.b = w.b[:0]
}

func (w *writer) text(s string) { w.b = append(w.b, s...) }

func (w *writer) element(e element, c codec.Codec) {
	if w.err != nil {
		return
	}
	b, err := e.append(w.b, c)
	if err != nil {
		w.err = err
		return
	}
	if w.b = b; len(b) >= flushAt {
		w.flush()
	}
}

func (p *part) json(w *writer) {
	w.text(`"` + string(p.field.Name()) + `":`)
	if p.each == nil {
		w.text("{")
		for i, q := range p.parts {
			if i > 0 {
				w.text(",")
			}
			q.json(w)
		}
		w.text("}")
		return
	}
	w.text("[")
	first := true
	for e := range p.each {
		if w.err != nil {
			return
		}
		if !first {
			w.text(",")
		}
		first = false
		w.element(e, codec.JSON)
	}
	w.text("]")
}

func (p *part) protobuf(w *writer) {
	if p.each == nil {
		w.b = protowire.AppendTag(w.b, p.field.Number(), protowire.BytesType)
		w.b = protowire.AppendVarint(w.b, uint64(p.size))
		for _, q := range p.parts {
			q.protobuf(w)
		}
		return
	}
	for e := range p.each {
		if w.err != nil {
			return
		}
		w.b = protowire.AppendTag(w.b, p.field.Number(), protowire.BytesType)
		w.b = protowire.AppendVarint(w.b, uint64(e.length()))
		w.element(e, codec.Protobuf)
	}
}

// respond writes a Response of the type with one field.
func respond(out io.Writer, c codec.Codec, kind masterpb.Response_Type, p *part) error {
	w := &writer{w: out, b: make([]byte, 0, flushAt+flushAt/4)}
	if c == codec.JSON {
		w.text(`{"type":"` + kind.String() + `",`)
		p.json(w)
		w.text("}")
	} else {
		w.b = protowire.AppendTag(w.b, 1, protowire.VarintType)
		w.b = protowire.AppendVarint(w.b, uint64(kind))
		p.measure()
		p.protobuf(w)
	}
	w.flush()
	return w.err
}

var response = (&masterpb.Response{}).ProtoReflect().Descriptor()

func (r *Root) tasksPart(in protoreflect.MessageDescriptor) *part {
	f := of(in, "get_tasks")
	return object(f,
		elements(of(f.Message(), "tasks"), r.live.all()),
		elements(of(f.Message(), "unreachable_tasks"), r.unreachable.all()),
		elements(of(f.Message(), "completed_tasks"), r.completed.all()))
}

// executorsPart lists the custom executors of live tasks.
func (r *Root) executorsPart(in protoreflect.MessageDescriptor) *part {
	type key struct {
		framework id.Framework
		agent     id.Agent
		executor  id.Executor
	}
	seen := make(map[key]bool)
	var list []*masterpb.Response_GetExecutors_Executor
	for t := range r.Tasks() {
		k := key{t.Framework, t.Agent, t.Executor}
		if t.Executor == "" || t.Info.GetExecutor() == nil || seen[k] {
			continue
		}
		seen[k] = true
		list = append(list, &masterpb.Response_GetExecutors_Executor{
			ExecutorInfo: t.Info.Executor,
			AgentId:      &mesos.AgentID{Value: proto.String(string(t.Agent))},
		})
	}
	f := of(in, "get_executors")
	return object(f, messages(of(f.Message(), "executors"), list))
}

func (r *Root) frameworksPart(in protoreflect.MessageDescriptor) *part {
	agents := make(map[id.Agent]*state.Agent, r.agents.len)
	if r.offers.len > 0 {
		for a := range r.Agents() {
			agents[a.ID] = a.Agent
		}
	}
	offers := make(map[string][]*mesos.Offer)
	for o := range r.Offers() {
		k := string(o.Framework)
		offers[k] = append(offers[k], offerMessage(o, agents[o.Agent]))
	}
	var active, finished []*masterpb.Response_GetFrameworks_Framework
	for f := range r.Frameworks() {
		active = append(active, frameworkMessage(f, offers[f.Info.GetId().GetValue()]))
	}
	for _, f := range r.finished {
		finished = append(finished, frameworkMessage(f, nil))
	}
	f := of(in, "get_frameworks")
	return object(f,
		messages(of(f.Message(), "frameworks"), active),
		messages(of(f.Message(), "completed_frameworks"), finished))
}

func (r *Root) agentsPart(in protoreflect.MessageDescriptor) *part {
	registered := func(yield func(*Agent) bool) {
		for a := range r.Agents() {
			if !a.Recovered && !a.Unreachable && !yield(a) {
				return
			}
		}
	}
	var recovered []*mesos.AgentInfo
	for a := range r.Agents() {
		if a.Recovered && !a.Unreachable {
			recovered = append(recovered, a.Info)
		}
	}
	f := of(in, "get_agents")
	return object(f,
		elements(of(f.Message(), "agents"), registered),
		messages(of(f.Message(), "recovered_agents"), recovered))
}

// GetTasks writes the answer to GET_TASKS.
func (r *Root) GetTasks(w io.Writer, c codec.Codec) error {
	return respond(w, c, masterpb.Response_GET_TASKS, r.tasksPart(response))
}

// GetExecutors writes the answer to GET_EXECUTORS.
func (r *Root) GetExecutors(w io.Writer, c codec.Codec) error {
	return respond(w, c, masterpb.Response_GET_EXECUTORS, r.executorsPart(response))
}

// GetFrameworks writes the answer to GET_FRAMEWORKS.
func (r *Root) GetFrameworks(w io.Writer, c codec.Codec) error {
	return respond(w, c, masterpb.Response_GET_FRAMEWORKS, r.frameworksPart(response))
}

// GetAgents writes the answer to GET_AGENTS.
func (r *Root) GetAgents(w io.Writer, c codec.Codec) error {
	return respond(w, c, masterpb.Response_GET_AGENTS, r.agentsPart(response))
}

// GetState writes the answer to GET_STATE.
func (r *Root) GetState(w io.Writer, c codec.Codec) error {
	f := of(response, "get_state")
	d := f.Message()
	return respond(w, c, masterpb.Response_GET_STATE,
		object(f, r.tasksPart(d), r.executorsPart(d), r.frameworksPart(d), r.agentsPart(d)))
}

// GetRoles is the answer to GET_ROLES; a role's resources are what it was given and what
// it is being offered, as in Mesos.
func (r *Root) GetRoles() *masterpb.Response {
	used := make(map[string]resource.Quantities)
	add := func(rs resource.Resources) {
		for x := range rs.All() {
			if role := x.AllocatedTo(); role != "" && x.Kind() == resource.Scalar {
				used[role] = used[role].Add(resource.Quantities{{Name: x.Name(), Value: x.Scalar()}})
			}
		}
	}
	for a := range r.Agents() {
		add(a.Allocated)
	}
	for o := range r.Offers() {
		add(o.Resources)
	}
	roles := &masterpb.Response_GetRoles{}
	for i := range r.Roles {
		roles.Roles = append(roles.Roles, roleMessage(&r.Roles[i], used[r.Roles[i].Name]))
	}
	sortBy(roles.Roles, (*mesos.Role).GetName)
	return &masterpb.Response{Type: masterpb.Response_GET_ROLES.Enum(), GetRoles: roles}
}

// GetQuota is the answer to GET_QUOTA.
func (r *Root) GetQuota() *masterpb.Response {
	status := &quotapb.QuotaStatus{}
	for i := range r.Roles {
		role := &r.Roles[i]
		if len(role.Guarantee) == 0 && len(role.Limit) == 0 {
			continue
		}
		status.Infos = append(status.Infos, &quotapb.QuotaInfo{Role: proto.String(role.Name), Guarantee: scalars(role.Guarantee)})
		status.Configs = append(status.Configs, &quotapb.QuotaConfig{
			Role: proto.String(role.Name), Guarantees: role.Guarantee.Proto(), Limits: role.Limit.Proto(),
		})
	}
	sortBy(status.Infos, (*quotapb.QuotaInfo).GetRole)
	sortBy(status.Configs, (*quotapb.QuotaConfig).GetRole)
	return &masterpb.Response{
		Type:     masterpb.Response_GET_QUOTA.Enum(),
		GetQuota: &masterpb.Response_GetQuota{Status: status},
	}
}

// GetWeights is the answer to GET_WEIGHTS: the roles whose weight was set, if
// only to the default, as Mesos 1.11 (src/master/weights_handler.cpp).
func (r *Root) GetWeights() *masterpb.Response {
	answer := &masterpb.Response{Type: masterpb.Response_GET_WEIGHTS.Enum()}
	var list []*mesos.WeightInfo
	for _, role := range r.Roles {
		if role.Weighted {
			list = append(list, &mesos.WeightInfo{Role: proto.String(role.Name), Weight: proto.Float64(role.Weight)})
		}
	}
	sortBy(list, (*mesos.WeightInfo).GetRole)
	if len(list) > 0 { // Mesos leaves the field out otherwise
		answer.GetWeights = &masterpb.Response_GetWeights{WeightInfos: list}
	}
	return answer
}

func sortBy[M any](list []M, key func(M) string) {
	slices.SortStableFunc(list, func(a, b M) int { return strings.Compare(key(a), key(b)) })
}
