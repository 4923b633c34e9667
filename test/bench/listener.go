package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// listener reads the service's events, and counts what it sees of tasks. It comes back
// with the last id it saw when it is cut off.
type listener struct {
	mu     sync.Mutex
	states map[string]int
	resync int
}

func listen(url string) (*listener, error) {
	l := &listener{states: make(map[string]int)}
	answer, err := l.attach(url, "")
	if err != nil {
		return nil, err
	}
	go func() { // until the service is gone
		for err == nil {
			last := l.read(answer)
			answer.Body.Close()
			answer, err = l.attach(url, last)
		}
	}()
	return l, nil
}

func (l *listener) attach(url, last string) (*http.Response, error) {
	r, err := http.NewRequest("GET", url+"/v2/events", nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "text/event-stream")
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	answer, err := http.DefaultClient.Do(r)
	if err == nil && answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		err = fmt.Errorf("GET /v2/events: %s", answer.Status)
	}
	return answer, err
}

// read returns the id of the last event.
func (l *listener) read(answer *http.Response) (last string) {
	in := bufio.NewReaderSize(answer.Body, 1<<20)
	kind := ""
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return last
		}
		line = bytes.TrimSpace(line)
		if id, ok := bytes.CutPrefix(line, []byte("id: ")); ok {
			last = string(id)
		}
		if k, ok := bytes.CutPrefix(line, []byte("event: ")); ok {
			kind = string(k)
		}
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok {
			continue
		}
		l.mu.Lock()
		switch kind {
		case "resync_required":
			l.resync++
		case "status_update_event":
			if _, state, ok := bytes.Cut(data, []byte(`"taskStatus":"`)); ok {
				state, _, _ = bytes.Cut(state, []byte(`"`))
				l.states[string(state)]++
			}
		}
		l.mu.Unlock()
	}
}

// saw checks that the listener saw so many tasks get to a state, at once or soon.
func (l *listener) saw(state string, want int) error {
	n, resync := 0, 0
	for range 100 {
		l.mu.Lock()
		n, resync = l.states[state], l.resync
		l.mu.Unlock()
		if n == want && resync == 0 {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("it saw %d of %d, and was told of %d gaps", n, want, resync)
}
