package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/internal/recordio"
)

// patience is how long a framework waits for the next event before it gives up.
const patience = 60 * time.Second

// framework is the least that can schedule: one connection with events, one with calls.
// It is for one goroutine.
type framework struct {
	id      *mesos.FrameworkID
	codec   codec.Codec
	conn    net.Conn
	records *recordio.Reader
	calls   *calls
	// offers are held until they are used.
	offers []*mesos.Offer
}

func subscribe(addr, name string, c codec.Codec) (*framework, error) {
	body, err := c.Append(nil, &schedulerpb.Call{
		Type: schedulerpb.Call_SUBSCRIBE.Enum(),
		Subscribe: &schedulerpb.Call_Subscribe{FrameworkInfo: &mesos.FrameworkInfo{
			User: proto.String("root"), Name: &name, Roles: []string{"bench"}, FailoverTimeout: proto.Float64(3600),
			Capabilities: []*mesos.FrameworkInfo_Capability{
				{Type: mesos.FrameworkInfo_Capability_MULTI_ROLE.Enum()},
				{Type: mesos.FrameworkInfo_Capability_PARTITION_AWARE.Enum()},
				{Type: mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT.Enum()},
			},
		}},
	})
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	f := &framework{codec: c, conn: conn}
	if err := f.subscribe(addr, body); err != nil {
		conn.Close()
		return nil, err
	}
	return f, nil
}

func (f *framework) subscribe(addr string, body []byte) error {
	if err := f.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := f.conn.Write(append(header(addr, f.codec, ""), withLength(body)...)); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(f.conn), nil)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body) // for the message only
		return fmt.Errorf("SUBSCRIBE: %s: %s", answer.Status, text)
	}
	f.records = recordio.NewReader(answer.Body, 0)
	if f.calls, err = newCalls(addr, header(addr, f.codec, answer.Header.Get("Mesos-Stream-Id"))); err != nil {
		return err
	}
	e, err := f.next()
	if err != nil {
		return err
	}
	f.id = e.GetSubscribed().GetFrameworkId()
	return nil
}

func header(addr string, c codec.Codec, stream string) []byte {
	h := "POST /api/v1/scheduler HTTP/1.1\r\nHost: " + addr + "\r\nContent-Type: " + c.String() + "\r\nAccept: " + c.String() + "\r\n"
	if stream != "" {
		h += "Mesos-Stream-Id: " + stream + "\r\n"
	}
	return []byte(h)
}

func withLength(body []byte) []byte {
	b := strconv.AppendInt([]byte("Content-Length: "), int64(len(body)), 10)
	return append(append(b, "\r\n\r\n"...), body...)
}

// next waits for an event and keeps the offers it brings.
func (f *framework) next() (*schedulerpb.Event, error) {
	if err := f.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	record, err := f.records.Read()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("events: %w", err), f.calls.failure())
	}
	e := new(schedulerpb.Event)
	if err := f.codec.Unmarshal(record, e); err != nil {
		return nil, err
	}
	switch e.GetType() {
	case schedulerpb.Event_OFFERS:
		f.offers = append(f.offers, e.GetOffers().GetOffers()...)
	case schedulerpb.Event_RESCIND:
		f.offers = slices.DeleteFunc(f.offers, func(o *mesos.Offer) bool {
			return o.GetId().GetValue() == e.GetRescind().GetOfferId().GetValue()
		})
	case schedulerpb.Event_ERROR:
		return nil, errors.New(e.GetError().GetMessage())
	}
	return e, f.calls.failure()
}

// update waits for a status update and acknowledges it.
func (f *framework) update() (*mesos.TaskStatus, error) {
	for {
		e, err := f.next()
		if err != nil {
			return nil, err
		}
		if s := e.GetUpdate().GetStatus(); s != nil {
			return s, f.acknowledge(s)
		}
	}
}

func (f *framework) acknowledge(s *mesos.TaskStatus) error {
	if len(s.GetUuid()) == 0 {
		return nil
	}
	return f.post(&schedulerpb.Call{
		Type:        schedulerpb.Call_ACKNOWLEDGE.Enum(),
		Acknowledge: &schedulerpb.Call_Acknowledge{AgentId: s.AgentId, TaskId: s.TaskId, Uuid: s.Uuid},
	})
}

func (f *framework) acknowledgeEach(all []*mesos.TaskStatus) error {
	for _, s := range all {
		if err := f.acknowledge(s); err != nil {
			return err
		}
	}
	return nil
}

// acknowledgeAll acknowledges updates in one call, if there are any.
func (f *framework) acknowledgeAll(all []*mesos.TaskStatus) error {
	call := &schedulerpb.Call{Type: schedulerpb.Call_ACKNOWLEDGE.Enum()}
	for _, s := range all {
		call.Acknowledgements = append(call.Acknowledgements, &schedulerpb.Call_Acknowledge{AgentId: s.AgentId, TaskId: s.TaskId, Uuid: s.Uuid})
	}
	if len(all) == 0 {
		return nil
	}
	return f.post(call)
}

