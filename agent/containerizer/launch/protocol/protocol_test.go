package protocol

import (
	"reflect"
	"testing"
)

func full() Description {
	return Description{
		Sandbox: "/s", Paths: []string{"/bin/a", "/usr/bin/a"}, Argv: []string{"a", ""}, Env: []string{"K=V"},
		SwitchUser: true, UID: 1000, GID: 1 << 31, Groups: []uint32{4, 5},
		NoNewPrivileges: true, ResetOOMScore: true, Tasks: []string{"/cg/tasks"}, Cgroup: "/cg2",
		Rlimits: []Rlimit{{7, 1, 1<<64 - 1}}, SetBounding: true, SetEffective: true, Bounding: 1 << 40, Effective: 3,
		Mounts: []Mount{{"/v", "data", true}, {"/w", "w", false}}, LogSize: 10 << 20, LogCount: 2,
	}
}

func TestDescriptionComesBack(t *testing.T) {
	want := full()
	var got Description
	if !got.Parse(want.Append(nil)) || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, flag := range []func(*Description) *bool{
		func(d *Description) *bool { return &d.SwitchUser }, func(d *Description) *bool { return &d.NoNewPrivileges },
		func(d *Description) *bool { return &d.ResetOOMScore }, func(d *Description) *bool { return &d.SetBounding },
		func(d *Description) *bool { return &d.SetEffective },
	} {
		want := full()
		*flag(&want) = false
		if !got.Parse(want.Append(nil)) || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestEveryTruncationIsRefused(t *testing.T) {
	d := full()
	b := d.Append(nil)
	for n := range b {
		if new(Description).Parse(b[:n]) {
			t.Errorf("%d of %d bytes were accepted", n, len(b))
		}
	}
	if new(Description).Parse(append(b, 0)) {
		t.Error("a byte too many was accepted")
	}
}

func FuzzDescription(f *testing.F) {
	d := full()
	f.Add(d.Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var d, again Description
		if !d.Parse(b) {
			return
		}
		if !again.Parse(d.Append(nil)) || !reflect.DeepEqual(d, again) {
			t.Errorf("%+v does not come back", d)
		}
	})
}

func TestRecordAndReport(t *testing.T) {
	record := Record{Kind: Exited, Stage: StageExec, Errno: 2, Wait: -1, Start: 1 << 60, End: 1<<60 + 1, Dropped: 77}
	b := record.Append(nil)
	if got, ok := ParseRecord(b); !ok || got != record {
		t.Errorf("got %+v %v, want %+v", got, ok, record)
	}
	for name, bad := range map[string][]byte{
		"empty": nil, "torn": b[:39], "long": append(b[:40:40], 0), "magic": append([]byte("xxxx"), b[4:]...),
		"version": append([]byte("stox\x02"), b[5:]...), "kind": append([]byte("stox\x01\x09"), b[6:]...),
	} {
		if _, ok := ParseRecord(bad); ok {
			t.Errorf("%s: accepted", name)
		}
	}
	report := Report{Stage: StageUser, Errno: 13, Pid: 4711}
	if got, ok := ParseReport(report.Append(nil)); !ok || got != report {
		t.Errorf("got %+v %v, want %+v", got, ok, report)
	}
	if _, ok := ParseReport([]byte("R")); ok {
		t.Error("a torn report was accepted")
	}
}

func TestStagesHaveWords(t *testing.T) {
	for s := StageNone; s <= StageExec; s++ {
		if s.String() == "" {
			t.Errorf("stage %d has no words", s)
		}
	}
	if Stage(200).String() != "start" {
		t.Error("a stage of a later release must have some words")
	}
}
