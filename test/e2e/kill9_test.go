package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/internal/failpoint"
)

const (
	// victims are live at every kill.
	victims = 100
	// spare are those just ending or starting.
	spare = 12
	// randomKills are at no special place.
	randomKills = 20
)

// failpoints are the places of launch, update and ack.
var failpoints = []string{
	failpoint.BeforeLaunchRecord, failpoint.AfterLaunchRecord, failpoint.AfterFork, failpoint.BeforeGo, failpoint.AfterGo,
	failpoint.BeforeRunningSync, failpoint.AfterRunningSync, failpoint.BeforeTerminalSync, failpoint.AfterTerminalSync,
	failpoint.AfterUpdateSent, failpoint.BeforeAckRecord, failpoint.AfterAckRecord,
}

// seedOf is STOA_SEED, or a new one; it is printed.
func seedOf(t *testing.T) uint64 {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("STOA_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("STOA_SEED=%d", seed)
	return seed
}

// Whatever is killed whenever, each task runs once and the framework hears of its end.
func TestKill9(t *testing.T) {
	t.Run("processes", func(t *testing.T) {
		t.Parallel()
		c := newPair(t, "--resources", "cpus:8;mem:16384")
		killRounds(t, c, []target{agentOnly, masterOnly, masterAndAgent})
	})
	t.Run("up", func(t *testing.T) {
		t.Parallel()
		c := newUp(t, "--resources", "cpus:8;mem:16384")
		killRounds(t, c, []target{everything})
	})
}

// target is what is killed in a round.
type target int

const (
	agentOnly target = iota
	masterOnly
	masterAndAgent
	everything // as one process
)

func (c *cluster) kill(w target) {
	switch w {
	case agentOnly:
		c.agent.kill()
	case masterOnly:
		c.master.kill()
	case masterAndAgent:
		c.master.kill()
		c.agent.kill()
	case everything:
		c.up.kill()
	}
}

func (c *cluster) restart(w target) {
	c.t.Helper()
	if w == everything {
		c.startUp()
		c.waitUp()
		return
	}
	if w != agentOnly {
		c.startMaster()
		defer c.waitMaster()
	}
	if w != masterOnly {
		c.startAgent()
		defer c.waitAgent()
	}
}

// arm restarts what has the failpoints, armed with one, which kills it by and by.
func (c *cluster) arm(name string, n int) (w target, armed *process) {
	c.t.Helper()
	env := fmt.Sprintf("%s=%s:%d", failpoint.Variable, name, n)
	if c.up != nil {
		c.up.kill()
		c.startUp(env)
		return everything, c.up
	}
	c.agent.kill()
	c.startAgent(env)
	return agentOnly, c.agent
}

func killRounds(t *testing.T, c *cluster, targets []target) {
	seed := seedOf(t)
	rnd := rand.New(rand.NewPCG(seed, 1))
	kinds := []string{"0", "0", "0", "3", "3", "segv"}
	if limits {
		kinds = append(kinds, "oom")
	}
	k := startKeeper(t, c.addr, victims+spare, kinds, seed)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(k)
		}
	})

	// Victims end all the time, so that a kill meets launches, updates and acks.
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(150 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if running, _ := k.counts(); running >= victims {
					k.end(1)
				}
			case <-stop:
				return
			}
		}
	}()
	defer func() { <-stopped }()
	defer close(stop)

	type window struct{ from, to time.Time }
	var down []window // of the agent
	// alive waits until the cluster works: enough are live, and some have ended since.
	_, before := k.counts()
	alive := func() {
		t.Helper()
		until(t, fmt.Sprintf("%d victims live and 2 more ended than %d", victims, before), func() bool {
			running, ended := k.counts()
			return running >= victims && ended >= before+2
		})
		_, before = k.counts()
	}
	alive()
	began := time.Now()
	for round := range randomKills {
		w := targets[rnd.IntN(len(targets))]
		// Any instant: while victims start, end, or nothing happens.
		<-time.After(time.Duration(rnd.IntN(300)) * time.Millisecond)
		from := time.Now()
		c.kill(w)
		wait(t, k, k.end(2)) // nobody is there to see them end
		k.end(1)             // and one as it comes back
		c.restart(w)
		if w != masterOnly {
			down = append(down, window{from, time.Now()})
		}
		alive()
		t.Logf("round %d: killed %v, back and working after %v", round, w, time.Since(from).Round(time.Millisecond))
	}
	for _, name := range failpoints {
		n := 1 + rnd.IntN(4)
		w, armed := c.arm(name, n)
		from := time.Now()
		until(t, fmt.Sprintf("death at %s:%d", name, n), func() bool {
			k.end(1)
			return armed.over()
		})
		if code := armed.exit(); code != 128+9 {
			t.Fatalf("at %s:%d it ended with %d:\n%s", name, n, code, last(armed.err.String()))
		}
		died := time.Now()
		wait(t, k, k.end(1))
		c.restart(w)
		down = append(down, window{died, time.Now()})
		alive()
		t.Logf("died at %s:%d, back and working after %v", name, n, time.Since(from).Round(time.Millisecond))
	}
	over := time.Now()
	k.finish()

	during, unseen := 0, 0
	for _, id := range k.order {
		_, _, at := k.journal(id)
		if at.After(began) && at.Before(over) {
			during++
		}
		for _, w := range down {
			if at.After(w.from) && at.Before(w.to) {
				unseen++
			}
		}
	}
	// Nothing comes again later than 30 s after its acknowledgement: look that long.
	<-time.After(time.Until(k.lastAck().Add(31 * time.Second)))
	never := k.judge()
	t.Logf("%d victims, %d ended during the kills, %d of them while the agent was down; %d never started: their ACCEPT died with a master", len(k.order), during, unseen, never)
	if during < 40 || unseen < 20 {
		t.Errorf("%d victims ended during the kills, %d while the agent was down: too few to prove anything", during, unseen)
	}
}

// wait waits until victims that were told have ended.
func wait(t *testing.T, k *keeper, told []string) {
	t.Helper()
	until(t, "victims end", func() bool {
		for _, id := range told {
			if _, how, _ := k.journal(id); how == "" {
				return false
			}
		}
		return true
	})
}
