package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/stoa-kernel/stoa/sdk/operator"
)

// pollLogs is how often a followed file is asked for more.
const pollLogs = 200 * time.Millisecond

// tail copies one file of a sandbox, as far as it has come, and remembers where it was.
type tail struct {
	client      *operator.Client
	agent, path string
	out         io.Writer
	offset      uint64
}

// more copies what was added since the last call.
func (t *tail) more(ctx context.Context) error {
	for {
		data, size, err := t.client.ReadFile(ctx, t.agent, t.path, t.offset, 0)
		if err != nil {
			return err
		}
		if size < t.offset {
			// The file was rotated away and begun anew.
			t.offset = 0
			continue
		}
		if len(data) == 0 {
			return nil
		}
		if _, err := t.out.Write(data); err != nil {
			return err
		}
		t.offset += uint64(len(data))
		if t.offset >= size {
			return nil
		}
	}
}

// last moves to the last n lines of the file as it is now.
func (t *tail) last(ctx context.Context, n int) error {
	const chunk = 32 << 10
	_, size, err := t.client.ReadFile(ctx, t.agent, t.path, 0, 1)
	if err != nil {
		return err
	}
	end := size
	for found := 0; end > 0; {
		begin := end - min(end, chunk)
		data, _, err := t.client.ReadFile(ctx, t.agent, t.path, begin, end-begin)
		if err != nil {
			return err
		}
		if len(data) == 0 {
			break // cut meanwhile
		}
		for i := len(data) - 1; i >= 0; i-- {
			// The newline that ends the file begins no line.
			if data[i] == '\n' && begin+uint64(i)+1 < size {
				if found++; found == n {
					t.offset = begin + uint64(i) + 1
					return nil
				}
			}
		}
		end = begin
	}
	t.offset = 0
	return nil
}

// prefixer writes whole lines behind a name, never two writers' in one line.
type prefixer struct {
	mu     *sync.Mutex
	prefix string
	out    io.Writer
	part   []byte
}

func (p *prefixer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.part = append(p.part, b...)
	for {
		i := bytes.IndexByte(p.part, '\n')
		if i < 0 {
			return len(b), nil
		}
		if _, err := fmt.Fprintf(p.out, "%s%s\n", p.prefix, p.part[:i]); err != nil {
			return 0, err
		}
		p.part = p.part[i+1:]
	}
}

// flush ends a last line that has no newline.
func (p *prefixer) flush() {
	if len(p.part) > 0 {
		_, _ = p.Write([]byte("\n"))
	}
}

// follower copies the files of a set of tasks that may grow.
type follower struct {
	s              *session
	stdout, stderr bool
	named          bool
	mu             sync.Mutex
	files          map[string][]*tail
	lines          []*prefixer
	// old are the tasks of an app that had ended before.
	old map[string]bool
}

// addEnded adds tasks of an app that have ended: those that did since the first look and,
// if nothing runs at the first, the last one.
func (f *follower) addEnded(found *found, first bool) {
	if first {
		f.old = idsOf(found.ended)
		var last *taskRow
		for i := range found.ended {
			t := &found.ended[i]
			if last == nil || t.Since != nil && (last.Since == nil || t.Since.After(*last.Since)) {
				last = t
			}
		}
		if len(found.tasks) == 0 && last != nil {
			f.add(last)
		}
		return
	}
	for i := range found.ended {
		if t := &found.ended[i]; !f.old[t.ID] {
			f.add(t)
		}
	}
}

// label is what a task's lines begin with: of an instance's long name, what tells it from
// others.
func label(task string) string {
	const instance = ".instance-"
	i := strings.LastIndex(task, instance)
	if i < 0 || len(task) < i+len(instance)+8 {
		return task
	}
	short := task[:i] + "." + task[i+len(instance):][:8]
	if n := task[strings.LastIndexByte(task, '.')+1:]; n != "1" {
		short += "." + n
	}
	return short
}

