package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/internal/frame"
)

const (
	// tasksPerAgent run at the end.
	tasksPerAgent = 200
	// tasksPerAccept are launched by one call.
	tasksPerAccept = 100
	// schedulers share the tasks.
	schedulers = 5
	// window is how many tasks one scheduler has launched and not heard of.
	window = 4000
)

// swarm is many agents in this process, each with a link of its own to the master. They
// say of every task at once that it runs.
type swarm struct {
	acked    atomic.Int64
	launched atomic.Int64
	want     int64
	together bool          // acknowledge all at hand in one call
	start    chan struct{} // closed when all agents are there
	done     chan struct{} // closed when want tasks are acknowledged
	conns    []net.Conn
}

// simulated measures the master with agents that launch nothing, and with frameworks that
// acknowledge one update per call, as Mesos has it, or all at hand.
func (b *bench) simulated(agents int) error {
	if err := allDescriptors(); err != nil {
		return err
	}
	if b.quick {
		agents /= 50
	}
	for range b.runs {
		for _, together := range []bool{false, true} {
			if err := b.simulate(agents, together); err != nil {
				return err
			}
		}
	}
	return nil
}

// allDescriptors lets this process and those it starts have one for each end of each
// connection.
func allDescriptors() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}

func (b *bench) simulate(agents int, together bool) error {
	dir := filepath.Join(b.dir, "simulated")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	m, err := b.start("master", dir)
	if err != nil {
		return err
	}
	defer m.stop()
	name := fmt.Sprintf("%d simulated agents: ", agents)
	before, err := cpu(m.pid())
	if err != nil {
		return err
	}
	s := &swarm{want: int64(agents * tasksPerAgent), together: together, start: make(chan struct{}), done: make(chan struct{})}
	// Frameworks first, so that all of them hold offers when it begins.
	wait, err := s.schedule(m.addr())
	if err != nil {
		return err
	}
	began := time.Now()
	stop := profiles(fmt.Sprintf("register-%d", agents), m)
	if err := s.connect(m.addr(), agents); err != nil {
		return err
	}
	took := time.Since(began)
	stop()
	defer s.close()
	after, err := cpu(m.pid())
	if err != nil {
		return err
	}
	if together {
		name += "acknowledging together: "
	} else {
		b.table.add(row{what: name + "registered, with their records in the registry", unit: "agents/s", goal: "-",
			peer: "Mesos 2,100/s (back, nothing written)"}, float64(agents)/took.Seconds())
		b.table.add(row{what: name + "master's CPU for one registration", unit: "µs", goal: "-", peer: "-"},
			micros(after-before)/float64(agents))
	}

	before = after
	own, err := cpu(os.Getpid())
	if err != nil {
		return err
	}
	stop = profiles(fmt.Sprintf("simulated-%d-%v", agents, together), m)
	began = time.Now()
	close(s.start)
	if err := wait(); err != nil {
		return fmt.Errorf("%w: %s", err, m.log())
	}
	took = time.Since(began)
	stop()
	after, err = cpu(m.pid())
	if err != nil {
		return err
	}
	ownAfter, err := cpu(os.Getpid())
	if err != nil {
		return err
	}
	rss, err := kib(fmt.Sprintf("/proc/%d/status", m.pid()), "VmRSS")
	if err != nil {
		return err
	}
	b.table.add(row{what: fmt.Sprintf("%s%s tasks running and acknowledged", name, number(float64(s.want))), unit: "tasks/s", goal: "16,700/s",
		peer: "Nomad C1M 3,750/s on 5 servers"}, float64(s.want)/took.Seconds())
	b.table.add(row{what: name + "master's CPU for one task", unit: "µs", goal: "40 µs", peer: "-"}, micros(after-before)/float64(s.want))
	b.table.add(row{what: name + "CPU of agents and frameworks for one task", unit: "µs", goal: "-", peer: "-"}, micros(ownAfter-own)/float64(s.want))
	b.table.add(row{what: name + "master's RSS at the end", unit: "MiB", goal: "-", peer: "-"}, rss/(1<<20))
	return nil
}

// connect registers n agents, some at a time, and leaves them serving.
func (s *swarm) connect(addr string, n int) error {
	s.conns = make([]net.Conn, n)
	var group errgroup.Group
	group.SetLimit(256)
	for i := range n {
		group.Go(func() error {
			conn, in, err := dial(addr)
			if err != nil {
				return err
			}
			s.conns[i] = conn
			a := &simAgent{swarm: s, in: in, frames: frame.NewReader(in), out: frame.NewWriter(conn), number: i}
			if err := a.register(i); err != nil {
				return err
			}
			go a.serve() // until the connection is closed
			return nil
		})
	}
	return group.Wait()
}

func (s *swarm) close() {
	for _, c := range s.conns {
		c.Close()
	}
}

