package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
)

const (
	// pollDeployments is how often the deployments are asked for while no event says that
	// there is news.
	pollDeployments = 500 * time.Millisecond
	// stuckAfter is how long nothing may change before the reason is asked for; the next
	// time it is after explainAgain.
	stuckAfter   = 5 * time.Second
	explainAgain = 30 * time.Second
	// away is how long the service may not answer while a deployment is followed.
	away = time.Minute
	// lateEnd is how long the event of an end may come after the deployment is gone.
	lateEnd = 2 * time.Second
)

// end is what became of a deployment.
type end struct {
	ok     bool
	reason string
}

// news of deployments, from the event stream. It is only quicker than asking, and knows
// reasons: without it everything works too.
type news struct {
	// changed has a value when something was told.
	changed chan struct{}

	mu   sync.Mutex
	ends map[string]end
}

func (n *news) of(id string) (end, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e, ok := n.ends[id]
	return e, ok
}

// listen reads the event stream until ctx ends. It returns when the stream has begun, or
// does not within a second.
func (s *service) listen(ctx context.Context) *news {
	n := &news{changed: make(chan struct{}, 1), ends: map[string]end{}}
	begun := make(chan struct{})
	go func() {
		var last string
		var once sync.Once
		for ctx.Err() == nil {
			s.stream(ctx, n, &last, func() { once.Do(func() { close(begun) }) })
			_ = pause(ctx, time.Second) // the end of ctx is seen above
		}
	}()
	select {
	case <-begun:
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
	return n
}

// stream reads events until the stream breaks; last is the id of the newest one.
func (s *service) stream(ctx context.Context, n *news, last *string, begun func()) {
	// The stream's own event comes at once, and has an id.
	types := []string{"event_stream_attached", "deployment_info", "deployment_step_success", "deployment_success", "deployment_failed"}
	resp, err := s.request(ctx, http.MethodGet, "/v2/events", url.Values{"event_type": types}, nil, http.Header{
		"Accept": {"text/event-stream"}, "Last-Event-Id": {*last},
	})
	if err != nil {
		return
	}
	defer resp.Body.Close()
	const longest = 64 << 20
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, longest)
	id := ""
	for lines.Scan() {
		field, text, _ := strings.Cut(lines.Text(), ":")
		text = strings.TrimPrefix(text, " ")
		switch field {
		case "id":
			id = text
		case "data":
			var e struct {
				marathon.EventBase
				ID     string `json:"id"`
				Reason string `json:"reason"`
			}
			if json.Unmarshal([]byte(text), &e) == nil {
				n.take(e.Type, e.ID, e.Reason)
			}
			begun()
		case "":
			if id != "" {
				*last = id
			}
		}
	}
}

func (n *news) take(kind, id, reason string) {
	n.mu.Lock()
	switch kind {
	case "deployment_success":
		n.ends[id] = end{ok: true}
	case "deployment_failed":
		n.ends[id] = end{reason: reason}
	}
	n.mu.Unlock()
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// watcher follows one deployment.
type watcher struct {
	s      *session
	svc    *service
	news   *news
	screen *screen
	id     string
	began  time.Time

	seen        *marathon.Deployment // as last listed
	stepBegan   time.Time
	changed     time.Time // when anything that is shown did
	text        string
	explained   time.Time
	paused      string
	unreachable time.Time
}

// watch follows a deployment to its end, which decides about the exit code. Ctrl-C ends
// only the following.
func (s *session) watch(ctx context.Context, svc *service, n *news, id string, o *rollout) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var late <-chan time.Time
	if o.timeout > 0 {
		t := time.NewTimer(time.Duration(o.timeout))
		defer t.Stop()
		late = t.C
	}
	now := time.Now()
	w := &watcher{s: s, svc: svc, news: n, screen: newScreen(s.err), id: id, began: now, stepBegan: now, changed: now}
	err := w.run(ctx, late)
	switch {
	case errors.Is(err, errLate):
		return w.late(ctx, time.Duration(o.timeout))
	case ctx.Err() != nil:
		w.screen.line("deployment %s goes on; stoa deployment watch %s follows it again", w.id, w.id)
		return Exit(ExitInterrupted)
	}
	return err
}

var errLate = errors.New("it takes too long")

