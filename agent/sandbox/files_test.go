package sandbox

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	agentpb "github.com/stoa-kernel/stoa/api/mesos/v1/agent"
)

func list(path string) *agentpb.Call {
	return &agentpb.Call{Type: agentpb.Call_LIST_FILES.Enum(), ListFiles: &agentpb.Call_ListFiles{Path: &path}}
}

func read(path string, offset uint64, length *uint64) *agentpb.Call {
	return &agentpb.Call{Type: agentpb.Call_READ_FILE.Enum(), ReadFile: &agentpb.Call_ReadFile{Path: &path, Offset: &offset, Length: length}}
}

// served has a hostile sandbox with some output.
func served(t *testing.T) (work string, f *Files) {
	t.Helper()
	work = place(t)
	for _, c := range []string{"c1", "c2"} {
		if err := Create(work, box(work, c), someone()); err != nil {
			t.Fatal(err)
		}
	}
	messAs(t, someone(), box(work, "c2"))
	b := box(work, "c2")
	if err := errors.Join(
		os.WriteFile(b+"/stdout", bytes.Repeat([]byte("0123456789"), 10_000), 0o644),
		os.WriteFile(box(work, "c1")+"/stdout", []byte("older"), 0o644),
		os.Mkdir(b+"/logs", 0o755), os.WriteFile(b+"/logs/x", []byte("deep"), 0o644),
		os.Symlink("logs/x", b+"/inner"),
		os.WriteFile(work+"/secret", []byte("of the agent"), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	return work, NewFiles(work)
}

const virtual = "/frameworks/F1/executors/E 1/runs/latest"

func TestRead(t *testing.T) {
	work, f := served(t)
	for _, c := range []struct {
		path   string
		offset uint64
		length *uint64
		status int
		size   uint64
		want   string // its beginning
		n      int
	}{
		{virtual + "/stdout", 0, nil, 200, 100_000, "0123456789", MaxRead},
		{virtual + "/stdout", 99_995, nil, 200, 100_000, "56789", 5},
		{virtual + "/stdout", 13, proto.Uint64(4), 200, 100_000, "3456", 4},
		{virtual + "/stdout", 0, proto.Uint64(1 << 60), 200, 100_000, "0123", MaxRead},
		{virtual + "/stdout", 0, proto.Uint64(0), 200, 100_000, "", 0},
		{virtual + "/stdout", 100_000, nil, 200, 100_000, "", 0},
		{virtual + "/stdout", 1<<64 - 1, nil, 200, 100_000, "", 0},
		{"/frameworks/F1/executors/E 1/runs/c1/stdout", 0, nil, 200, 5, "older", 5},
		{box(work, "latest") + "/logs/x", 0, nil, 200, 4, "deep", 4},
		{box(work, "c1") + "/stdout", 0, nil, 200, 5, "older", 5},
		{virtual + "//logs/../logs/x", 1, nil, 200, 4, "eep", 3},
		{virtual + "/inner", 0, nil, 200, 4, "deep", 4},
		{virtual + "/logs", 0, nil, 400, 0, "", 0},
		{virtual, 0, nil, 400, 0, "", 0},
		{virtual + "/pipe", 0, nil, 400, 0, "", 0},
		{"stdout", 0, nil, 400, 0, "", 0},
		{virtual + "/stdout\x00", 0, nil, 400, 0, "", 0},
		{virtual + "/nothing", 0, nil, 404, 0, "", 0},
		{virtual + "/passwd", 0, nil, 404, 0, "", 0},
		{virtual + "/root/etc/passwd", 0, nil, 404, 0, "", 0},
		{virtual + "/up/secret", 0, nil, 404, 0, "", 0},
		{virtual + "/../../../../../../../secret", 0, nil, 404, 0, "", 0},
		{work + "/secret", 0, nil, 404, 0, "", 0},
		{work + "/slaves/S0", 0, nil, 404, 0, "", 0},
		{"/etc/passwd", 0, nil, 404, 0, "", 0},
		{"/frameworks/F2/executors/E 1/runs/latest/stdout", 0, nil, 404, 0, "", 0},
		{"/frameworks/F1/executors/E 1/runs/../../../../etc", 0, nil, 404, 0, "", 0},
	} {
		status, response, message := f.Answer(read(c.path, c.offset, c.length))
		if status != c.status {
			t.Errorf("%q at %d: %d %s, want %d", c.path, c.offset, status, message, c.status)
			continue
		}
		if status != 200 {
			if message == "" || response != nil {
				t.Errorf("%q: message %q, response %v", c.path, message, response)
			}
			continue
		}
		r := response.GetReadFile()
		if response.GetType() != agentpb.Response_READ_FILE || r.GetSize() != c.size || len(r.GetData()) != c.n || !bytes.HasPrefix(r.GetData(), []byte(c.want)) {
			t.Errorf("%q at %d: size %d, %d bytes", c.path, c.offset, r.GetSize(), len(r.GetData()))
		}
		if err := proto.CheckInitialized(response); err != nil {
			t.Error(err)
		}
	}
}

func TestList(t *testing.T) {
	work, f := served(t)
	for path, want := range map[string][]string{
		virtual:                  {"a", "inner", "logs", "passwd", "pipe", "root", "stdout", "up"},
		virtual + "/":            {"a", "inner", "logs", "passwd", "pipe", "root", "stdout", "up"},
		box(work, "c1"):          {"stdout"},
		virtual + "/logs":        {"x"},
		virtual + "/logs/x":      {},
		virtual + "/root":        nil,
		virtual + "/up/slaves":   nil,
		virtual + "/nothing":     nil,
		filepath.Dir(virtual):    nil,
		work:                     nil,
		work + "/slaves/S0":      nil,
		"/":                      nil,
		"/frameworks/F1":         nil,
		virtual + "/../../../..": nil,
	} {
		status, response, message := f.Answer(list(path))
		if want == nil {
			if status != 404 {
				t.Errorf("%q: %d %v", path, status, response)
			}
			continue
		}
		if status != 200 {
			t.Errorf("%q: %d %s", path, status, message)
			continue
		}
		got := []string{}
		for _, info := range response.GetListFiles().GetFileInfos() {
			if filepath.Dir(info.GetPath()) != filepath.Clean(path) {
				t.Errorf("%q lists %q", path, info.GetPath())
			}
			got = append(got, filepath.Base(info.GetPath()))
			if info.GetMtime().GetNanoseconds() == 0 || info.GetNlink() == 0 || info.GetUid() == "" || info.GetGid() == "" {
				t.Errorf("incomplete: %v", info)
			}
			// A link inside shows what it points to; one out of the sandbox shows itself.
			const kind, directory, link, file = 0o170000, 0o040000, 0o120000, 0o100000
			mode := map[string]uint32{"a": directory, "inner": file, "stdout": file, "root": link, "up": link, "passwd": link}[filepath.Base(info.GetPath())]
			if mode != 0 && info.GetMode()&kind != mode {
				t.Errorf("%s has mode %o", info.GetPath(), info.GetMode())
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", path, got, want)
		}
	}
}

func TestOtherCalls(t *testing.T) {
	_, f := served(t)
	if status, _, _ := f.Answer(&agentpb.Call{Type: agentpb.Call_GET_STATE.Enum()}); status != 501 {
		t.Fatal(status)
	}
	if status, _, _ := f.Answer(&agentpb.Call{Type: agentpb.Call_READ_FILE.Enum()}); status != 400 {
		t.Fatal(status)
	}
}

// FuzzPath: no path reaches a file outside of the sandboxes.
func FuzzPath(f *testing.F) {
	for _, p := range []string{virtual + "/stdout", virtual + "/root/etc/passwd", "/../../secret", virtual + "/up/secret", "//frameworks/./F1"} {
		f.Add(p)
	}
	work, err := os.MkdirTemp("", "fuzz-*")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { os.RemoveAll(work) })
	if err := errors.Join(Create(work, box(work, "c2"), ""), os.WriteFile(box(work, "c2")+"/stdout", []byte("ours"), 0o644), os.WriteFile(work+"/secret", []byte("secret"), 0o644),
		os.Symlink("/", box(work, "c2")+"/root"), os.Symlink("../../../../../../../..", box(work, "c2")+"/up")); err != nil {
		f.Fatal(err)
	}
	files := NewFiles(work)
	f.Fuzz(func(t *testing.T, path string) {
		for _, p := range []string{path, virtual + "/" + path, work + "/" + path} {
			if status, response, _ := files.Answer(read(p, 0, nil)); status == 200 && string(response.GetReadFile().GetData()) != "ours" {
				t.Fatalf("%q reads %q", p, response.GetReadFile().GetData())
			}
		}
	})
}
