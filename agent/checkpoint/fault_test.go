package checkpoint

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/vfs"
)

// TestFaults: an error of write, reservation or sync is final; one of compaction for
// lack of space is not.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		kind  vfs.Kind
		err   error
		do    func(*Log) error
		final bool
	}{
		{vfs.Write, unix.ENOSPC, func(l *Log) error { return l.Write(batch(t, gone(5, 5))) }, true},
		{vfs.Allocate, unix.ENOSPC, func(l *Log) error { return l.Write(batch(t, gone(5, 9000))) }, true},
		{vfs.Sync, unix.EIO, (*Log).Sync, true},
		{vfs.Create, unix.ENOSPC, func(l *Log) error { return l.Compact(batch(t, gone(9, 9))) }, false},
		{vfs.Allocate, unix.ENOSPC, func(l *Log) error { return l.Compact(batch(t, gone(9, 9))) }, false},
		{vfs.Write, unix.ENOSPC, func(l *Log) error { return l.Compact(batch(t, gone(9, 9))) }, false},
		{vfs.Sync, unix.EIO, func(l *Log) error { return l.Compact(batch(t, gone(9, 9))) }, true},
		{vfs.Rename, unix.EIO, func(l *Log) error { return l.Compact(batch(t, gone(9, 9))) }, true},
		{vfs.SyncDir, unix.EIO, func(l *Log) error { return l.Compact(batch(t, gone(9, 9))) }, true},
		{vfs.Remove, unix.EIO, func(l *Log) error { return l.Compact(batch(t, gone(9, 9))) }, true},
	} {
		m := vfs.NewMemory()
		l, _ := open(t, m)
		if err := errors.Join(l.Write(batch(t, gone(1, 1))), l.Sync()); err != nil {
			t.Fatal(err)
		}
		m.Hook = func(op vfs.Op) error {
			if op.Kind == c.kind {
				return c.err
			}
			return nil
		}
		if err := c.do(l); !errors.Is(err, c.err) {
			t.Fatalf("%s: %v", c.kind, err)
		}
		m.Hook = nil
		if got := l.Failed() != nil; got != c.final {
			t.Fatalf("%s: final %v, want %v", c.kind, got, c.final)
		}
		err := errors.Join(l.Write(batch(t, gone(2, 2))), l.Sync())
		if got := err != nil; got != c.final {
			t.Fatalf("%s: the next write: %v", c.kind, err)
		}
		if !c.final {
			m.Kill()
			if _, got := open(t, m); !slices.Equal(got, []int{1, 2}) {
				t.Fatalf("%s: recovered %v", c.kind, got)
			}
		}
	}
}

// TestDamage flips every byte of a log in turn: what was durable must be reported as
// damaged with file and offset, only the part behind the last sync may be cut.
func TestDamage(t *testing.T) {
	m := vfs.NewMemory()
	l, _ := open(t, m)
	if err := l.Compact(batch(t, gone(1, 10), gone(2, 20))); err != nil {
		t.Fatal(err)
	}
	l.Write(batch(t, gone(3, 30)))
	l.Write(batch(t, gone(4, 40)))
	l.Sync()
	durable := l.end
	l.Write(batch(t, gone(5, 50))) // witnesses all before it
	end := l.end
	name := l.name(2)
	whole, err := m.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for at := range end {
		b := bytes.Clone(whole)
		b[at] ^= 0x20
		d := vfs.NewMemory()
		d.MkdirAll(dir)
		f, _ := d.Create(name)
		f.WriteAt(b, 0)
		_, records, err := Open(d, dir, Options{})
		switch {
		case err != nil && at < durable:
			if !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "offset") {
				t.Fatalf("byte %d: the error does not say where: %v", at, err)
			}
		case err == nil && at >= durable:
			if got := numbers(t, records); !slices.Equal(got, []int{1, 2, 3, 4}) && !slices.Equal(got, []int{1, 2, 3, 4, 5}) {
				t.Fatalf("byte %d: recovered %v", at, got)
			}
		case err == nil:
			// Padding is the only thing nobody reads.
			if got := numbers(t, records); !slices.Equal(got, []int{1, 2, 3, 4, 5}) {
				t.Fatalf("byte %d of the durable part: silently recovered %v", at, got)
			}
		default:
			t.Fatalf("byte %d behind the last sync: %v", at, err)
		}
	}
}

