package compat

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// driver is the least framework there can be: JSON over HTTP, as docs/scheduler-http-api.md
// shows it.
type driver struct {
	t      *testing.T
	url    string
	id     string
	stream string
	offers chan offer
	status chan status
}

type value struct {
	Value string `json:"value"`
}

type offer struct {
	ID      value `json:"id"`
	AgentID value `json:"agent_id"`
}

type status struct {
	TaskID  value  `json:"task_id"`
	AgentID value  `json:"agent_id"`
	State   string `json:"state"`
	Message string `json:"message"`
	Source  string `json:"source"`
	UUID    string `json:"uuid"`
}

func newDriver(c *cluster) *driver {
	c.t.Helper()
	d := &driver{t: c.t, url: "http://" + c.addr + "/api/v1/scheduler", offers: make(chan offer, 100), status: make(chan status, 100)}
	resp, err := http.Post(d.url, "application/json", strings.NewReader(
		`{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"driver","failover_timeout":60,"checkpoint":true}}}`))
	if err != nil || resp.StatusCode != 200 {
		c.t.Fatalf("subscribe: %v %v", resp, err)
	}
	c.t.Cleanup(func() { resp.Body.Close() })
	d.stream = resp.Header.Get("Mesos-Stream-Id")
	events := bufio.NewReader(resp.Body)
	if e := d.next(events); e.Type != "SUBSCRIBED" {
		c.t.Fatalf("the first event is %s", e.Type)
	} else {
		d.id = e.Subscribed.FrameworkID.Value
	}
	go func() { // ends with the body
		for {
			e := d.next(events)
			switch e.Type {
			case "":
				return
			case "OFFERS":
				for _, o := range e.Offers.Offers {
					d.offers <- o
				}
			case "UPDATE":
				d.status <- e.Update.Status
			}
		}
	}()
	return d
}

type event struct {
	Type       string
	Subscribed struct {
		FrameworkID value `json:"framework_id"`
	}
	Offers struct{ Offers []offer }
	Update struct{ Status status }
}

// next reads a record of the stream; the type is empty at its end.
func (d *driver) next(r *bufio.Reader) (e event) {
	length, err := r.ReadString('\n')
	if err != nil {
		return e
	}
	n, err := strconv.Atoi(strings.TrimSpace(length))
	if err != nil {
		return e
	}
	record := make([]byte, n)
	if _, err := io.ReadFull(r, record); err != nil {
		return e
	}
	if err := json.Unmarshal(record, &e); err != nil {
		return event{}
	}
	return e
}

func (d *driver) call(kind, body string) {
	d.t.Helper()
	text := fmt.Sprintf(`{"framework_id":{"value":%q},"type":%q,%s}`, d.id, strings.ToUpper(kind), body)
	req, err := http.NewRequest(http.MethodPost, d.url, strings.NewReader(text))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Mesos-Stream-Id", d.stream)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusAccepted {
		d.t.Fatalf("%s: %d %s", text, resp.StatusCode, answer)
	}
}

// launch accepts the next offer with one task.
func (d *driver) launch(task string) {
	d.t.Helper()
	var o offer
	select {
	case o = <-d.offers:
	case <-time.After(20 * time.Second):
		d.t.Fatal("no offer")
	}
	task = strings.ReplaceAll(task, "AGENT", o.AgentID.Value)
	d.call("accept", fmt.Sprintf(`"accept":{"offer_ids":[{"value":%q}],"filters":{"refuse_seconds":0},"operations":[{"type":"LAUNCH","launch":{"task_infos":[%s]}}]}`, o.ID.Value, task))
}

// until acknowledges updates until a task is in a state, and returns that update.
func (d *driver) until(task, state string) status {
	d.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case s := <-d.status:
			if s.UUID != "" {
				d.call("acknowledge", fmt.Sprintf(`"acknowledge":{"agent_id":{"value":%q},"task_id":{"value":%q},"uuid":%q}`, s.AgentID.Value, s.TaskID.Value, s.UUID))
			}
			if s.TaskID.Value == task && s.State == state {
				return s
			}
			d.t.Logf("%s is %s: %s", s.TaskID.Value, s.State, s.Message)
			switch s.State {
			case "TASK_FAILED", "TASK_LOST", "TASK_ERROR", "TASK_KILLED", "TASK_FINISHED":
				if s.TaskID.Value == task {
					d.t.Fatalf("%s ended as %s, want %s: %s", task, s.State, state, s.Message)
				}
			}
		case <-deadline:
			d.t.Fatalf("%s did not become %s", task, state)
		}
	}
}
