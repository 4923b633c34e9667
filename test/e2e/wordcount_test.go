package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A real job on real input, with a task killed and the agent killed and restarted in the
// middle of it.
func TestWordcount(t *testing.T) {
	t.Parallel()
	c := newPair(t, "--resources", "cpus:1;mem:1024;disk:2048") // two tasks at a time
	totals := filepath.Join(c.dir, "totals")
	job := start(t, nil, "wordcount", "-master", c.addr, "-shards", "48", "-out", totals)
	job.says("shards are counted") // a quarter
	until(t, "a task is killed and run again", func() bool {
		for _, line := range strings.Split(c.stoa("ps", "--no-headers").out, "\n") {
			if id, _, _ := strings.Cut(line, " "); strings.HasPrefix(id, "wordcount-") {
				c.stoa("kill", id) // it may just have ended
			}
		}
		if job.over() {
			t.Fatalf("it was too quick:\n%s", job.out)
		}
		return strings.Contains(job.out.String(), "is run again")
	})
	c.agent.kill()
	c.startAgent()
	c.waitAgent()
	if job.over() {
		t.Fatalf("the agent was killed too late:\n%s", job.out)
	}
	if code := job.exit(); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, job.out, job.err)
	}
	job.says("equal a plain count byte for byte")
	if m := regexp.MustCompile(`wordcount: (\d+)\.\d MB of text`).FindStringSubmatch(job.out.String()); m == nil || len(m[1]) < 2 || m[1] < "50" && len(m[1]) == 2 {
		t.Errorf("too little text:\n%s", job.out)
	}
	if info, err := os.Stat(totals); err != nil || info.Size() < 1<<20 {
		t.Errorf("the totals: %v %v", info, err)
	}
	t.Logf("%s", job.out)
}
