package http

import (
	"errors"
	"net/http"

	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/internal/request"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/master/session"
	"github.com/stoa-kernel/stoa/master/state"
	"github.com/stoa-kernel/stoa/master/validate"
)

const streamHeader = "Mesos-Stream-Id"

// maxStreamID is the longest Mesos-Stream-Id, in bytes, as in Mesos.
const maxStreamID = 128

// scheduler answers a framework's call. The order of the checks is that of Mesos 1.11
// (src/master/http.cpp): clients tell the codes apart. What depends on the cluster's
// state (unknown framework, not subscribed, wrong stream) is the core's to judge.
func (s *Server) scheduler(w http.ResponseWriter, r *http.Request, _ string) {
	if !request.IsPost(w, r) {
		return
	}
	call := new(schedulerpb.Call)
	release, refused := s.bodies.Call(w, r, call)
	defer release()
	if refused != nil {
		refused.Write(w)
		return
	}
	if err := validate.Call(call); err != nil {
		request.Refuse(w, http.StatusBadRequest, "Failed to validate scheduler::Call: "+request.Clip(err.Error()))
		return
	}
	kind := call.GetType()
	var c codec.Codec
	if kind == schedulerpb.Call_SUBSCRIBE || kind == schedulerpb.Call_RECONCILE_OPERATIONS {
		var ok bool
		if c, ok = accept(w, r); !ok {
			return
		}
	}
	streams := r.Header.Values(streamHeader)
	if kind == schedulerpb.Call_SUBSCRIBE {
		if len(streams) > 0 {
			request.Refuse(w, http.StatusBadRequest, "Subscribe calls should not include the 'Mesos-Stream-Id' header")
			return
		}
		release() // the stream may last
		if err := s.Streams.Serve(w, r, c, "", call); errors.Is(err, session.ErrClosed) {
			request.Refuse(w, http.StatusServiceUnavailable, err.Error())
		}
		return
	}
	var stream state.Stream
	if len(streams) > 0 {
		if stream = state.Stream(streams[0]); len(stream) > maxStreamID {
			request.Refuse(w, http.StatusBadRequest, "The 'Mesos-Stream-Id' header is longer than 128 bytes")
			return
		}
	}
	if kind == schedulerpb.Call_ACKNOWLEDGE {
		release() // the connection may last
		if s.acknowledge(w, r, stream, call) {
			return
		}
	}
	share(call)
	if len(call.GetAccept().GetOperations()) > 0 {
		release() // others must not wait for the agents it launches on
		if !s.room(w, r, call) {
			return
		}
	}
	a, ok := s.ask(r.Context(), w, func(t state.Token) state.Input {
		return state.Call{Token: t, Stream: stream, Call: call}
	})
	if ok {
		s.finish(w, r, c, a)
	}
}

// room holds an ACCEPT back while an agent it launches on has too much waiting for it.
func (s *Server) room(w http.ResponseWriter, r *http.Request, call *schedulerpb.Call) bool {
	last := ""
	for _, op := range call.GetAccept().GetOperations() {
		tasks := op.GetLaunch().GetTaskInfos()
		if group := op.GetLaunchGroup(); group != nil {
			tasks = group.GetTaskGroup().GetTasks()
		}
		for _, task := range tasks {
			agent := task.GetAgentId().GetValue()
			if agent == last {
				continue
			}
			last = agent
			if s.Links.Room(r.Context(), id.Agent(agent)) != nil {
				request.Refuse(w, http.StatusServiceUnavailable, "The client did not wait")
				return false
			}
		}
	}
	return true
}

// accept chooses the answer's codec, or answers 406.
func accept(w http.ResponseWriter, r *http.Request) (codec.Codec, bool) {
	c, ok := codec.Accept(r.Header.Values("Accept"))
	if !ok {
		request.Refuse(w, http.StatusNotAcceptable, "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'")
	}
	return c, ok
}
