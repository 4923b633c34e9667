package main

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/sdk/scheduler"
	"github.com/stoa-kernel/stoa/sdk/sdktest"
)

func TestHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := sdktest.NewMaster()
		defer m.Close()
		m.AddAgent("cpus:0.2;mem:1024") // room for two at a time
		m.Run = func(_ context.Context, task *mesos.TaskInfo) *mesos.TaskStatus {
			if strings.HasSuffix(task.GetCommand().GetValue(), "exit 1") {
				return sdktest.Exit(1)
			}
			return sdktest.Exit(0)
		}
		var out strings.Builder
		cfg := scheduler.Config{
			Masters: []string{m.Addr()}, HTTPClient: m.Client(),
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		}
		if err := hello(t.Context(), cfg, 3, &out); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		slices.Sort(lines)
		want := []string{
			"hello-0 finished: Command exited with status 0", "hello-0 running",
			"hello-1 failed: Command exited with status 1", "hello-1 running",
			"hello-2 finished: Command exited with status 0", "hello-2 running",
		}
		if !slices.Equal(lines, want) {
			t.Errorf("printed\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
		}
	})
}
