package http

import (
	"io"
	"net/http"
	"time"

	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/internal/request"
	"github.com/stoa-kernel/stoa/master/state"
	"github.com/stoa-kernel/stoa/master/validate"
	"github.com/stoa-kernel/stoa/master/view"
	"google.golang.org/protobuf/proto"
)

// reads are the calls answered by writing the view.
var reads = map[masterpb.Call_Type]func(*view.Root, io.Writer, codec.Codec) error{
	masterpb.Call_GET_STATE:      (*view.Root).GetState,
	masterpb.Call_GET_TASKS:      (*view.Root).GetTasks,
	masterpb.Call_GET_AGENTS:     (*view.Root).GetAgents,
	masterpb.Call_GET_FRAMEWORKS: (*view.Root).GetFrameworks,
	masterpb.Call_GET_EXECUTORS:  (*view.Root).GetExecutors,
}

// operator answers a call to /api/v1.
func (s *Server) operator(w http.ResponseWriter, r *http.Request, _ string) {
	if !request.IsPost(w, r) {
		return
	}
	call := new(masterpb.Call)
	release, refused := s.bodies.Call(w, r, call)
	defer release()
	if refused != nil {
		refused.Write(w)
		return
	}
	if err := validate.Operator(call); err != nil {
		request.Refuse(w, http.StatusBadRequest, "Failed to validate master::Call: "+request.Clip(err.Error()))
		return
	}
	c, ok := accept(w, r)
	if !ok {
		return
	}
	kind := call.GetType()
	if write := reads[kind]; write != nil {
		release() // of the call no more than that is needed, and the client may read slowly
		p := s.reply(w, r, c.String())
		p.Close(write(s.View.Root(), p, c))
		return
	}
	switch kind {
	case masterpb.Call_GET_HEALTH:
		s.message(w, r, c, &masterpb.Response{
			Type:      masterpb.Response_GET_HEALTH.Enum(),
			GetHealth: &masterpb.Response_GetHealth{Healthy: proto.Bool(true)},
		})
	case masterpb.Call_GET_VERSION:
		s.message(w, r, c, &masterpb.Response{
			Type:       masterpb.Response_GET_VERSION.Enum(),
			GetVersion: &masterpb.Response_GetVersion{VersionInfo: s.build},
		})
	case masterpb.Call_GET_MASTER:
		status := s.Status()
		s.message(w, r, c, &masterpb.Response{
			Type: masterpb.Response_GET_MASTER.Enum(),
			GetMaster: &masterpb.Response_GetMaster{
				MasterInfo:  status.Info,
				StartTime:   proto.Float64(seconds(s.Started)),
				ElectedTime: proto.Float64(seconds(status.Elected)),
			},
		})
	case masterpb.Call_GET_ROLES:
		s.message(w, r, c, s.View.Root().GetRoles())
	case masterpb.Call_GET_QUOTA:
		s.message(w, r, c, s.View.Root().GetQuota())
	case masterpb.Call_GET_WEIGHTS:
		s.message(w, r, c, s.View.Root().GetWeights())
	case masterpb.Call_UPDATE_QUOTA, masterpb.Call_UPDATE_WEIGHTS, masterpb.Call_TEARDOWN:
		a, ok := s.ask(r.Context(), w, func(t state.Token) state.Input {
			return state.Operate{Token: t, Call: call}
		})
		if ok {
			s.finish(w, r, c, a)
		}
	case masterpb.Call_LIST_FILES, masterpb.Call_READ_FILE:
		// Mesos serves its log directory here; ours goes to stderr.
		request.Refuse(w, http.StatusNotFound, "The master has no files: sandboxes are at the agents, through /stoa/v1/agents/{agent_id}/api")
	case masterpb.Call_UNKNOWN:
		request.Refuse(w, http.StatusNotImplemented, "UNKNOWN is not a call")
	default:
		request.Refuse(w, http.StatusNotImplemented, kind.String()+" is not supported by this version of Stoa")
	}
}

// version is the older form of GET_VERSION; its keys are in alphabetical order, as
// Mesos has them.
func (s *Server) version(w http.ResponseWriter, r *http.Request, _ string) {
	v := struct {
		BuildDate string  `json:"build_date,omitempty"`
		BuildTime float64 `json:"build_time,omitempty"`
		GitSHA    string  `json:"git_sha,omitempty"`
		Version   string  `json:"version"`
	}{s.build.GetBuildDate(), s.build.GetBuildTime(), s.build.GetGitSha(), s.build.GetVersion()}
	s.json(w, r, v)
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / 1e9
}