func (f *follower) add(t *taskRow) {
	if f.files[t.ID] != nil || t.AgentID == "" {
		return
	}
	file := func(name string, out io.Writer) {
		if f.named {
			p := &prefixer{mu: &f.mu, prefix: label(t.ID) + " | ", out: out}
			f.lines = append(f.lines, p)
			out = p
		}
		f.files[t.ID] = append(f.files[t.ID], &tail{
			client: f.s.client(), agent: t.AgentID, out: out,
			path: operator.SandboxPath(t.FrameworkID, t.executor()) + "/" + name,
		})
	}
	if f.stdout {
		file("stdout", f.s.out)
	}
	if f.stderr {
		file("stderr", f.s.err)
	}
}

// each calls do with every file, tasks in the order of their ids; what a task has not
// written yet is not an error.
func (f *follower) each(do func(*tail) error) error {
	var ids []string
	for id := range f.files {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		for _, t := range f.files[id] {
			if err := do(t); err != nil && !operator.NotFound(err) {
				return fmt.Errorf("%s of %s: %w", t.path[strings.LastIndexByte(t.path, '/')+1:], id, err)
			}
		}
	}
	return nil
}

func (f *follower) copy(ctx context.Context) error {
	return f.each(func(t *tail) error { return t.more(ctx) })
}

func (f *follower) flush() {
	for _, p := range f.lines {
		p.flush()
	}
}

func logsCommand(s *session) *cobra.Command {
	var follow, onlyOut, onlyErr bool
	var lines int
	c := &cobra.Command{
		Use:   "logs TASK|RUN|APP",
		Short: "Show what tasks wrote to stdout and stderr",
		Long: `Show what a task, or all tasks of a run or an app, wrote. Of the id of a task or run a
unique beginning is enough. With several tasks every line begins with its task's id. Of
an app with no task that runs it is the last one's; -f goes on with tasks that are
started later, until the app is deleted. Logs are there until the agent collects the
sandbox.`,
		Example: "  stoa logs -f /web\n  stoa logs --stderr --tail 20 web-1f3a.0.1",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if onlyOut && onlyErr {
				return usage("--stdout and --stderr each leave the other out; give one or none")
			}
			if lines < -1 {
				return usage("--tail %d: give a number of lines", lines)
			}
			f := &follower{s: s, stdout: !onlyErr, stderr: !onlyOut, files: map[string][]*tail{}}
			return s.logs(c.Context(), args[0], f, follow, lines)
		},
		ValidArgsFunction: s.completeTasks,
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the tasks end; ctrl-C stops")
	c.Flags().BoolVar(&onlyOut, "stdout", false, "standard output only")
	c.Flags().BoolVar(&onlyErr, "stderr", false, "standard error only")
	c.Flags().IntVar(&lines, "tail", -1, "begin with the last `N` lines")
	return c
}

