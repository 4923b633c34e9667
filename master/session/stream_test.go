package session_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/internal/recordio"
	"github.com/stoa-kernel/stoa/master/session"
	"github.com/stoa-kernel/stoa/master/state"
	"google.golang.org/protobuf/proto"
)

func streams(t *testing.T) (*session.Streams, *httptest.Server, inputs, *log) {
	t.Helper()
	in, out := make(inputs, 16), new(log)
	s := &session.Streams{Submit: in.submit, Log: out.logger()}
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		c, _ := codec.Accept(r.Header.Values("Accept"))
		call := &schedulerpb.Call{Subscribe: &schedulerpb.Call_Subscribe{FrameworkInfo: &mesos.FrameworkInfo{Name: proto.String("fw")}}}
		if err := s.Serve(w, r, c, "", call); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	t.Cleanup(s.CloseAll) // before the server waits for its handlers
	return s, server, in, out
}

// open subscribes and returns the body once the core was told.
func open(t *testing.T, server *httptest.Server, in inputs, accept string) (*http.Response, state.Stream) {
	t.Helper()
	r, err := http.NewRequest("POST", server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Body.Close() })
	sub, ok := in.next(t).(state.Subscribe)
	if !ok || string(sub.Stream) != w.Header.Get("Mesos-Stream-Id") {
		t.Fatalf("the core was told %v, the client %v", sub, w.Header)
	}
	return w, sub.Stream
}

func event(t *testing.T, r *recordio.Reader, c codec.Codec) *schedulerpb.Event {
	t.Helper()
	b, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	e := new(schedulerpb.Event)
	if err := c.Unmarshal(b, e); err != nil {
		t.Fatal(err)
	}
	return e
}

func subscribed() *schedulerpb.Event {
	return &schedulerpb.Event{
		Type:       schedulerpb.Event_SUBSCRIBED.Enum(),
		Subscribed: &schedulerpb.Event_Subscribed{FrameworkId: &mesos.FrameworkID{Value: proto.String("f")}},
	}
}

func message(n int) *schedulerpb.Event {
	return &schedulerpb.Event{
		Type: schedulerpb.Event_MESSAGE.Enum(),
		Message: &schedulerpb.Event_Message{
			AgentId: &mesos.AgentID{Value: proto.String("a")}, ExecutorId: &mesos.ExecutorID{Value: proto.String("e")}, Data: make([]byte, n),
		},
	}
}

func TestHeartbeatsFollowSubscribedAndGoOn(t *testing.T) {
	for c := range codec.Count {
		s, server, in, _ := streams(t)
		s.Heartbeat = time.Millisecond
		w, id := open(t, server, in, c.String())
		s.Send(id, subscribed())
		r := recordio.NewReader(w.Body, 0)
		if e := event(t, r, c); e.GetType() != schedulerpb.Event_SUBSCRIBED {
			t.Fatalf("%v: first event %v: a heartbeat before SUBSCRIBED?", c, e)
		}
		for range 4 {
			if e := event(t, r, c); e.GetType() != schedulerpb.Event_HEARTBEAT {
				t.Fatalf("%v: %v, want HEARTBEAT", c, e)
			}
		}
	}
}

func TestManyOffersAreSplit(t *testing.T) {
	s, server, in, _ := streams(t)
	w, id := open(t, server, in, codec.Protobuf.String())
	offers := &schedulerpb.Event{Type: schedulerpb.Event_OFFERS.Enum(), Offers: &schedulerpb.Event_Offers{}}
	for i := range 1200 {
		offers.Offers.Offers = append(offers.Offers.Offers, &mesos.Offer{
			Id: &mesos.OfferID{Value: proto.String(fmt.Sprint(i))}, FrameworkId: &mesos.FrameworkID{Value: proto.String("f")},
			AgentId: &mesos.AgentID{Value: proto.String("a")}, Hostname: proto.String("h"),
		})
	}
	s.Send(id, offers)
	r := recordio.NewReader(w.Body, 0)
	next := 0
	for _, want := range []int{500, 500, 200} {
		got := event(t, r, codec.Protobuf).GetOffers().GetOffers()
		if len(got) != want {
			t.Fatalf("%d offers in one event, want %d", len(got), want)
		}
		for _, o := range got {
			if o.GetId().GetValue() != fmt.Sprint(next) {
				t.Fatalf("offer %s, want %d", o.GetId().GetValue(), next)
			}
			next++
		}
	}
}

func TestCloseSendsWhatIsQueuedAndEndsInOrder(t *testing.T) {
	s, server, in, _ := streams(t)
	w, id := open(t, server, in, codec.JSON.String())
	for range 50 {
		s.Send(id, message(10_000))
	}
	s.Close(id)
	s.Send(id, message(1)) // too late
	r := recordio.NewReader(w.Body, 0)
	for range 50 {
		event(t, r, codec.JSON)
	}
	if _, err := r.Read(); err != io.EOF {
		t.Errorf("after the last event: %v, want EOF", err)
	}
	s.Send(id, message(1)) // to nobody
	if len(in) != 0 {
		t.Errorf("the core was told %T of a stream it closed itself", <-in)
	}
}

