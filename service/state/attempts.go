package state

import (
	"unicode/utf8"

	"github.com/stoa-kernel/stoa/service/instance"
)

const (
	// keepAttempts of an app, each with at most tailBytes of either stream, so that all
	// of them stay below 64 KiB.
	keepAttempts = 10
	tailBytes    = 4 << 10
	// maxAttempts bounds what an app's attempts take up, in bytes of text.
	maxAttempts = 60 << 10
	// maxMessage of one attempt, in bytes.
	maxMessage = 1 << 10
)

// attempt notes how a task ended, and asks for its last output unless it was killed on
// purpose.
func (s *Service) attempt(a *application, i *instance.Instance, in Status, ours bool) {
	agent, host := where(i)
	t := Attempt{
		Task: i.TaskID, Instance: i.ID, Version: i.Version, Agent: host, AgentID: agent,
		State: i.TaskState, Message: cut(in.Status.GetMessage(), maxMessage), Exit: in.Exit,
		Staged: i.StagedAt, Started: i.StartedAt, Ended: timestamp(in.Status, s.now.Wall),
	}
	if in.Status.Reason != nil {
		t.Reason = in.Status.GetReason().String()
	}
	all := &Attempts{App: a.id, Last: []Attempt{t}}
	if a.attempts != nil {
		all.Last = append(all.Last, a.attempts.Last[:min(len(a.attempts.Last), keepAttempts-1)]...)
	}
	s.keepAttempts(a, all)
	if !ours && agent != "" {
		s.emit(FetchTail{App: a.id, Task: i.TaskID, AgentID: agent, Framework: s.framework})
	}
}

// tail adds the last output of a task.
func (s *Service) tail(in Tail) {
	a := s.apps[in.App]
	if a == nil || a.attempts == nil {
		return
	}
	all := &Attempts{App: a.id, Last: append([]Attempt(nil), a.attempts.Last...)}
	for n := range all.Last {
		if all.Last[n].Task == in.Task {
			all.Last[n].Stdout, all.Last[n].Stderr = last(in.Stdout), last(in.Stderr)
			s.keepAttempts(a, all)
			return
		}
	}
}

// keepAttempts stores them, the oldest without their output if they are too long.
func (s *Service) keepAttempts(a *application, all *Attempts) {
	size := 0
	for n := range all.Last {
		t := &all.Last[n]
		size += len(t.Stdout) + len(t.Stderr) + len(t.Message) + 512
		if size > maxAttempts {
			t.Stdout, t.Stderr = "", ""
		}
	}
	a.attempts = all
	s.save(keyAttempts+key(a.id), all)
	s.emit(ChangedAttempts{a.id, all})
}

// cut shortens a text to at most n bytes, at its end.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// last is the end of an output.
func last(text string) string {
	if len(text) <= tailBytes {
		return text
	}
	text = text[len(text)-tailBytes:]
	for len(text) > 0 && !utf8.RuneStart(text[0]) {
		text = text[1:]
	}
	return text
}
