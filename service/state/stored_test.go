package state

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/plan"
)

// restarting is what the store has of a deployment that restarts so many apps, each of
// which waits for something and has its progress, in parts of a size; 0 is as it was
// before parts said theirs.
func restarting(apps, size int) Recovered {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	v, old := marathon.VersionOf(at), marathon.VersionOf(at.Add(-time.Hour))
	in := Recovered{Version: v, Roots: []marathon.Version{v}, Deployments: []*deploy.Deployment{
		{Plan: &plan.Plan{ID: "d", Version: v}, Begun: true, Started: at, Paused: true, PausedAt: at},
	}}
	of := size
	if size == 0 {
		of = 500
	}
	p := StoredPlan{Deployment: "d"}
	cmd := "sleep 1"
	for n := range apps {
		id := fmt.Sprintf("/app-%05d", n)
		def := marathon.App{ID: id, Cmd: &cmd, Instances: 2, Role: "*", Version: v, VersionInfo: &marathon.VersionInfo{LastConfigChangeAt: v}}
		before := def
		before.Version, before.VersionInfo = old, &marathon.VersionInfo{LastConfigChangeAt: old}
		in.Apps = append(in.Apps, StoredApp{ID: id, Version: old, App: &before}, StoredApp{ID: id, Version: v, App: &def})
		p.Actions = append(p.Actions, StoredAction{0, plan.Action{Kind: plan.Restart, App: id}})
		p.Changes = append(p.Changes, StoredChange{App: id, Old: old, New: v, Restart: true})
		if n%of == 0 {
			in.Progress = append(in.Progress, StoredProgress{"d", n / of, size, make(map[string]*deploy.Progress)})
		}
		in.Progress[len(in.Progress)-1].Progress[id] = &deploy.Progress{Instances: 2, MaxCapacity: 3, MinHealthy: 2}
	}
	in.Plans = []StoredPlan{p}
	return in
}

// Progress in the parts of an earlier release is taken, and written anew before the old
// parts go.
func TestProgressInLargePartsIsRead(t *testing.T) {
	s := New(Config{App: app.Options{Role: "*"}, Seed: 1})
	now := clock.Now{Wall: time.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC)}
	var written, gone []string
	for _, e := range s.Step(now, restarting(700, 0)) {
		var puts []Put
		switch e := e.(type) {
		case Persist:
			puts = e.Puts
		case Save:
			puts = e.Puts
		}
		for _, p := range puts {
			switch {
			case !strings.HasPrefix(p.Key, keyProgress):
			case p.Value == nil:
				gone = append(gone, p.Key)
			case len(gone) > 0:
				t.Fatalf("%s is written after %s is gone", p.Key, gone[0])
			default:
				written = append(written, p.Key)
			}
		}
	}
	if fmt.Sprint(gone) != "[service/progress/d/0000 service/progress/d/0001]" || len(written) < 44 || written[0] != "service/progress/d/16-00000" {
		t.Fatalf("gone are %s, written %s", gone, written)
	}
	if n := s.deployments["d"].Progress; n.Len() != 700 || n.Of("/app-00699").MaxCapacity != 3 {
		t.Fatalf("%d apps have their progress", n.Len())
	}
}

// What one app's progress makes the service write does not grow with the deployment.
func TestProgressIsWrittenInSmallParts(t *testing.T) {
	for _, apps := range []int{100, 3000} {
		s := New(Config{App: app.Options{Role: "*"}, Seed: 1})
		now := clock.Now{Wall: time.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC)}
		s.Step(now, restarting(apps, progressSize))
		old := s.deployments["d"]
		next := *old
		next.Progress = old.Progress.With("/app-00050", &deploy.Progress{Instances: 2, MaxCapacity: 3, MinHealthy: 2, Relaxed: true})
		s.keepDeployment(old, &next)
		size := 0
		for _, p := range s.puts {
			raw, err := json.Marshal(p.Value)
			if err != nil {
				t.Fatal(err)
			}
			size += len(raw)
		}
		if len(s.puts) != 2 || size > 4096 {
			t.Errorf("of %d apps, the progress of one is written as %d records of %d bytes", apps, len(s.puts), size)
		}
	}
}