func TestAClientThatLeavesIsReported(t *testing.T) {
	s, server, in, out := streams(t)
	w, id := open(t, server, in, codec.JSON.String())
	s.Send(id, &schedulerpb.Event{
		Type: schedulerpb.Event_UPDATE.Enum(),
		Update: &schedulerpb.Event_Update{Status: &mesos.TaskStatus{
			TaskId: &mesos.TaskID{Value: proto.String("t")}, State: mesos.TaskState_TASK_RUNNING.Enum(), Uuid: []byte("u"),
		}},
	})
	if n := s.Unacked.Load(); n != 1 {
		t.Errorf("%d updates in flight, want 1", n)
	}
	w.Body.Close()
	if closed, ok := in.next(t).(state.StreamClosed); !ok || closed.Stream != id {
		t.Errorf("the core was told %v", closed)
	}
	if n := s.Unacked.Load(); n != 0 {
		t.Errorf("%d updates in flight on no stream", n)
	}
	if s.Len() != 0 || s.CutOff.Load() != 0 || out.count("level=WARN") != 0 {
		t.Errorf("%d streams left, %d cut off", s.Len(), s.CutOff.Load())
	}
}

func TestAcknowledgementsOfASubscription(t *testing.T) {
	s, server, in, _ := streams(t)
	_, id := open(t, server, in, codec.JSON.String())
	ack := func(stream state.Stream, framework string, uuids ...string) bool {
		call := &schedulerpb.Call{FrameworkId: &mesos.FrameworkID{Value: &framework}}
		for _, u := range uuids {
			call.Acknowledgements = append(call.Acknowledgements, &schedulerpb.Call_Acknowledge{TaskId: &mesos.TaskID{Value: proto.String("t" + u)}, Uuid: []byte(u)})
		}
		if len(uuids) == 1 {
			call.Acknowledge, call.Acknowledgements = call.Acknowledgements[0], nil
		}
		return s.Acknowledged(stream, call)
	}
	if ack(id, "f", "1") {
		t.Error("noted before the framework was told that it is subscribed")
	}
	s.Send(id, subscribed())
	for _, u := range []string{"1", "2", "3", "4"} {
		s.Send(id, &schedulerpb.Event{Update: &schedulerpb.Event_Update{Status: &mesos.TaskStatus{
			TaskId: &mesos.TaskID{Value: proto.String("t" + u)}, State: mesos.TaskState_TASK_RUNNING.Enum(), Uuid: []byte(u),
		}}})
	}
	if ack(id, "g", "1") || ack("x", "f", "1") || ack(id, "", "1") {
		t.Error("noted for a framework or stream that is not this one")
	}
	if n := s.Unacked.Load(); n != 4 {
		t.Errorf("%d updates in flight, want 4", n)
	}
	if !ack(id, "f", "1") || !ack(id, "f", "2", "2", "forged", "3") {
		t.Error("not noted")
	}
	if n := s.Unacked.Load(); n != 1 {
		t.Errorf("%d updates in flight, want 1", n)
	}
	s.Close(id)
	if ack(id, "f", "4") {
		t.Error("noted on a stream that ends")
	}
}

// deaf subscribes on a connection that is never read beyond the header.
func deaf(t *testing.T, server *httptest.Server, in inputs) (*bufio.Reader, state.Stream) {
	t.Helper()
	conn := dial(t, server)
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(conn), in.next(t).(state.Subscribe).Stream
}

func TestAFullQueueCutsTheStreamOff(t *testing.T) {
	s, server, in, out := streams(t)
	s.Limit, s.Stall = 4<<20, time.Hour
	body, id := deaf(t, server, in)
	_, other := open(t, server, in, codec.JSON.String())
	for s.CutOff.Load() == 0 && s.Len() == 2 {
		s.Send(id, message(100_000)) // never waits
	}
	if closed, ok := in.next(t).(state.StreamClosed); !ok || closed.Stream != id {
		t.Fatalf("the core was told %v", closed)
	}
	if s.CutOff.Load() != 1 || out.count("reads too slowly") != 1 {
		t.Errorf("counted %d, logged %d times; want once each", s.CutOff.Load(), out.count("reads too slowly"))
	}
	w, err := http.ReadResponse(body, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, w.Body); err == nil {
		t.Error("the cut-off looks like an orderly end")
	}
	w.Body.Close()
	s.Close(other)
}

func TestAStalledWriteCutsTheStreamOff(t *testing.T) {
	s, server, in, out := streams(t)
	s.Limit, s.Stall = 1<<30, 50*time.Millisecond
	_, id := deaf(t, server, in)
	for range buffers / 100_000 {
		s.Send(id, message(100_000))
	}
	if closed, ok := in.next(t).(state.StreamClosed); !ok || closed.Stream != id {
		t.Fatalf("the core was told %v", closed)
	}
	if s.CutOff.Load() != 1 || out.count("reads too slowly") != 1 {
		t.Errorf("counted %d, logged %d times; want once each", s.CutOff.Load(), out.count("reads too slowly"))
	}
}

func TestCloseAllEndsStreamsAtOnceAndForGood(t *testing.T) {
	s, server, in, _ := streams(t)
	s.Stall = time.Hour
	_, id := deaf(t, server, in)
	for range 120 {
		s.Send(id, message(100_000)) // its writer is stuck
	}
	w, _ := open(t, server, in, codec.JSON.String())
	s.CloseAll()
	if _, err := io.ReadAll(w.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a stream of a master that goes down ends with %v", err)
	}
	for range 2 {
		if _, ok := in.next(t).(state.StreamClosed); !ok {
			t.Error("not told of a closed stream")
		}
	}
	late, err := http.Post(server.URL, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(late.Body)
	late.Body.Close()
	if late.StatusCode != 503 || err != nil || !strings.Contains(string(b), "no more sessions") {
		t.Errorf("afterwards: %d %s %v", late.StatusCode, b, err)
	}
}