// dial asks the master for a link.
func dial(addr string) (net.Conn, *bufio.Reader, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\nContent-Length: 0\r\n\r\n",
		frame.Path, addr, frame.Protocol)
	if err != nil {
		return nil, nil, err
	}
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, nil, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return nil, nil, fmt.Errorf("link: %s", answer.Status)
	}
	return conn, in, nil
}

type simAgent struct {
	swarm  *swarm
	in     *bufio.Reader
	frames *frame.Reader
	number int
	id     *mesos.AgentID

	mu      sync.Mutex
	out     *frame.Writer
	updates int
}

func (a *simAgent) register(i int) error {
	host := fmt.Sprintf("agent-%d", i)
	scalar := func(name string, v float64) *mesos.Resource {
		return &mesos.Resource{Name: &name, Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: &v}}
	}
	resources := []*mesos.Resource{scalar("cpus", 64), scalar("mem", 262144), scalar("disk", 1048576), {
		Name: proto.String("ports"), Type: mesos.Value_RANGES.Enum(),
		Ranges: &mesos.Value_Ranges{Range: []*mesos.Value_Range{{Begin: proto.Uint64(31000), End: proto.Uint64(32000)}}},
	}}
	err := a.out.Write(&stoapb.ToMaster{Body: &stoapb.ToMaster_Register{Register: &stoapb.Register{
		Protocol: proto.Uint32(1), StoaVersion: proto.String("bench"),
		Info: &mesos.AgentInfo{Hostname: &host, Port: proto.Int32(5051), Resources: resources},
		Ip:   proto.String(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)), BootId: &host, Resources: resources,
	}}})
	if err = errors.Join(err, a.out.Flush()); err != nil {
		return err
	}
	for {
		var m stoapb.ToAgent
		if err := a.frames.Read(&m); err != nil {
			return err
		}
		if r := m.GetRefused(); r != nil {
			return errors.New(r.GetMessage())
		}
		if r := m.GetRegistered(); r != nil {
			a.id = r.AgentId
			return nil
		}
	}
}

// serve answers frames until the link ends.
func (a *simAgent) serve() {
	for {
		if a.in.Buffered() == 0 && a.flush() != nil {
			return
		}
		b, err := a.frames.Next()
		if err != nil {
			return // whoever waits for its tasks will say so
		}
		switch {
		case has(b, runTask):
			err = a.run(inner(b, runTask))
		case has(b, acknowledged):
			if a.swarm.acked.Add(1) == a.swarm.want {
				close(a.swarm.done)
			}
		case has(b, ping):
			var m stoapb.ToAgent
			if err = proto.Unmarshal(b, &m); err == nil {
				err = a.write(&stoapb.ToMaster{Body: &stoapb.ToMaster_Pong{Pong: &stoapb.Pong{Seq: m.GetPing().Seq}}})
			}
		}
		if err != nil {
			return
		}
	}
}

// run takes from a RunTask what is needed of it: thousands of agents share a machine with
// the master that is measured, and real ones do not.
func (a *simAgent) run(b []byte) error {
	var framework mesos.FrameworkID
	var task mesos.TaskID
	info := inner(b, runTaskTask)
	if err := errors.Join(
		proto.Unmarshal(inner(inner(b, runTaskFramework), frameworkID), &framework),
		proto.Unmarshal(inner(info, taskID), &task),
	); err != nil {
		return err
	}
	if err := a.update(&framework, &task, nil); err != nil || !has(info, taskHealthCheck) {
		return err
	}
	var check mesos.HealthCheck
	if err := proto.Unmarshal(inner(info, taskHealthCheck), &check); err != nil {
		return err
	}
	time.AfterFunc(time.Duration(check.GetDelaySeconds()*1e9), func() {
		// When the link has ended, nobody waits for it.
		_ = errors.Join(a.update(&framework, &task, proto.Bool(true)), a.flush())
	})
	return nil
}

// The fields that an agent looks at.
var (
	runTask          = numberOf(new(stoapb.ToAgent), "run_task")
	acknowledged     = numberOf(new(stoapb.ToAgent), "acknowledge")
	ping             = numberOf(new(stoapb.ToAgent), "ping")
	runTaskFramework = numberOf(new(stoapb.RunTask), "framework")
	runTaskTask      = numberOf(new(stoapb.RunTask), "task")
	frameworkID      = numberOf(new(mesos.FrameworkInfo), "id")
	taskID           = numberOf(new(mesos.TaskInfo), "task_id")
	taskHealthCheck  = numberOf(new(mesos.TaskInfo), "health_check")
)

func numberOf(m proto.Message, name protoreflect.Name) protowire.Number {
	return m.ProtoReflect().Descriptor().Fields().ByName(name).Number()
}

