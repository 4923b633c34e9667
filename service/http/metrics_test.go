package http

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Prometheus sees requests by method and status, how long they took, and who listens to
// the events.
func TestRequestsAreMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		end := make(chan struct{})
		f.cfg.Events = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(200)
			<-end
		})
		f.cfg.Callbacks = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-time.After(2 * time.Second) })
		h := New(f.cfg)
		ask := func(method, path string) string {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
			return w.Body.String()
		}
		ask("GET", "/v2/apps/none")
		ask("GET", "/v2/info")
		ask("HEAD", "/v2/info")
		ask("BREW", "/v2/info")
		ask("PROPFIND", "/v2/info")
		ask("POST", "/v2/eventSubscriptions")
		go ask("GET", "/v2/events")
		go ask("GET", "/v2/events")
		synctest.Wait()
		now := "\n" + ask("GET", "/metrics/prometheus")
		for _, line := range []string{
			`stoa_service_http_requests_total{code="404",method="get"} 1`,
			`stoa_service_http_requests_total{code="200",method="get"} 1`,
			`stoa_service_http_requests_total{code="200",method="head"} 1`,
			`stoa_service_http_requests_total{code="405",method="other"} 2`,
			`stoa_service_http_request_seconds_bucket{method="get",le="0.001"} 2`,
			`stoa_service_http_request_seconds_bucket{method="post",le="1"} 0`,
			`stoa_service_http_request_seconds_bucket{method="post",le="3"} 1`,
			`stoa_service_http_request_seconds_sum{method="post"} 2`,
			"marathon_http_event_streams_active_gauge 2",
			"marathon_http_requests_active_gauge 3",
		} {
			if !strings.Contains(now, "\n"+line+"\n") {
				t.Errorf("no line %q in\n%s", line, now)
			}
		}
		close(end)
		synctest.Wait()
		now = ask("GET", "/metrics/prometheus")
		for _, line := range []string{"marathon_http_event_streams_active_gauge 0", `stoa_service_http_requests_total{code="200",method="get"} 4`} {
			if !strings.Contains(now, line+"\n") {
				t.Errorf("no line %q in\n%s", line, now)
			}
		}
	})
}