// TestForgedFrame: a task that brings the bytes of a frame into a record cannot make a
// torn tail look like damage, since it knows neither salt nor place.
func TestForgedFrame(t *testing.T) {
	m := vfs.NewMemory()
	l, _ := open(t, m)
	l.Write(batch(t, gone(1, 1)))
	forged := appendRecord(nil, []byte("anything"), 0, 512, 400)
	l.Write(batch(t, gone(2, 1), &stoapb.LogRecord{Body: &stoapb.LogRecord_Task{Task: &stoapb.TaskLaunch{
		Info: &mesos.TaskInfo{Name: proto.String("n"), TaskId: &mesos.TaskID{Value: proto.String("t")},
			AgentId: &mesos.AgentID{Value: proto.String("a")}, Data: bytes.Repeat(forged, 100)}}}}))
	f, _ := m.Open(l.name(1))
	f.WriteAt([]byte{0xff}, headerSize+recordSize(11)) // tears the record before it
	m.Kill()
	if _, got := open(t, m); len(got) > 1 {
		t.Fatalf("recovered %v", got)
	}
}

func TestFutureVersion(t *testing.T) {
	m := vfs.NewMemory()
	m.MkdirAll(dir)
	f, _ := m.Create(dir + "/log-0000000001")
	f.WriteAt(header{version: Version + 1, generation: 1, base: headerSize}.append(nil), 0)
	_, _, err := Open(m, dir, Options{})
	if err == nil || !strings.Contains(err.Error(), "format 2, this version of Stoa reads up to 1") {
		t.Fatal(err)
	}
}

func TestUnknownRecord(t *testing.T) {
	m := vfs.NewMemory()
	l, _ := open(t, m)
	l.Write(&Batch{bytes: []byte{0xfa, 0x3e, 0}, ends: []int{3}}) // field 1007, empty
	m.Kill()
	_, _, err := Open(m, dir, Options{})
	if err == nil || !strings.Contains(err.Error(), "offset 64: record 0 is of a kind") {
		t.Fatal(err)
	}
}

func TestRefusedRecords(t *testing.T) {
	b := &Batch{}
	if err := b.Add(&stoapb.LogRecord{}); err == nil {
		t.Fatal("a record without a body was taken")
	}
	if err := b.Add(gone(1, MaxRecord)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Fatal(err)
	}
	if b.Len() != 0 || b.Size() != 0 {
		t.Fatalf("the batch has %d records", b.Len())
	}
}