// find is the message in a field of an encoded message.
func find(b []byte, want protowire.Number) ([]byte, bool) {
	for len(b) > 0 {
		got, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			break
		}
		b = b[n:]
		if got == want && kind == protowire.BytesType {
			value, n := protowire.ConsumeBytes(b)
			return value, n >= 0
		}
		if n = protowire.ConsumeFieldValue(got, kind, b); n < 0 {
			break
		}
		b = b[n:]
	}
	return nil, false
}

func inner(b []byte, n protowire.Number) []byte {
	value, _ := find(b, n)
	return value
}

func has(b []byte, n protowire.Number) bool {
	_, ok := find(b, n)
	return ok
}

// update says of a task that it runs.
func (a *simAgent) update(framework *mesos.FrameworkID, task *mesos.TaskID, healthy *bool) error {
	running, source := mesos.TaskState_TASK_RUNNING, mesos.TaskStatus_SOURCE_EXECUTOR
	a.mu.Lock()
	defer a.mu.Unlock()
	a.updates++
	return a.out.Write(&stoapb.ToMaster{Body: &stoapb.ToMaster_Update{Update: &stoapb.Update{
		FrameworkId: framework, LatestState: &running,
		Status: &mesos.TaskStatus{
			TaskId: task, AgentId: a.id, State: &running, Source: &source, Healthy: healthy,
			Uuid:       binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(a.number+1)), uint64(a.updates)),
			Timestamp:  proto.Float64(float64(time.Now().UnixMicro()) / 1e6),
			ExecutorId: &mesos.ExecutorID{Value: task.Value},
		},
	}}})
}

func (a *simAgent) write(m *stoapb.ToMaster) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.out.Write(m)
}

func (a *simAgent) flush() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.out.Flush()
}

// schedule subscribes the frameworks, which begin at start; the function it returns waits
// until every task is acknowledged.
func (s *swarm) schedule(addr string) (wait func() error, err error) {
	ctx, end := context.WithCancel(context.Background())
	var group errgroup.Group
	var all []*framework
	for i := range schedulers {
		f, err := subscribe(addr, fmt.Sprintf("bench-%d", i), codec.Protobuf)
		if err != nil {
			end()
			return nil, err
		}
		all = append(all, f)
		group.Go(func() error {
			err := s.scheduler(f, i)
			if err != nil {
				end() // what is missing now, nobody will launch
			}
			return err
		})
	}
	go func() { // until the swarm's end
		select {
		case <-ctx.Done():
		case <-s.done:
			end()
		}
		for _, f := range all {
			f.conn.Close()
			f.calls.conn.Close()
		}
	}()
	return group.Wait, nil
}

// scheduler fills offers until all tasks of the swarm are launched, and hears what
// becomes of its own.
func (s *swarm) scheduler(f *framework, number int) error {
	events, failed := make(chan *schedulerpb.Event, 256), make(chan error, 1)
	go func() { // until the stream ends
		for {
			e, err := f.next()
			if err != nil {
				failed <- err
				return
			}
			f.offers = nil // they are in the event
			events <- e
		}
	}()
	var offers []*mesos.Offer
	var heard []*mesos.TaskStatus
	flying, serial, start := 0, 0, s.start
	for {
		select {
		case <-start:
			start = nil
		case <-s.done:
			return nil
		case err := <-failed:
			return err
		case e := <-events:
			heard = heard[:0]
			for more := true; more; {
				offers = append(offers, e.GetOffers().GetOffers()...)
				if status := e.GetUpdate().GetStatus(); status != nil {
					if status.GetState() != mesos.TaskState_TASK_RUNNING {
						return fmt.Errorf("task %s: %v: %s", status.GetTaskId().GetValue(), status.GetState(), status.GetMessage())
					}
					flying--
					heard = append(heard, status)
				}
				if more = s.together && len(heard) < schedulerpb.MaxAcknowledgements; more {
					select {
					case e = <-events:
					default:
						more = false
					}
				}
			}
			acknowledge := f.acknowledgeAll
			if !s.together {
				acknowledge = f.acknowledgeEach
			}
			if err := acknowledge(heard); err != nil {
				return err
			}
		}
		for start == nil && len(offers) > 0 && flying+tasksPerAccept <= window {
			if s.launched.Add(tasksPerAccept) > s.want {
				offers = nil // nobody needs any more
				break
			}
			o := offers[0] // the oldest, so that all agents get their share
			offers = offers[1:]
			list := make([]*mesos.TaskInfo, tasksPerAccept)
			for i := range list {
				list[i] = taskInfo(fmt.Sprintf("%d-%d", number, serial), o.AgentId, "true", 0.1)
				serial++
			}
			flying += tasksPerAccept
			if err := f.accept([]*mesos.Offer{o}, list); err != nil {
				return err
			}
		}
	}
}
