package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/sdk/scheduler"
	"github.com/stoa-kernel/stoa/sdk/sdktest"
)

func TestCount(t *testing.T) {
	n := make(counts)
	// Words across the borders of the reader's buffer count once.
	long := strings.Repeat("x", 300<<10)
	in := "the cat_1 the\tthé, " + long + " end"
	if err := n.count(strings.NewReader(in)); err != nil {
		t.Fatal(err)
	}
	want := "cat_1 1\nend 1\nthe 2\nthé 1\n" + long + " 1\n"
	if got := string(n.text()); got != want {
		t.Errorf("counted %.200q", got)
	}
	if n.total() != 6 {
		t.Errorf("total %d, want 6", n.total())
	}
	again, err := parse(n.text())
	if err != nil || string(again.text()) != want {
		t.Errorf("read back: %v", err)
	}
}

func TestParseErrors(t *testing.T) {
	for _, in := range []string{"a", "a 1", "a\n", "a 0\n", "a -1\n", " 1\n", "b 1\na 1\n", "a 1\na 1\n", "a 1\n\n"} {
		if n, err := parse([]byte(in)); err == nil {
			t.Errorf("%q reads as %v", in, n)
		}
	}
}

// However it is split, the text is the same.
func TestSplit(t *testing.T) {
	text := strings.Repeat("some words in a line\n", 1000) + strings.Repeat("x", 600<<10) + "\nlast"
	for _, n := range []int{1, 7, 40} {
		dir := t.TempDir()
		if err := split(strings.NewReader(text), int64(len(text)), n, dir); err != nil {
			t.Fatal(err)
		}
		var whole strings.Builder
		for i := range n {
			b, err := os.ReadFile(filepath.Join(dir, shardName(i)))
			if err != nil {
				t.Fatal(err)
			}
			whole.Write(b)
		}
		if whole.String() != text {
			t.Errorf("%d shards: the text changed", n)
		}
	}
}

// The whole program against a master in memory, whose tasks really fetch, count and post,
// with tasks that die before and after their work and a master that drops the connection.
func TestRun(t *testing.T) {
	m := sdktest.NewMaster()
	defer m.Close()
	m.AddAgent("cpus:1;mem:1024")
	m.AddAgent("cpus:1;mem:1024")
	var mu sync.Mutex
	runs := map[string]int{}
	m.Run = func(ctx context.Context, task *mesos.TaskInfo) *mesos.TaskStatus {
		args := task.GetCommand().GetArguments()
		shard, report := args[2], args[4]
		mu.Lock()
		runs[shard]++
		first := runs[shard] == 1
		mu.Unlock()
		sandbox := t.TempDir()
		for _, u := range task.GetCommand().GetUris() {
			if err := fetch(u.GetValue(), sandbox); err != nil {
				return lost(err.Error())
			}
		}
		switch {
		case shard == shardName(1) && first:
			return sdktest.Exit(1)
		case shard == shardName(2) && first:
			m.Break()
		case shard == shardName(3) && first:
			return lost("killed by hand")
		}
		if err := runTask(ctx, filepath.Join(sandbox, shard), report, io.Discard); err != nil {
			return lost(err.Error())
		}
		if shard == shardName(4) && first {
			return lost("killed after its work")
		}
		return sdktest.Exit(0)
	}

	input := t.TempDir()
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range 20 {
		var b strings.Builder
		for range 2000 {
			fmt.Fprintf(&b, "word%d%c", rnd.IntN(500), " \n,.é"[rnd.IntN(4)])
		}
		if err := os.WriteFile(filepath.Join(input, fmt.Sprintf("%d.txt", i)), []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "totals")
	var log strings.Builder
	err := run(t.Context(), options{
		scheduler: scheduler.Config{
			Masters: []string{m.Addr()}, HTTPClient: m.Client(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		},
		shards: 40, input: input, output: out, listen: "127.0.0.1:0", each: "cpus:0.25;mem:64", program: "/bin/wordcount",
	}, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	n, err := parse(text)
	if err != nil || n.total() < 20*2000 {
		t.Errorf("%d words in the totals, %v", n.total(), err)
	}
	for i, least := range map[int]int{0: 1, 1: 2, 2: 1, 3: 2, 4: 1} {
		if runs[shardName(i)] < least {
			t.Errorf("shard %d ran %d times, want at least %d", i, runs[shardName(i)], least)
		}
	}
	if !strings.Contains(log.String(), "byte for byte") || !strings.Contains(log.String(), "of them run again") {
		t.Errorf("said:\n%s", &log)
	}
}

func lost(message string) *mesos.TaskStatus {
	return &mesos.TaskStatus{State: mesos.TaskState_TASK_KILLED.Enum(), Message: &message}
}

func fetch(url, dir string) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := os.Create(filepath.Join(dir, path.Base(url)))
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, resp.Body)
	return err
}

func TestResultsAreChecked(t *testing.T) {
	j := newJob(2, t.TempDir(), io.Discard)
	for target, want := range map[string]int{"/results/2": 404, "/results/-1": 404, "/results/x": 404, "/results/1": 400, "/shards/../main.go": 400, "/shards/main.go": 404, "/": 404} {
		method := http.MethodPost
		if strings.HasPrefix(target, "/shards") {
			method = http.MethodGet
		}
		w := httptest.NewRecorder()
		j.ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader("not counts")))
		if w.Code != want {
			t.Errorf("%s %s: %d, want %d", method, target, w.Code, want)
		}
	}
	if j.done != 0 {
		t.Error("a result was taken")
	}
}
