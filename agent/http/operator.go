package http

import (
	"compress/gzip"
	"fmt"
	"net/http"

	"google.golang.org/protobuf/proto"

	agentpb "github.com/stoa-kernel/stoa/api/mesos/v1/agent"
	"github.com/stoa-kernel/stoa/api/mesosjson"
	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/internal/request"
)

// compressed is from what length on an answer is compressed, as in Mesos 1.11
// (libprocess, encoder.hpp).
const compressed = 1024

// operator serves POST /api/v1.
func (s *Server) operator(w http.ResponseWriter, r *http.Request) {
	if !s.ready(w, r) {
		return
	}
	call := &agentpb.Call{}
	release, refused := s.bodies.Call(w, r, call)
	defer release()
	if refused != nil {
		refused.Write(w)
		return
	}
	switch {
	case call.Type == nil:
		request.Refuse(w, http.StatusBadRequest, "Failed to validate agent::Call: Expecting 'type' to be present")
		return
	case call.GetType() == agentpb.Call_LIST_FILES && call.ListFiles == nil:
		request.Refuse(w, http.StatusBadRequest, "Failed to validate agent::Call: Expecting 'list_files' to be present")
		return
	case call.GetType() == agentpb.Call_READ_FILE && call.ReadFile == nil:
		request.Refuse(w, http.StatusBadRequest, "Failed to validate agent::Call: Expecting 'read_file' to be present")
		return
	}
	c, ok := codec.Accept(r.Header.Values("Accept"))
	if !ok {
		request.Refuse(w, http.StatusNotAcceptable, "Expecting 'Accept' to allow '"+codec.JSON.String()+"' or '"+codec.Protobuf.String()+"'")
		return
	}
	switch call.GetType() {
	case agentpb.Call_GET_HEALTH:
		s.write200(w, r, c, &agentpb.Response{Type: agentpb.Response_GET_HEALTH.Enum(),
			GetHealth: &agentpb.Response_GetHealth{Healthy: proto.Bool(true)}})
	case agentpb.Call_GET_VERSION:
		s.write200(w, r, c, &agentpb.Response{Type: agentpb.Response_GET_VERSION.Enum(),
			GetVersion: &agentpb.Response_GetVersion{VersionInfo: s.build}})
	case agentpb.Call_LIST_FILES, agentpb.Call_READ_FILE:
		status, response, message := s.Files.Answer(call)
		if status != http.StatusOK {
			request.Refuse(w, status, message)
			return
		}
		s.write200(w, r, c, response)
	case agentpb.Call_UNKNOWN:
		request.Refuse(w, http.StatusNotImplemented, "Received an agent call of an unknown type")
	default:
		request.Refuse(w, http.StatusNotImplemented, fmt.Sprintf("The agent call %v is not served by this version", call.GetType()))
	}
}

// write200 answers with a message, compressed if the client takes that.
func (s *Server) write200(w http.ResponseWriter, r *http.Request, c codec.Codec, m proto.Message) {
	body, err := c.Append(nil, m)
	if err != nil {
		request.Refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", c.String())
	s.writeBody(w, r, body)
}

func (s *Server) writeBody(w http.ResponseWriter, r *http.Request, body []byte) {
	if len(body) < compressed || !request.AcceptsGzip(r) {
		_, _ = w.Write(body) // the client may be gone
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	_, _ = z.Write(body)
	_ = z.Close()
}

// version serves /version, the same facts as GET_VERSION.
func (s *Server) version(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", codec.JSON.String())
	s.writeBody(w, r, mesosjson.Append(nil, s.build))
}
