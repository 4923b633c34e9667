package master

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	nethttp "net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/master/http"
	"github.com/stoa-kernel/stoa/master/state"
)

// fake is a core that does what the test says.
type fake struct {
	mu   sync.Mutex
	seen []string
	step func(now clock.Now, in state.Input) []state.Effect
}

func (f *fake) Step(now clock.Now, in state.Input, out *state.Effects) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, strings.TrimPrefix(fmt.Sprintf("%T", in), "state."))
	if f.step != nil {
		out.List = append(out.List, f.step(now, in)...)
	}
}

func (f *fake) log() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.seen, " ")
}

// bench is a loop without sockets, inside a synctest bubble.
type bench struct {
	*master
	t      *testing.T
	core   *fake
	lost   chan struct{}
	stop   context.CancelFunc
	ended  chan error
	commit func(context.Context, []state.Persist) error
}

func start(t *testing.T, core *fake, commit func(context.Context, []state.Persist) error) *bench {
	t.Helper()
	c := Config{Log: slog.New(slog.DiscardHandler)}
	b := &bench{master: assemble(c, time.Now()), t: t, core: core, lost: make(chan struct{}), ended: make(chan error, 1)}
	b.loop.core, b.loop.commits.commit = core, commit
	b.status.Store(&http.Status{Leading: true})
	ctx, stop := context.WithCancel(t.Context())
	b.stop = stop
	go func() {
		b.ended <- b.loop.run(ctx, b.lost, state.Recovered{Epoch: 1}, func() {
			b.change(func(s *http.Status) { s.Recovered = true })
		})
	}()
	synctest.Wait()
	return b
}

func (b *bench) end() {
	b.t.Helper()
	b.stop()
	if err := <-b.ended; err != nil {
		b.t.Errorf("the loop ended with %v", err)
	}
}

// kill posts to /stoa/v1/kill and reports the answer on a channel.
func (b *bench) kill(task string) <-chan *httptest.ResponseRecorder {
	done := make(chan *httptest.ResponseRecorder, 1)
	go func() {
		body := fmt.Sprintf(`{"framework_id":"f","task_id":%q}`, task)
		w := httptest.NewRecorder()
		b.loop.server.ServeHTTP(w, httptest.NewRequest("POST", "/stoa/v1/kill", strings.NewReader(body)))
		done <- w
	}()
	return done
}

func answer(in state.Input) []state.Effect {
	if k, ok := in.(state.Kill); ok {
		return []state.Effect{state.Answer{Token: k.Token, Status: 200}}
	}
	return nil
}

func ignore(context.Context, []state.Persist) error { return nil }

func TestNothingIsSaidBeforeItIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var commits [][]string
		release := make(chan struct{})
		core := &fake{step: func(_ clock.Now, in state.Input) []state.Effect {
			k, ok := in.(state.Kill)
			if !ok {
				return nil
			}
			out := answer(in)
			if strings.HasPrefix(string(k.Task), "p") {
				out = append([]state.Effect{state.Persist{Table: state.Frameworks, ID: string(k.Task)}}, out...)
			}
			return append(out, state.Publish{Event: state.TaskRemoved{Framework: k.Framework, Task: k.Task}})
		}}
		b := start(t, core, func(_ context.Context, batch []state.Persist) error {
			var ids []string
			for _, p := range batch {
				ids = append(ids, p.ID)
			}
			commits = append(commits, ids)
			<-release
			return nil
		})
		first, second, third, plain := b.kill("p1"), (<-chan *httptest.ResponseRecorder)(nil), (<-chan *httptest.ResponseRecorder)(nil), (<-chan *httptest.ResponseRecorder)(nil)
		synctest.Wait()
		second = b.kill("p2")
		synctest.Wait()
		plain = b.kill("x") // follows no persist of its own, but comes after them
		synctest.Wait()
		third = b.kill("p3")
		synctest.Wait()
		if n := len(first) + len(second) + len(third) + len(plain); n != 0 {
			t.Fatalf("%d answers before anything is durable", n)
		}
		if got := b.loop.view.Root().Sequence; got != 0 {
			t.Fatalf("%d events published before anything is durable", got)
		}
		release <- struct{}{}
		synctest.Wait()
		if len(first) != 1 || len(second)+len(third)+len(plain) != 0 {
			t.Fatalf("after the first commit: %d %d %d %d answers, want only the first", len(first), len(second), len(plain), len(third))
		}
		release <- struct{}{}
		synctest.Wait()
		if len(second)+len(third)+len(plain) != 3 {
			t.Fatal("answers are missing after the second commit")
		}
		if got := b.loop.view.Root().Sequence; got != 4 {
			t.Errorf("%d events published, want 4", got)
		}
		// What came up during the first commit went into one.
		if got, want := fmt.Sprint(commits), "[[p1] [p2 p3]]"; got != want {
			t.Errorf("commits %s, want %s", got, want)
		}
		b.end()
	})
}

func TestAFailedCommitEndsTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("disk on fire")
		core := &fake{step: func(_ clock.Now, in state.Input) []state.Effect {
			return append([]state.Effect{state.Persist{ID: "x"}}, answer(in)...)
		}}
		n := 0
		b := start(t, core, func(context.Context, []state.Persist) error {
			if n++; n == 1 {
				return nil
			}
			return broken
		})
		w := <-b.kill("a")
		if w.Code != 503 {
			t.Errorf("the request was answered %d %s, want 503", w.Code, w.Body)
		}
		if err := <-b.ended; !errors.Is(err, broken) {
			t.Errorf("the loop ended with %v", err)
		}
		if n != 2 {
			t.Errorf("%d commits: a failed one is not tried again", n)
		}
		b.stop()
	})
}

func TestLostLeadershipEndsTheLoopBeforeAnythingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core := &fake{step: func(_ clock.Now, in state.Input) []state.Effect { return answer(in) }}
		b := start(t, core, ignore)
		close(b.lost)
		if err := <-b.ended; !errors.Is(err, errLost) {
			t.Errorf("the loop ended with %v", err)
		}
		if w := <-b.kill("a"); w.Code != 503 {
			t.Errorf("a request afterwards was answered %d", w.Code)
		}
		b.stop()
	})
}

func TestTimersFireInOrderAndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		timer := func(owner string) state.Timer { return state.Timer{Kind: state.TimerOffer, Owner: owner} }
		var fired []string
		began := time.Now()
		core := &fake{}
		core.step = func(now clock.Now, in state.Input) []state.Effect {
			switch in := in.(type) {
			case state.Recovered:
				return []state.Effect{
					// Behind a persist that is never durable: timers do not wait for it.
					state.Persist{ID: "never"},
					state.SetTimer{Timer: timer("b"), At: 2 * time.Second},
					state.SetTimer{Timer: timer("a"), At: time.Second},
					state.SetTimer{Timer: timer("c"), At: 3 * time.Second},
					state.SetTimer{Timer: timer("stopped"), At: time.Second},
					state.SetTimer{Timer: timer("past"), At: -time.Second},
				}
			case state.Fired:
				fired = append(fired, in.Timer.Owner)
				if got := time.Since(began); got != now.Mono {
					t.Errorf("%s fired at %v, told %v", in.Timer.Owner, got, now.Mono)
				}
				if in.Timer.Owner == "past" {
					return []state.Effect{state.StopTimer{Timer: timer("stopped")}, state.SetTimer{Timer: timer("c"), At: 1500 * time.Millisecond}}
				}
			}
			return nil
		}
		b := start(t, core, func(ctx context.Context, _ []state.Persist) error {
			<-ctx.Done()
			return ctx.Err()
		})
		<-time.After(10 * time.Second)
		synctest.Wait()
		if want := []string{"past", "a", "c", "b"}; !slices.Equal(fired, want) {
			t.Errorf("fired %v, want %v", fired, want)
		}
		if b.status.Load().Recovered {
			t.Error("recovered although what follows from the registry is not durable")
		}
		b.end()
	})
}