func (w *watcher) run(ctx context.Context, late <-chan time.Time) error {
	for {
		all, err := w.svc.deployments(ctx)
		if done, err := w.look(ctx, all, err); done || err != nil {
			return err
		}
		t := time.NewTimer(pollDeployments)
		select {
		case <-w.news.changed:
		case <-t.C:
		case <-ctx.Done():
		case <-late:
			t.Stop()
			return errLate
		}
		t.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// look at what the service says of all deployments.
func (w *watcher) look(ctx context.Context, all []marathon.Deployment, err error) (done bool, _ error) {
	if err != nil {
		var e *Error
		if !errors.As(err, &e) || e.Code != ExitUnreachable {
			return false, err
		}
		if w.unreachable.IsZero() {
			w.unreachable = time.Now()
		}
		if time.Since(w.unreachable) > away {
			e.Try = "stoa deployment watch " + w.id + ", when it is back; deployments go on"
			return false, e
		}
		w.screen.draw([]progress{{"service", "the service does not answer; trying again", age(time.Since(w.unreachable))}})
		return false, nil
	}
	w.unreachable = time.Time{}
	if i := slices.IndexFunc(all, func(d marathon.Deployment) bool { return d.ID == w.id }); i >= 0 {
		w.show(ctx, &all[i])
		return false, nil
	}
	ended, known := w.outcome(ctx)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if known && ended.ok {
		if w.seen != nil {
			w.stepsDone(w.seen, w.seen.TotalSteps+1)
		}
		w.screen.line("deployment %s is done after %s", w.id, took(time.Since(w.began)))
		return true, nil
	}
	return true, w.failed(ctx, all, ended, known)
}

// failed reports the end, after following the return if it goes back.
func (w *watcher) failed(ctx context.Context, all []marathon.Deployment, ended end, known bool) error {
	e := &Error{What: "deployment " + w.id + " failed", Why: clean(ended.reason), Code: ExitFailed}
	if !known {
		e.What, e.Why = "deployment "+w.id+" is over", "what became of it is not known"
	}
	e.Try = "stoa app list"
	if w.seen != nil && len(w.seen.AffectedApps) > 0 {
		e.Try = "stoa why " + w.seen.AffectedApps[0] + ", or stoa app versions " + w.seen.AffectedApps[0]
	}
	i := slices.IndexFunc(all, func(d marathon.Deployment) bool { return d.Reverts == w.id })
	if i < 0 {
		return e
	}
	w.screen.line("deployment %s goes back: %s", w.id, e.Why)
	back := &watcher{s: w.s, svc: w.svc, news: w.news, screen: w.screen, id: all[i].ID, began: time.Now(), stepBegan: time.Now(), changed: time.Now()}
	if err := back.run(ctx, nil); err != nil {
		return err
	}
	e.Why += "; it was taken back by deployment " + back.id
	return e
}

// outcome of a deployment that is not listed any more: as its event tells or, if that was
// missed, as the history of an app does, which knows no reason.
func (w *watcher) outcome(ctx context.Context) (end, bool) {
	if e, ok := w.news.of(w.id); ok {
		return e, true
	}
	told, known := w.recorded(ctx)
	if known && told.ok {
		return told, true
	}
	deadline := time.After(lateEnd)
	for {
		select {
		case <-w.news.changed:
			if e, ok := w.news.of(w.id); ok {
				return e, true
			}
			continue
		case <-deadline:
		case <-ctx.Done():
		}
		break
	}
	if !known {
		told, known = w.recorded(ctx)
	}
	return told, known
}

// recorded is what the history of an app says of the deployment.
func (w *watcher) recorded(ctx context.Context) (end, bool) {
	if w.seen == nil {
		return end{}, false
	}
	for _, id := range w.seen.AffectedApps[:min(len(w.seen.AffectedApps), 10)] {
		all, err := w.svc.history(ctx, id)
		if err != nil {
			continue // it may have been removed
		}
		for _, v := range all {
			if v.Deployment == w.id && v.Outcome != "" {
				return end{ok: v.Outcome == "success", reason: v.Outcome}, true
			}
		}
	}
	return end{}, false
}

// show draws how far the deployment is.
func (w *watcher) show(ctx context.Context, d *marathon.Deployment) {
	if w.seen == nil {
		w.screen.line("deployment %s, %s", d.ID, count(d.TotalSteps, "step"))
	} else if d.CurrentStep != w.seen.CurrentStep {
		w.stepsDone(w.seen, d.CurrentStep)
	}
	w.seen = d
	var lines []progress
	var waiting []string
	for _, a := range d.CurrentActions {
		text := fmt.Sprintf("step %d/%d  %s %s", d.CurrentStep, d.TotalSteps, verb(a.Action), clean(a.App))
		if a.Waiting != "" {
			text += ": " + clean(a.Waiting)
			waiting = append(waiting, a.App)
		} else if len(d.CurrentActions) > 1 {
			text += ": done"
		}
		lines = append(lines, progress{fmt.Sprint(d.CurrentStep, a.App), "  " + text, age(time.Since(w.stepBegan))})
	}
	if text := texts(lines); text != w.text {
		w.text, w.changed = text, time.Now()
	}
	if d.Paused != w.paused {
		w.paused = d.Paused
		switch {
		case d.Paused == "operator":
			w.screen.line("  paused; stoa deployment resume %s lets it go on", d.ID)
		case d.Paused != "":
			w.screen.line("  %s: stoa deployment promote %s lets it go on, stoa deployment rollback %s takes it back", clean(d.Paused), d.ID, d.ID)
		}
	}
	if d.Paused == "" && len(waiting) > 0 && time.Since(w.changed) > stuckAfter && time.Since(w.explained) > explainAgain {
		w.explained = time.Now()
		for _, id := range waiting[:min(len(waiting), 3)] {
			w.explain(ctx, id)
		}
	}
	w.screen.draw(lines)
}

func texts(lines []progress) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.text + "\n")
	}
	return b.String()
}

