package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"google.golang.org/protobuf/proto"
)

// seeds a test runs; it begins none after budget, so that a busy machine takes no
// longer, and must have run enough of them.
const (
	seeds  = 300
	budget = 80 * time.Second
)

func TestSeeds(t *testing.T) {
	began := time.Now()
	last := uint64(seeds)
	if testing.Short() {
		last = enough
	}
	s := runAll(1, last, 0, func(r result) bool {
		if r.Failure != nil {
			t.Errorf("go run ./test/sim -seed %d -trace: %v\n%s", r.Seed, r.Failure, r.Failure.Stack)
		}
		return r.Seed >= enough && time.Since(began) > budget
	})
	var out strings.Builder
	s.print(&out)
	t.Log("\n" + out.String())
	if s.failed == 0 {
		for _, what := range s.wanting() {
			t.Error(what)
		}
	}
}

// impossible are the kinds that no seed may show, or can.
var impossible = map[string]string{
	"agent effect: Exit":                        "only an agent a master refuses exits, which is a violation",
	"master effect: ToAgent Refused":            "no agent of a cluster is refused",
	"agent input: Frame Refused":                "no agent of a cluster is refused",
	"master effect: ToAgent FilesRequest":       "files are the edge's business",
	"agent input: Frame FilesRequest":           "files are the edge's business",
	"agent effect: ToMaster FilesReply":         "files are the edge's business",
	"master input: Frame FilesReply":            "files are the edge's business",
	"master input: Frame Register":              "it comes as Hello",
	"master effect: Publish TaskRemoved":        "a framework of a seed ends fewer tasks than are remembered",
	"master effect: Publish FrameworkForgotten": "fewer frameworks of a seed end than are remembered",
}

// TestEveryKindIsExpected: what a core can take or give is expected of the seeds, or
// there is a reason.
func TestEveryKindIsExpected(t *testing.T) {
	var kinds []string
	frames := func(prefix string, m proto.Message) {
		fields := m.ProtoReflect().Descriptor().Oneofs().ByName("body").Fields()
		for i := range fields.Len() {
			kinds = append(kinds, prefix+" "+camel(string(fields.Get(i).Name())))
		}
	}
	frames("agent effect: Persist", &stoapb.LogRecord{})
	frames("agent effect: ToMaster", &stoapb.ToMaster{})
	frames("master input: Frame", &stoapb.ToMaster{})
	frames("agent input: Frame", &stoapb.ToAgent{})
	frames("master effect: ToAgent", &stoapb.ToAgent{})
	for _, x := range []struct{ prefix, file, method string }{
		{"agent effect:", "../../agent/state/effect.go", "effect"},
		{"agent input:", "../../agent/state/input.go", "input"},
		{"master effect:", "../../master/state/effect.go", "effect"},
		{"master input:", "../../master/state/input.go", "input"},
		{"master effect: Publish", "../../master/state/event.go", "event"},
	} {
		text, err := os.ReadFile(x.file)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`(?m)^func \((\w+)\) `+x.method+`\(\)`).FindAllStringSubmatch(string(text), -1)
		if len(found) < 5 {
			t.Fatalf("%s declares %v", x.file, found)
		}
		for _, f := range found {
			kinds = append(kinds, x.prefix+" "+f[1])
		}
	}
	for _, k := range kinds {
		seen := slices.ContainsFunc(expected, func(e string) bool { return e == k || strings.HasPrefix(e, k+" ") })
		switch why := impossible[k]; {
		case !seen && why == "":
			t.Errorf("%q is new: simulate it and add it to expected, or say in impossible why no seed shows it", k)
		case seen && why != "":
			t.Errorf("%q is expected, and impossible because %s", k, why)
		}
	}
	for k := range impossible {
		if !slices.Contains(kinds, k) {
			t.Errorf("%q is no kind", k)
		}
	}
}

// camel writes snake_case as Go does.
func camel(s string) string {
	words := strings.Split(s, "_")
	for i, w := range words {
		words[i] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}

func TestSameSeedSameRun(t *testing.T) {
	a, b := run(options{seed: 7}), run(options{seed: 7})
	if a.Hash != b.Hash || a.Virtual != b.Virtual {
		t.Errorf("seed 7 ran twice: %016x after %v, then %016x after %v", a.Hash, a.Virtual, b.Hash, b.Virtual)
	}
	if c := run(options{seed: 8}); c.Hash == a.Hash {
		t.Error("seeds 7 and 8 are the same run")
	}
}

// bugs are planted in the cores by the build tag "planted"; the simulator must find each
// within 200 seeds.
var bugs = []string{
	"update forwarded before durable",
	"resources released both at terminal and at ack",
	"offer counted twice when RESCIND races ACCEPT",
	"duplicate RunTask after reconnect launched again",
	"ack with a wrong uuid advancing the stream",
	"old subscription's failover timer firing after resubscribe",
	"recovered update order swapped",
	"quota headroom ignoring offered resources",
	"reused pid adopted",
	"operation answered without its record",
	"go sent before the record",
	"KILL lost while the agent is away",
	"older epoch obeyed",
}

func TestPlantedBugsAreFound(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "sim")
	if out, err := exec.Command("go", "build", "-tags", "planted", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build with planted bugs: %v\n%s", err, out)
	}
	for _, bug := range bugs {
		t.Run(bug, func(t *testing.T) {
			cmd := exec.Command(bin, "-bug", bug, "-seeds", "1-200", "-first")
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err == nil || !strings.Contains(string(out), "VIOLATION") {
				t.Fatalf("not found in 200 seeds: %v\n%s", err, out)
			}
			t.Log(strings.TrimSpace(string(out)))
		})
	}
}
