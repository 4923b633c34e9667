package instance

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// Reader reads instances as the store has them. Of 100,000 instances that is most of what
// a start has to do, so what is written most is read by hand, and everything else as
// encoding/json does. What many instances have in common, like their agent, they share.
// It is for one goroutine.
type Reader struct {
	words  map[string]string
	agents map[string]*Agent
}

// Read is json.Unmarshal.
func (r *Reader) Read(raw []byte) (*Instance, error) {
	if r.words == nil {
		r.words, r.agents = make(map[string]string), make(map[string]*Agent)
	}
	i := new(Instance)
	t := source{b: raw}
	if r.instance(&t, i); !t.odd && len(t.b) == 0 {
		return i, nil
	}
	i = new(Instance)
	if err := json.Unmarshal(raw, i); err != nil {
		return nil, err
	}
	return i, nil
}

// source is what is left to be read. It is odd once there was something that is not
// read here: the rest means nothing then.
type source struct {
	b   []byte
	odd bool
}

func (t *source) next(c byte) {
	if len(t.b) == 0 || t.b[0] != c {
		t.odd = true
		return
	}
	t.b = t.b[1:]
}

func (t *source) is(c byte) bool { return len(t.b) > 0 && t.b[0] == c }

// word is a string without escapes and beyond-ASCII characters.
func (t *source) word() []byte {
	if t.next('"'); t.odd {
		return nil
	}
	for n, c := range t.b {
		if c == '"' {
			w := t.b[:n]
			t.b = t.b[n+1:]
			return w
		}
		if c < ' ' || c >= 0x7f || c == '\\' {
			break
		}
	}
	t.odd = true
	return nil
}

// number is a small one, without a sign.
func (t *source) number() (n int) {
	digits := 0
	for digits < len(t.b) && t.b[digits] >= '0' && t.b[digits] <= '9' && digits < 10 {
		n = 10*n + int(t.b[digits]-'0')
		digits++
	}
	t.odd = t.odd || digits == 0 || digits == 10 || digits > 1 && t.b[0] == '0'
	t.b = t.b[digits:]
	return n
}

func (t *source) yes() bool {
	t.odd = t.odd || !bytes.HasPrefix(t.b, []byte("true")) // false is left out
	t.b = t.b[min(4, len(t.b)):]
	return true
}

func (t *source) time() (at time.Time) {
	if w := t.word(); !t.odd {
		t.odd = at.UnmarshalText(w) != nil
	}
	return at
}

// object calls f for each member. No name may come twice.
func (t *source) object(names []string, f func(name string)) {
	t.next('{')
	seen := 0
	for first := true; !t.odd && !t.is('}'); first = false {
		if !first {
			t.next(',')
		}
		w := t.word()
		t.next(':')
		at := 0
		for at < len(names) && names[at] != string(w) {
			at++
		}
		if at == len(names) || seen&(1<<at) != 0 || t.odd {
			t.odd = true
			return
		}
		seen |= 1 << at
		f(names[at])
	}
	t.next('}')
}

// array calls f for each element.
func (t *source) array(f func()) {
	t.next('[')
	for first := true; !t.odd && !t.is(']'); first = false {
		if !first {
			t.next(',')
		}
		f()
	}
	t.next(']')
}

// shared is a string that many instances have.
func (r *Reader) shared(t *source) string {
	w := t.word()
	s, ok := r.words[string(w)]
	if !ok && !t.odd {
		s = string(w)
		r.words[s] = s
	}
	return s
}

// Names of what is read here, those that are there most first.
var (
	ofInstance = []string{
		"id", "app", "version", "incarnation", "goal", "condition", "since", "taskId", "role", "agent", "ports", "ipAddresses",
		"stagedAt", "startedAt", "taskState", "health", "ready", "preview", "drainUntil", "killingSince", "wipe",
	}
	ofHealth  = []string{"known", "alive", "firstSuccess", "lastSuccess", "consecutiveFailures", "ignored", "lastFailure", "lastFailureCause"}
	ofAddress = []string{"ipAddress", "protocol"}
)

func (r *Reader) instance(t *source, i *Instance) {
	var id []byte
	t.object(ofInstance, func(name string) {
		switch name {
		case "id":
			id = t.word()
		case "app":
			i.App = r.shared(t)
		case "version":
			i.Version = marathon.Version(r.shared(t))
		case "incarnation":
			i.Incarnation = t.number()
		case "goal":
			i.Goal = Goal(r.shared(t))
		case "condition":
			i.Condition = Condition(r.shared(t))
		case "since":
			i.Since = t.time()
		case "taskId":
			i.TaskID = string(t.word())
		case "role":
			i.Role = r.shared(t)
		case "agent":
			i.Agent = r.agent(t)
		case "ports":
			i.Ports = []int{}
			t.array(func() { i.Ports = append(i.Ports, t.number()) })
		case "ipAddresses":
			i.IPAddresses = []marathon.IPAddress{}
			t.array(func() {
				var a marathon.IPAddress
				t.object(ofAddress, func(name string) {
					if name == "protocol" {
						a.Protocol = r.shared(t)
					} else {
						a.IPAddress = r.shared(t)
					}
				})
				i.IPAddresses = append(i.IPAddresses, a)
			})
		case "stagedAt":
			i.StagedAt = t.time()
		case "startedAt":
			i.StartedAt = t.time()
		case "taskState":
			i.TaskState = r.shared(t)
		case "health":
			i.Health = []Health{}
			t.array(func() { i.Health = append(i.Health, r.health(t)) })
		case "ready":
			i.Ready = t.yes()
		case "preview":
			i.Preview = t.yes()
		case "drainUntil":
			i.DrainUntil = t.time()
		case "killingSince":
			i.KillingSince = t.time()
		case "wipe":
			i.Wipe = t.yes()
		}
	})
	if len(i.TaskID) > len(id) && i.TaskID[:len(id)] == string(id) {
		i.ID = i.TaskID[:len(id)]
	} else {
		i.ID = string(id)
	}
}

func (r *Reader) health(t *source) (h Health) {
	t.object(ofHealth, func(name string) {
		switch name {
		case "known":
			h.Known = t.yes()
		case "alive":
			h.Alive = t.yes()
		case "firstSuccess":
			h.FirstSuccess = t.time()
		case "lastSuccess":
			h.LastSuccess = t.time()
		case "consecutiveFailures":
			h.ConsecutiveFailures = t.number()
		case "ignored":
			h.Ignored = t.number()
		case "lastFailure":
			h.LastFailure = t.time()
		case "lastFailureCause":
			h.LastFailureCause = r.shared(t)
		}
	})
	return h
}

// agent reads one that has been seen before by its text.
func (r *Reader) agent(t *source) *Agent {
	end, depth := 0, 0
	for end < len(t.b) {
		switch t.b[end] {
		case '{':
			depth++
		case '}':
			depth--
		case '\\':
			t.odd = true
			return nil
		}
		if end++; depth == 0 {
			break
		}
	}
	raw := t.b[:end]
	t.b = t.b[end:]
	a := r.agents[string(raw)]
	if a == nil {
		a = new(Agent)
		if t.odd = t.odd || !bytes.HasPrefix(raw, []byte("{")) || json.Unmarshal(raw, a) != nil; !t.odd {
			r.agents[string(raw)] = a
		}
	}
	return a
}
