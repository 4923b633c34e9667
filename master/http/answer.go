package http

import (
	"encoding/json"
	"net/http"

	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/internal/request"
	"github.com/stoa-kernel/stoa/master/state"
)

func (s *Server) reply(w http.ResponseWriter, r *http.Request, kind string) *request.Reply {
	return request.NewReply(w, r, kind, s.Limits.WriteTimeout)
}

// message answers with one message.
func (s *Server) message(w http.ResponseWriter, r *http.Request, c codec.Codec, m proto.Message) {
	p := s.reply(w, r, c.String())
	b, err := c.Append(nil, m)
	if err == nil {
		_, err = p.Write(b)
	}
	p.Close(err)
}

// json answers with a value of ours.
func (s *Server) json(w http.ResponseWriter, r *http.Request, v any) {
	p := s.reply(w, r, "application/json")
	b, err := json.Marshal(v)
	if err == nil {
		_, err = p.Write(b)
	}
	p.Close(err)
}

// finish writes the loop's answer.
func (s *Server) finish(w http.ResponseWriter, r *http.Request, c codec.Codec, a state.Answer) {
	switch b := a.Body.(type) {
	case proto.Message:
		if a.Status == http.StatusOK {
			s.message(w, r, c, b)
			return
		}
	case *state.Explanation:
		if a.Status == http.StatusOK {
			s.json(w, r, b)
			return
		}
	}
	if a.Message != "" {
		request.Refuse(w, a.Status, a.Message)
		return
	}
	w.WriteHeader(a.Status) // and with it a Content-Length of 0
}