func TestForeignFiles(t *testing.T) {
	for name, want := range map[string]string{"log-1": "was written as", "log-x": "not a name", "log-0000000000": "not a name"} {
		m := vfs.NewMemory()
		m.MkdirAll(dir)
		f, _ := m.Create(dir + "/" + name)
		f.WriteAt(header{version: Version, generation: 2, base: headerSize}.append(nil), 0)
		if name == "log-1" {
			m.Rename(dir+"/log-1", dir+"/log-0000000001")
		}
		if _, _, err := Open(m, dir, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGolden: files of every version are read, and this version's are written as they
// were the first time.
func TestGolden(t *testing.T) {
	name := filepath.Join("testdata", "v1.log")
	m := vfs.NewMemory()
	l, _, err := Open(m, dir, Options{Salt: 42, Chunk: 8})
	if err != nil {
		t.Fatal(err)
	}
	records := goldenRecords()
	if err := l.Compact(batch(t, records[:4]...)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Write(batch(t, records[4:]...)), l.Sync()); err != nil {
		t.Fatal(err)
	}
	got, err := m.ReadFile(l.name(2))
	if err != nil {
		t.Fatal(err)
	}
	if *rewrite {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the format of version %d changed: give it a new version", Version)
	}
	d := vfs.NewMemory()
	d.MkdirAll(dir)
	f, _ := d.Create(dir + "/log-0000000002")
	f.WriteAt(want, 0)
	_, read, err := Open(d, dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(read) != len(records) {
		t.Fatalf("read %d records, want %d", len(read), len(records))
	}
	for i := range records {
		if !proto.Equal(read[i], records[i]) {
			t.Errorf("record %d: %v, want %v", i, read[i], records[i])
		}
	}
}

func goldenRecords() []*stoapb.LogRecord {
	fw := &mesos.FrameworkID{Value: proto.String("b4d-0001")}
	task := &mesos.TaskID{Value: proto.String("task-1")}
	agent := &mesos.AgentID{Value: proto.String("b4d-S0")}
	return []*stoapb.LogRecord{
		{Body: &stoapb.LogRecord_Admitted{Admitted: &stoapb.AgentAdmitted{BootId: proto.String("boot"),
			Info: &mesos.AgentInfo{Hostname: proto.String("h"), Id: agent}}}},
		{Body: &stoapb.LogRecord_Epoch{Epoch: &stoapb.EpochSeen{Epoch: proto.Uint64(9)}}},
		{Body: &stoapb.LogRecord_Resources{Resources: &stoapb.ResourcesCheckpoint{Resources: []*mesos.Resource{{
			Name: proto.String("cpus"), Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: proto.Float64(1.5)}}}}}},
		{Body: &stoapb.LogRecord_Framework{Framework: &stoapb.FrameworkCheckpoint{Info: &mesos.FrameworkInfo{
			User: proto.String("u"), Name: proto.String("n"), Id: fw}}}},
		{Body: &stoapb.LogRecord_Container{Container: &stoapb.ContainerLaunch{ContainerId: proto.String("c"), FrameworkId: fw,
			CommandTask: proto.Bool(true), Time: proto.Int64(1795380794), User: proto.String("u")}}},
		{Body: &stoapb.LogRecord_Task{Task: &stoapb.TaskLaunch{FrameworkId: fw, ContainerId: proto.String("c"),
			Info: &mesos.TaskInfo{Name: proto.String("t"), TaskId: task, AgentId: agent}}}},
		{Body: &stoapb.LogRecord_Forked{Forked: &stoapb.ContainerForked{ContainerId: proto.String("c"), BootId: proto.String("boot"),
			Pid: proto.Int32(77), StartTime: proto.Uint64(123456), TaskPid: proto.Int32(78)}}},
		{Body: &stoapb.LogRecord_Update{Update: &stoapb.TaskUpdate{FrameworkId: fw, Status: &mesos.TaskStatus{TaskId: task,
			State: mesos.TaskState_TASK_RUNNING.Enum(), Uuid: []byte("0123456789abcdef")}}}},
		{Body: &stoapb.LogRecord_Acknowledged{Acknowledged: &stoapb.TaskAcknowledged{FrameworkId: fw, TaskId: task, Uuid: []byte("0123456789abcdef")}}},
		{Body: &stoapb.LogRecord_Kill{Kill: &stoapb.KillRequested{FrameworkId: fw, TaskId: task, Deadline: proto.Int64(5),
			Reason: mesos.TaskStatus_REASON_MAX_COMPLETION_TIME_REACHED.Enum()}}},
		{Body: &stoapb.LogRecord_ContainerGone{ContainerGone: &stoapb.ContainerGone{ContainerId: proto.String("c")}}},
		{Body: &stoapb.LogRecord_TaskGone{TaskGone: &stoapb.TaskGone{FrameworkId: fw, TaskId: task}}},
		{Body: &stoapb.LogRecord_Operation{Operation: &stoapb.OperationPending{FrameworkId: fw, OperationUuid: []byte("uuid"),
			Status: &mesos.OperationStatus{State: mesos.OperationState_OPERATION_FINISHED.Enum()}}}},
		{Body: &stoapb.LogRecord_OperationDone{OperationDone: &stoapb.OperationDone{OperationUuid: []byte("uuid")}}},
		{Body: &stoapb.LogRecord_FrameworkShutdown{FrameworkShutdown: &stoapb.FrameworkShutdown{FrameworkId: fw}}},
		{Body: &stoapb.LogRecord_FrameworkGone{FrameworkGone: &stoapb.FrameworkGone{FrameworkId: fw}}},
	}
}

// FuzzRecover: whatever the file holds, Open ends without panic, and a log it opens
// takes records and gives them back.
func FuzzRecover(f *testing.F) {
	golden, err := os.ReadFile(filepath.Join("testdata", "v1.log"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add(golden[:200])
	f.Add(header{version: Version, generation: 2, base: headerSize}.append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := vfs.NewMemory()
		m.MkdirAll(dir)
		file, _ := m.Create(dir + "/log-0000000002")
		file.WriteAt(b, 0)
		l, records, err := Open(m, dir, Options{Chunk: 64})
		if err != nil {
			return
		}
		if err := errors.Join(l.Write(batch(t, gone(1, 1))), l.Compact(batch(t, append(records, gone(1, 1))...)), l.Write(batch(t, gone(2, 2)))); err != nil {
			t.Fatal(err)
		}
		m.Kill()
		_, again, err := Open(m, dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(again) != len(records)+2 {
			t.Fatalf("%d records, then %d", len(records), len(again))
		}
	})
}

func BenchmarkWriteSync(b *testing.B) {
	l, _, err := Open(vfs.OS{}, filepath.Join(b.TempDir(), "log"), Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	one := batch(b, gone(1, 500))
	took := make([]time.Duration, 0, 1<<16)
	b.SetBytes(int64(one.Size()))
	for b.Loop() {
		begin := time.Now()
		if err := errors.Join(l.Write(one), l.Sync()); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

func BenchmarkWrite(b *testing.B) {
	l, _, err := Open(vfs.OS{}, filepath.Join(b.TempDir(), "log"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	many := &Batch{}
	for range 64 {
		many.Add(gone(1, 500))
	}
	b.SetBytes(int64(many.Size()))
	for b.Loop() {
		if err := l.Write(many); err != nil {
			b.Fatal(err)
		}
		if since, _ := l.Grown(); since > 64<<20 {
			if err := l.Compact(&Batch{}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