// Requests wait outside of a full loop; none is lost, and one that gives up is not
// answered to somebody else.
func TestManyRequestsEachGetTheirOwnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core := &fake{step: func(_ clock.Now, in state.Input) []state.Effect {
			k, ok := in.(state.Kill)
			if !ok || k.Task == "never" {
				return nil
			}
			return []state.Effect{state.Answer{Token: k.Token, Status: 400, Message: string(k.Task)}}
		}}
		b := start(t, core, ignore)
		never := b.kill("never")
		var all []<-chan *httptest.ResponseRecorder
		for i := range 3 * backlog {
			all = append(all, b.kill(fmt.Sprint("t", i)))
		}
		for i, c := range all {
			if w := <-c; w.Code != 400 || w.Body.String() != fmt.Sprint("t", i) {
				t.Fatalf("request %d was answered %d %s", i, w.Code, w.Body)
			}
		}
		if w := <-never; w.Code != 503 || !strings.Contains(w.Body.String(), "try again") {
			t.Errorf("a request the loop does not answer: %d %s", w.Code, w.Body)
		}
		b.end()
	})
}

func TestOnlyTheLeaderThatRecoveredIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core := &fake{}
		b := start(t, core, ignore)
		do := func(s http.Status, path string) *httptest.ResponseRecorder {
			b.status.Store(&s)
			w := httptest.NewRecorder()
			b.loop.server.ServeHTTP(w, httptest.NewRequest("POST", path, nil))
			return w
		}
		for _, path := range []string{"/api/v1", "/master/api/v1/scheduler", "/stoa/v1/kill", "/stoa/v1/agent"} {
			if w := do(http.Status{}, path); w.Code != 503 || w.Body.String() != "No leader elected" {
				t.Errorf("%s without a leader: %d %s", path, w.Code, w.Body)
			}
			if w := do(http.Status{Leader: "other:5050"}, path); w.Code != 307 || w.Header().Get("Location") != "//other:5050"+path {
				t.Errorf("%s with another leader: %d %s", path, w.Code, w.Header())
			}
			if w := do(http.Status{Leading: true, Leader: "me:5050"}, path); w.Code != 503 || w.Body.String() != "Master has not finished recovery" {
				t.Errorf("%s before recovery: %d %s", path, w.Code, w.Body)
			}
		}
		for _, path := range []string{"/health", "/version", "/metrics"} {
			if w := do(http.Status{}, path); w.Code != nethttp.StatusOK {
				t.Errorf("%s without a leader: %d", path, w.Code)
			}
		}
		if got := core.log(); got != "Recovered" {
			t.Errorf("the core saw %s", got)
		}
		b.end()
	})
}

func TestMetricsCountTheLoopsWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core := &fake{step: func(_ clock.Now, in state.Input) []state.Effect {
			if _, ok := in.(state.Recovered); !ok {
				return answer(in)
			}
			offer := &state.Offer{ID: "o1"}
			return []state.Effect{
				state.Persist{ID: "x"},
				state.SetTimer{Timer: state.Timer{Kind: state.TimerAllocate}, At: 0},
				state.Publish{Event: state.OfferAdded{Offer: offer}},
				state.Publish{Event: state.OfferAdded{Offer: &state.Offer{ID: "o2"}}},
				state.Publish{Event: state.OfferRemoved{Offer: "o1", How: "declined"}},
				state.Publish{Event: state.AgentAdded{Agent: &state.Agent{ID: id.Agent("S0")}}},
			}
		}}
		b := start(t, core, ignore)
		<-b.kill("t")
		synctest.Wait()
		w := httptest.NewRecorder()
		b.loop.server.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		for _, line := range []string{
			`stoa_master_steps_total{input="Kill"} 1`,
			`stoa_master_steps_total{input="Recovered"} 1`,
			`stoa_master_allocation_seconds_count 1`,
			`stoa_master_persist_seconds_count 1`,
			`stoa_master_offers_total 2`,
			`stoa_master_offers_ended_total{how="declined"} 1`,
			`stoa_master_offers 1`,
			`stoa_master_agents 1`,
			`stoa_master_updates_in_flight 0`,
			`stoa_master_streams_cut_off_total 0`,
		} {
			if !strings.Contains(w.Body.String(), line+"\n") {
				t.Errorf("/metrics has no line %s", line)
			}
		}
		b.end()
	})
}
