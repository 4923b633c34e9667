package http

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLogging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		var level slog.LevelVar
		f.cfg.Levels = NewLevels(&level)
		is := func(want slog.Level, name string) {
			t.Helper()
			if got := f.do("GET /logging", "").Body.String(); level.Level() != want || !strings.Contains(got, name) {
				t.Errorf("%v, %s; want %v", level.Level(), got, want)
			}
		}
		post := func(body string, status int) {
			t.Helper()
			if w := f.do("POST /logging", body); w.Code != status {
				t.Errorf("%s: %d %s", body, w.Code, w.Body)
			}
		}
		is(slog.LevelInfo, "INFO")
		post(`{"logger":"ROOT","level":"debug","durationSeconds":10}`, 200)
		is(slog.LevelDebug, "DEBUG")
		<-time.After(5 * time.Second)
		// The second for a time goes back to what was before the first.
		post(`{"logger":"root","level":"trace","durationSeconds":10}`, 200)
		<-time.After(9 * time.Second)
		is(slog.LevelDebug-4, "TRACE")
		<-time.After(2 * time.Second)
		is(slog.LevelInfo, "INFO")
		post(`{"logger":"ROOT","level":"debug","durationSeconds":10}`, 200)
		post(`{"logger":"ROOT","level":"warn"}`, 200)
		<-time.After(time.Minute)
		is(slog.LevelWarn, "WARN")
		post(`{"logger":"ROOT","level":"loud"}`, 422)
		post(`{"logger":"mesosphere","level":"debug"}`, 422)
		post(`{"logger":"ROOT","level":"debug","durationSeconds":0}`, 422)
		post(`{`, 400)
		is(slog.LevelWarn, "WARN")
	})
}
