package cli

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
)

// What a newcomer gets wrong: each mistake is told of by what it is, why, and what to try.
func TestMistakes(t *testing.T) {
	answers := map[string][]answer{
		"GET /v2/apps":                 ok(`{"apps":[` + web + `]}`),
		"GET /v2/queue":                ok(queue),
		"GET /v2/groups/nothing":       {{404, `{"message":"Group '/nothing' does not exist"}`, "", nil}},
		"GET /v2/groups/empty":         ok(`{"id":"/empty"}`),
		"GET /v2/apps/web/versions":    ok(`{"versions":[],"history":[]}`),
		"GET /v2/apps/idle/versions":   {{404, `{"message":"App '/idle' does not exist"}`, "", nil}},
		"DELETE /v2/queue/web/delay":   {{404, `{"message":"Application /web not found in tasks queue"}`, "", nil}},
		"DELETE /v2/queue/idle/delay":  {{404, `{"message":"Application /idle not found in tasks queue"}`, "", nil}},
		"POST /v2/apps/web/rollback":   {{404, `{"message":"App '/web' has no earlier version whose deployment succeeded; name one with ?version= (GET /v2/apps/web/versions?embed=history lists them)"}`, "", nil}},
		"PUT /v2/apps":                 {{400, `{"message":"Invalid JSON","details":[{"path":"(0)/cpus","errors":["error.expected.jsnumber"]},{"path":"(0)/env","errors":["error.expected.jsobject"]}]}`, "", nil}},
		"PUT /v2/apps/web":             {{503, `{"message":"Nothing was changed: the store has no space"}`, "", nil}},
		"POST /v2/apps/web/restart":    {{502, `{"message":"Could not determine the current leader"}`, "", nil}},
		"GET /v2/deployments":          {{404, "404 page not found", "", nil}},
		"DELETE /v2/apps/idle":         {{404, `{"message":"App '/idle' does not exist"}`, "", nil}},
		"POST /v2/apps/idle/restart":   {{404, `{"message":"App '/idle' does not exist"}`, "", nil}},
		"DELETE /v2/groups/nothing":    {{404, `{"message":"Group '/nothing' does not exist"}`, "", nil}},
		"GET /v2/apps/broken/versions": {{500, `{"message":"It broke."}`, "", nil}},
	}
	var all strings.Builder
	for _, line := range []string{
		"app show", "app show a b", "app scale", "app scale web", "app scale web 1 2", "app scale web many", "app scale web -1",
		"app delete /", "app delete idle", "app restart idle", "app restart web", "app scale web 3", "app scale broken 3",
		"app apply web.yaml", "app apply -f -", "app apply -f", "app rollback", "app rollback web", "app rollback web 1 2",
		"app list nothing", "app list empty", "app list -l tier==back", "app list --out json", "app list --selctor a", "app list -x", "app list -o",
		"app resume web --instances lots", "app scale web 3 --timeout soon", "app delete web --yes=maybe",
		"group show", "group scale shop", "group scale shop fast", "group delete nothing", "group list a b",
		"deployment rollback", "deployment watch a b", "deployment list", "deployment lst",
		"queue reset", "queue reset web", "queue reset idle", "queue list x",
		"logs", "logs a b", "kill", "why", "why a b", "why --cpus much", "frob",
	} {
		text, code := newFake(t, answers).said(context.Background(), `{"id":"/web","cmd":"x","cpus":"one","env":[]}`, strings.Fields(line)...)
		if code == 0 && !strings.HasPrefix(line, "app list") {
			t.Errorf("%s ends well", line)
		}
		all.WriteString(text + "\n")
	}
	golden(t, "mistakes", all.String())
}

// Without an address of the service the master is asked, and when both are away both are
// named.
func TestNoServiceIsKnown(t *testing.T) {
	t.Setenv("STOA_SERVICE_ADDR", "")
	t.Setenv("MARATHON_URL", "")
	s := &session{addr: "127.0.0.1:1"}
	svc, err := s.service(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var e *Error
	if err := svc.unreachable(errors.New("refused")); !errors.As(err, &e) || e.Code != ExitUnreachable ||
		e.Why != "at http://127.0.0.1:8080: refused; no master answers at 127.0.0.1:1 either" {
		t.Errorf("%+v", err)
	}
	master := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		raw, err := proto.Marshal(&masterpb.Response{Type: masterpb.Response_GET_FRAMEWORKS.Enum(), GetFrameworks: &masterpb.Response_GetFrameworks{}})
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = w.Write(raw) // the client says what came
	}))
	defer master.Close()
	s = &session{addr: strings.TrimPrefix(master.URL, "http://")}
	if svc, err = s.service(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := svc.unreachable(errors.New("refused")); !strings.HasSuffix(err.Error(), "; the master at "+s.addr+" knows of no service") {
		t.Errorf("%v", err)
	}
}

// Ctrl-C before the service has answered cannot take back what it was asked.
func TestInterruptedBeforeTheAnswer(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	release := make(chan struct{})
	f := newFake(t, map[string][]answer{"GET /v2/apps/web/versions": ok(history), "PUT /v2/apps/web": {{do: func() {
		interrupt()
		<-release
	}}}})
	text, code := f.said(ctx, "", "app", "scale", "web", "3", "-d")
	close(release)
	if code != ExitInterrupted || !strings.Contains(text, "error: interrupted before the service answered\nwhy:   it may do") || !strings.Contains(text, "try:   stoa deployment list") {
		t.Errorf("exit code %d\n%s", code, text)
	}
}
