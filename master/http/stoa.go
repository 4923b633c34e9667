package http

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	agentpb "github.com/stoa-kernel/stoa/api/mesos/v1/agent"
	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/internal/request"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/master/session"
	"github.com/stoa-kernel/stoa/master/state"
	"google.golang.org/protobuf/proto"
)

// maxOwn is the longest body of a call of Stoa's own: it names something, and may wait long.
const maxOwn = 64 << 10

func tooLong(w http.ResponseWriter) {
	request.Refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("This call is longer than %d bytes", maxOwn))
}

// kill is POST /stoa/v1/kill: an operator kills a task, whoever's it is.
//
//	{"framework_id": "…", "task_id": "…", "grace_period": "10s"}
func (s *Server) kill(w http.ResponseWriter, r *http.Request, rest string) {
	if !nothingBelow(w, rest) || !request.IsPost(w, r) {
		return
	}
	b, refused := s.bodies.Read(w, r)
	defer b.Release()
	if refused != nil {
		refused.Write(w)
		return
	}
	if len(b.Bytes) > maxOwn {
		tooLong(w)
		return
	}
	var in struct {
		Framework string  `json:"framework_id"`
		Task      string  `json:"task_id"`
		Grace     *string `json:"grace_period"`
	}
	d := json.NewDecoder(bytes.NewReader(b.Bytes))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		request.Refuse(w, http.StatusBadRequest, "Failed to parse body into JSON: "+request.Clip(err.Error()))
		return
	}
	if _, err := d.Token(); err != io.EOF {
		request.Refuse(w, http.StatusBadRequest, "Failed to parse body into JSON: more follows the object")
		return
	}
	if in.Framework == "" || in.Task == "" {
		request.Refuse(w, http.StatusBadRequest, "Expecting 'framework_id' and 'task_id' to be present")
		return
	}
	var policy *mesos.KillPolicy
	if in.Grace != nil {
		grace, err := time.ParseDuration(*in.Grace)
		if err != nil || grace < 0 {
			request.Refuse(w, http.StatusBadRequest, "Expecting 'grace_period' to be a duration such as \"10s\"")
			return
		}
		policy = &mesos.KillPolicy{GracePeriod: &mesos.DurationInfo{Nanoseconds: proto.Int64(int64(grace))}}
	}
	a, ok := s.ask(r.Context(), w, func(t state.Token) state.Input {
		return state.Kill{Token: t, Framework: id.Framework(in.Framework), Task: id.Task(in.Task), Policy: policy}
	})
	if ok {
		s.finish(w, r, codec.JSON, a)
	}
}