// explain why an app does not get where it should; it is help, so that no explanation is
// no error.
func (w *watcher) explain(ctx context.Context, id string) {
	lines, err := w.svc.why(ctx, id)
	if err != nil || len(lines) == 0 {
		return
	}
	for _, l := range lines[:min(len(lines), 4)] {
		w.screen.line("    %s", clean(l))
	}
	w.screen.line("    stoa why %s says more", id)
}

// stepsDone writes the steps before the one given as done.
func (w *watcher) stepsDone(d *marathon.Deployment, until int) {
	for n := max(d.CurrentStep, 1); n < until && n <= len(d.Steps); n++ {
		var actions []string
		for _, a := range d.Steps[n-1].Actions[:min(len(d.Steps[n-1].Actions), 5)] {
			actions = append(actions, verb(a.Action)+" "+clean(a.App))
		}
		if more := len(d.Steps[n-1].Actions) - len(actions); more > 0 {
			actions = append(actions, fmt.Sprintf("and %d more", more))
		}
		w.screen.line("  step %d/%d  %s: done", n, d.TotalSteps, strings.Join(actions, ", "))
	}
	w.stepBegan = time.Now()
}

// late is the report of a deployment that is not done in time.
func (w *watcher) late(ctx context.Context, after time.Duration) error {
	e := &Error{
		What: fmt.Sprintf("deployment %s is not done after %s; it goes on", w.id, age(after)),
		Try:  fmt.Sprintf("stoa deployment watch %s, or stoa deployment rollback %s", w.id, w.id),
		Code: ExitWaiting,
	}
	w.screen.erase()
	if w.seen == nil {
		return e
	}
	for _, a := range w.seen.CurrentActions {
		if a.Waiting != "" {
			e.Why = fmt.Sprintf("%s %s: %s", verb(a.Action), clean(a.App), clean(a.Waiting))
			w.explain(ctx, a.App)
			break
		}
	}
	return e
}

// why an app does not run, in lines for people.
func (s *service) why(ctx context.Context, id string) ([]string, error) {
	var answer marathon.Why
	err := s.get(ctx, "/v2/why", url.Values{"app": {id}}, &answer)
	return answer.Lines, err
}

// history of an app, newest version first.
func (s *service) history(ctx context.Context, id string) ([]marathon.AppVersion, error) {
	var answer struct {
		History []marathon.AppVersion `json:"history"`
	}
	err := s.get(ctx, appPath(id, "/versions"), url.Values{"embed": {"history"}}, &answer)
	return answer.History, err
}

// took is a duration that may be short.
func took(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return age(d)
}

func isNotFound(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.status == http.StatusNotFound
}