// accept launches tasks on offers of one agent and has the rest offered again at once.
func (f *framework) accept(offers []*mesos.Offer, tasks []*mesos.TaskInfo) error {
	call := &schedulerpb.Call_Accept{Filters: &mesos.Filters{RefuseSeconds: proto.Float64(0)}}
	for _, o := range offers {
		call.OfferIds = append(call.OfferIds, o.Id)
	}
	call.Operations = []*mesos.Offer_Operation{{
		Type: mesos.Offer_Operation_LAUNCH.Enum(), Launch: &mesos.Offer_Operation_Launch{TaskInfos: tasks},
	}}
	return f.post(&schedulerpb.Call{Type: schedulerpb.Call_ACCEPT.Enum(), Accept: call})
}

func (f *framework) kill(task string) error {
	return f.post(&schedulerpb.Call{
		Type: schedulerpb.Call_KILL.Enum(), Kill: &schedulerpb.Call_Kill{TaskId: &mesos.TaskID{Value: &task}},
	})
}

// post sends a call and does not wait for its answer.
func (f *framework) post(call *schedulerpb.Call) error {
	call.FrameworkId = f.id
	body, err := f.codec.Append(nil, call)
	if err != nil {
		return err
	}
	f.calls.post(body)
	return nil
}

// close tears the framework down; whatever it runs is killed.
func (f *framework) close() {
	if f.post(&schedulerpb.Call{Type: schedulerpb.Call_TEARDOWN.Enum()}) == nil {
		_ = f.calls.wait() // the figures are taken; the master may be gone
	}
	f.conn.Close()
	f.calls.conn.Close()
}

// taskInfo is a command with little memory.
func taskInfo(id string, agent *mesos.AgentID, command string, cpus float64) *mesos.TaskInfo {
	scalar := func(name string, v float64) *mesos.Resource {
		return &mesos.Resource{
			Name: &name, Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: &v},
			AllocationInfo: &mesos.Resource_AllocationInfo{Role: proto.String("bench")},
		}
	}
	return &mesos.TaskInfo{
		Name: proto.String("bench"), TaskId: &mesos.TaskID{Value: &id}, AgentId: agent,
		Resources: []*mesos.Resource{scalar("cpus", cpus), scalar("mem", 32)},
		Command:   &mesos.CommandInfo{Value: &command},
	}
}

// calls is a connection that calls are pipelined on: each is written as soon as the
// ones before it are, without waiting for their answers.
type calls struct {
	conn   net.Conn
	header []byte

	mu     sync.Mutex
	cond   *sync.Cond
	out    []byte
	sent   int
	done   int
	failed error
}

func newCalls(addr string, header []byte) (*calls, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &calls{conn: conn, header: header}
	c.cond = sync.NewCond(&c.mu)
	go c.write() // both end when the connection is closed
	go c.read()
	return c, nil
}

func (c *calls) post(body []byte) {
	c.mu.Lock()
	c.out = append(c.out, c.header...)
	c.out = append(c.out, withLength(body)...)
	c.sent++
	c.mu.Unlock()
	c.cond.Broadcast()
}

func (c *calls) write() {
	var spare []byte
	for {
		c.mu.Lock()
		for len(c.out) == 0 && c.failed == nil {
			c.cond.Wait()
		}
		b, failed := c.out, c.failed
		c.out = spare[:0]
		c.mu.Unlock()
		if failed != nil {
			return
		}
		if _, err := c.conn.Write(b); err != nil {
			c.fail(err)
			return
		}
		spare = b
	}
}

// read takes the answers, of which nothing but 202 is expected.
func (c *calls) read() {
	r := bufio.NewReader(c.conn)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			c.fail(err)
			return
		}
		if !bytes.HasPrefix(line, []byte("HTTP/1.1 202 ")) {
			rest := make([]byte, 600)
			status := string(line)
			n, _ := r.Read(rest) // for the message only
			c.fail(fmt.Errorf("a call was answered %q %s", status, rest[:n]))
			return
		}
		for len(line) > 2 { // up to the empty line
			if line, err = r.ReadSlice('\n'); err != nil {
				c.fail(err)
				return
			}
		}
		c.mu.Lock()
		c.done++
		all := c.done == c.sent
		c.mu.Unlock()
		if all {
			c.cond.Broadcast()
		}
	}
}

func (c *calls) fail(err error) {
	c.mu.Lock()
	if c.failed == nil {
		c.failed = err
	}
	c.mu.Unlock()
	c.cond.Broadcast()
}

func (c *calls) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// wait returns when every call is answered.
func (c *calls) wait() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.done < c.sent && c.failed == nil {
		c.cond.Wait()
	}
	return c.failed
}