// logs copies what the tasks that name means have written, and with follow what they, and
// those that follow them, write from then on.
func (s *session) logs(ctx context.Context, name string, f *follower, follow bool, lines int) error {
	first, next := true, time.Time{}
	var found *found
	for {
		if began := time.Now(); began.After(next) {
			now, err := s.find(ctx, name)
			var e *Error
			switch {
			case !first && errors.As(err, &e) && e.Code == ExitNotFound:
				// It was deleted, and is forgotten already.
				f.flush()
				return nil
			case err != nil:
				return err
			}
			found = now
			// Of a large cluster the state is large too: a tenth of the time goes to it.
			next = time.Now().Add(9 * time.Since(began))
			if first {
				f.named = found.named
			}
			for i := range found.tasks {
				f.add(&found.tasks[i])
			}
			f.addEnded(found, first)
		}
		if first && lines >= 0 {
			if err := f.each(func(t *tail) error { return t.last(ctx, lines) }); err != nil {
				return err
			}
		}
		first = false
		if err := f.copy(ctx); err != nil {
			return err
		}
		if !follow || !found.more {
			f.flush()
			if len(f.files) == 0 {
				fmt.Fprintf(s.err, "%s has no task, so there is nothing to read; stoa why %s says more\n", found.name, found.name)
			}
			return nil
		}
		if err := pause(ctx, pollLogs); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// found is what a name means.
type found struct {
	// name in full.
	name  string
	tasks []taskRow
	// ended are tasks of an app that have ended, while tasks has those that have not.
	ended []taskRow
	// named says that there may be several tasks, whose lines are told apart by name.
	named bool
	// more says that there is, or will be, more to read.
	more bool
}

// find looks for a run, by id, the only beginning of one, or name; for an app; and for a
// task, by id or the only beginning of one. Runs and apps are known before the master
// tells of their tasks.
func (s *session) find(ctx context.Context, name string) (*found, error) {
	st, err := s.client().State(ctx)
	if err != nil {
		return nil, err
	}
	rows := tasks(st)
	if f := ofApp(rows, name); len(f.tasks)+len(f.ended) > 0 || strings.HasPrefix(name, "/") {
		// While there is a task there is an app.
		f.more = true
		if len(f.tasks) == 0 {
			f.more, err = s.hasApp(ctx, f.name)
		}
		if err == nil && !f.more && len(f.ended) == 0 {
			err = &Error{What: "no app " + f.name + " is known", Try: "stoa app list lists them", Code: ExitNotFound}
		}
		return f, err
	}
	all := s.allRuns(ctx, st)
	if r := named(all, name); r != nil && strings.HasPrefix(r.ID, name) {
		f := &found{name: r.ID, named: len(r.Instances) > 1, more: r.Done == nil}
		for _, t := range append(rows, gone(st, rows, all)...) {
			if strings.HasPrefix(t.ID, r.ID+".") {
				f.tasks = append(f.tasks, t)
				f.more = f.more || t.live
			}
		}
		f.named = f.named || len(f.tasks) > 1
		return f, nil
	}
	t, err := match(rows, name, "task", func(r taskRow) string { return r.ID })
	if e := (*Error)(nil); errors.As(err, &e) && e.Code == ExitNotFound {
		t, err = match(gone(st, rows, all), name, "task", func(r taskRow) string { return r.ID })
		if errors.As(err, &e) && e.Code == ExitNotFound {
			is, err := s.hasApp(ctx, appID(name))
			if is {
				return &found{name: appID(name), named: true, more: true}, nil
			}
			if refused := (*refusal)(nil); errors.As(err, &refused) {
				return nil, err // it may be an app
			}
			e.What, e.Try = fmt.Sprintf("no app, run or task %q is known", name), "stoa app list lists apps, stoa ps -a runs and tasks"
		}
	}
	if err != nil {
		return nil, err
	}
	return &found{name: t.ID, tasks: []taskRow{t}, more: t.live}, nil
}

// ofApp are the tasks of an app, whose ids begin with its id (as Marathon 1.8 and later
// make them).
func ofApp(rows []taskRow, name string) *found {
	id := appID(name)
	f := &found{name: id, named: true}
	begin := strings.ReplaceAll(id[1:], "/", "_") + ".instance-"
	for _, r := range rows {
		switch {
		case !strings.HasPrefix(r.ID, begin):
		case r.live:
			f.tasks = append(f.tasks, r)
		default:
			f.ended = append(f.ended, r)
		}
	}
	return f
}

// hasApp reports whether the service has an app.
func (s *session) hasApp(ctx context.Context, id string) (bool, error) {
	svc, err := s.service(ctx)
	if err != nil {
		return false, err
	}
	_, err = existing(ctx, svc, id, nil)
	if isNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

func (s *session) completeTasks(c *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if strings.HasPrefix(begin, "/") {
		return s.completeApps(c, args, begin)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	st, err := s.client().State(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var ids []string
	for _, r := range tasks(st) {
		if r.live && strings.HasPrefix(r.ID, begin) {
			ids = append(ids, r.ID+"\t"+r.State+" on "+r.Agent)
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