// why is GET /stoa/v1/why?framework=F&task=T, or ?role=R&resources=cpus:4;mem:8192.
func (s *Server) why(w http.ResponseWriter, r *http.Request, rest string) {
	if !nothingBelow(w, rest) || !get(w, r) {
		return
	}
	q, err := query(r.URL.RawQuery)
	if err != nil {
		request.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	in := state.Why{Framework: id.Framework(q["framework"]), Task: id.Task(q["task"]), Role: q["role"]}
	switch {
	case in.Task != "" && in.Framework == "":
		request.Refuse(w, http.StatusBadRequest, "Expecting 'framework' with 'task'")
		return
	case in.Framework == "" && q["resources"] == "":
		request.Refuse(w, http.StatusBadRequest, "Expecting 'framework', or 'resources' such as cpus:4;mem:8192")
		return
	}
	if text := q["resources"]; text != "" {
		if in.Request, err = resource.Parse(text, "*"); err != nil {
			request.Refuse(w, http.StatusBadRequest, "Expecting 'resources' such as cpus:4;mem:8192: "+request.Clip(err.Error()))
			return
		}
	}
	a, ok := s.ask(r.Context(), w, func(t state.Token) state.Input {
		in.Token = t
		return in
	})
	if ok {
		s.finish(w, r, codec.JSON, a)
	}
}

// agentFiles is POST /stoa/v1/agents/{agent_id}/api: an operator's LIST_FILES or
// READ_FILE, put to the agent over its link.
func (s *Server) agentFiles(w http.ResponseWriter, r *http.Request, rest string) {
	agent, tail, _ := strings.Cut(rest, "/")
	if agent == "" || tail != "api" {
		request.Refuse(w, http.StatusNotFound, "404 Not Found: expecting /stoa/v1/agents/{agent_id}/api")
		return
	}
	if !request.IsPost(w, r) {
		return
	}
	call := new(agentpb.Call)
	release, refused := s.bodies.Call(w, r, call)
	defer release()
	if refused != nil {
		refused.Write(w)
		return
	}
	c, ok := accept(w, r)
	if !ok {
		return
	}
	switch kind := call.GetType(); {
	case kind == agentpb.Call_LIST_FILES && call.ListFiles != nil:
	case kind == agentpb.Call_READ_FILE && call.ReadFile != nil:
	case kind == agentpb.Call_LIST_FILES:
		request.Refuse(w, http.StatusBadRequest, "Failed to validate agent::Call: Expecting 'list_files' to be present")
		return
	case kind == agentpb.Call_READ_FILE:
		request.Refuse(w, http.StatusBadRequest, "Failed to validate agent::Call: Expecting 'read_file' to be present")
		return
	case call.Type == nil:
		request.Refuse(w, http.StatusBadRequest, "Failed to validate agent::Call: Expecting 'type' to be present")
		return
	default:
		request.Refuse(w, http.StatusNotImplemented, kind.String()+" is not put through to agents: ask the agent itself")
		return
	}
	if proto.Size(call) > maxOwn {
		tooLong(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.Limits.FilesTimeout)
	defer cancel()
	// The agent's time must not use up the client's.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.Limits.FilesTimeout + s.Limits.WriteTimeout))
	answer, err := s.Links.Files(ctx, id.Agent(agent), call)
	switch {
	case err == nil && answer.GetStatus() == http.StatusOK && answer.Response != nil:
		s.message(w, r, c, answer.Response)
	case err == nil && answer.GetStatus() >= 400 && answer.GetStatus() < 600:
		request.Refuse(w, int(answer.GetStatus()), answer.GetMessage())
	case err == nil:
		request.Refuse(w, http.StatusBadGateway, "The agent's answer makes no sense")
	case errors.Is(err, session.ErrNoLink):
		request.Refuse(w, http.StatusNotFound, "No connected agent has the id '"+request.Clip(agent)+"'")
	case errors.Is(err, session.ErrLinkLost):
		request.Refuse(w, http.StatusBadGateway, "The agent's connection broke before it answered: try again")
	case r.Context().Err() != nil:
		panic(http.ErrAbortHandler)
	default:
		request.Refuse(w, http.StatusGatewayTimeout, "The agent did not answer within "+s.Limits.FilesTimeout.String())
	}
}

func nothingBelow(w http.ResponseWriter, rest string) bool {
	if rest != "" {
		request.Refuse(w, http.StatusNotFound, "404 Not Found: there is nothing at '"+request.Clip(rest)+"' here")
	}
	return rest == ""
}

func get(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", http.MethodGet)
	request.Refuse(w, http.StatusMethodNotAllowed, "Expecting one of { 'GET' }, but received '"+request.Clip(r.Method)+"'")
	return false
}

// query splits at & only: the semicolons of a list of resources need no escaping.
func query(raw string) (map[string]string, error) {
	out := make(map[string]string)
	for pair := range strings.SplitSeq(raw, "&") {
		k, v, _ := strings.Cut(pair, "=")
		key, err := url.QueryUnescape(k)
		if err != nil {
			return nil, errors.New("Expecting the query to be URL-encoded")
		}
		if out[key], err = url.QueryUnescape(v); err != nil {
			return nil, errors.New("Expecting the query to be URL-encoded")
		}
	}
	return out, nil
}
