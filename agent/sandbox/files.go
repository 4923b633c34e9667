package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	agentpb "github.com/stoa-kernel/stoa/api/mesos/v1/agent"
)

// MaxRead is the most one READ_FILE returns, in bytes: 16 pages, as Mesos 1.11
// (src/files/files.cpp).
const MaxRead = 16 * 4096

// MaxList is the most entries LIST_FILES returns, so that a reply fits the link.
const MaxList = 50_000

var (
	errNotFound = errors.New("not found")
	errInvalid  = errors.New("invalid")
)

// Files answers the operators' LIST_FILES and READ_FILE. Paths are absolute, either
// below the work directory or virtual, /frameworks/F/executors/E/runs/latest/…, as in
// Mesos 1.11, src/files/files.cpp. It is safe for concurrent use.
type Files struct {
	work string
}

// NewFiles serves the sandboxes below workDir, an absolute path.
func NewFiles(workDir string) *Files { return &Files{filepath.Clean(workDir)} }

// Answer does a LIST_FILES or READ_FILE. status is the HTTP status; with 200 there is a
// response, with all others a message for the operator.
func (f *Files) Answer(call *agentpb.Call) (status int, response *agentpb.Response, message string) {
	response = &agentpb.Response{}
	var err error
	switch call.GetType() {
	case agentpb.Call_LIST_FILES:
		var infos []*mesos.FileInfo
		infos, err = f.List(call.GetListFiles().GetPath())
		response.Type = agentpb.Response_LIST_FILES.Enum()
		response.ListFiles = &agentpb.Response_ListFiles{FileInfos: infos}
	case agentpb.Call_READ_FILE:
		read := call.GetReadFile()
		var length *uint64
		if read != nil {
			length = read.Length
		}
		var size uint64
		var data []byte
		size, data, err = f.Read(read.GetPath(), read.GetOffset(), length)
		response.Type = agentpb.Response_READ_FILE.Enum()
		response.ReadFile = &agentpb.Response_ReadFile{Size: &size, Data: data}
	default:
		return http.StatusNotImplemented, nil, call.GetType().String() + " is not a call about files"
	}
	switch {
	case err == nil:
		return http.StatusOK, response, ""
	case errors.Is(err, errNotFound):
		return http.StatusNotFound, nil, err.Error()
	case errors.Is(err, errInvalid):
		return http.StatusBadRequest, nil, err.Error()
	}
	return http.StatusInternalServerError, nil, err.Error()
}

// List returns what is in a directory, sorted by name, with the paths to ask for next;
// for anything but a directory it returns nothing, as Mesos does.
func (f *Files) List(name string) ([]*mesos.FileInfo, error) {
	root, rel, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(rel)
	if err != nil {
		return nil, refine(name, err)
	}
	if !info.IsDir() {
		return nil, nil
	}
	dir, err := root.Open(rel)
	if err != nil {
		return nil, refine(name, err)
	}
	defer dir.Close()
	entries, err := dir.ReadDir(MaxList + 1)
	if err != nil && err != io.EOF {
		return nil, refine(name, err)
	}
	if len(entries) > MaxList {
		return nil, fmt.Errorf("%w: %s has more than %d entries: list a directory below it", errInvalid, name, MaxList)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	infos := make([]*mesos.FileInfo, 0, len(entries))
	owners := owners{}
	for _, e := range entries {
		info, err := root.Stat(filepath.Join(rel, e.Name()))
		if err != nil {
			// A link out of the sandbox, or to nothing: the link itself is shown.
			if info, err = root.Lstat(filepath.Join(rel, e.Name())); err != nil {
				continue // removed meanwhile
			}
		}
		infos = append(infos, fileInfo(path.Join(name, e.Name()), info, owners))
	}
	return infos, nil
}

// Read returns a file's size and its bytes from offset on: at most length of them, at
// most MaxRead. With length 0, or an offset at or behind the end, there are none.
func (f *Files) Read(name string, offset uint64, length *uint64) (size uint64, data []byte, err error) {
	root, rel, err := f.open(name)
	if err != nil {
		return 0, nil, err
	}
	defer root.Close()
	info, err := root.Stat(rel)
	if err != nil {
		return 0, nil, refine(name, err)
	}
	// Tested before it is opened, for opening a device can have effects; and again
	// after, for the task may have put another in its place, which does no harm when
	// opened without waiting.
	if err := regular(name, info); err != nil {
		return 0, nil, err
	}
	file, err := root.OpenFile(rel, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return 0, nil, refine(name, err)
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return 0, nil, refine(name, err)
	}
	if err := regular(name, info); err != nil {
		return 0, nil, err
	}
	size = uint64(info.Size())
	if offset >= size {
		return size, []byte{}, nil
	}
	n := min(size-offset, MaxRead)
	if length != nil {
		n = min(n, *length)
	}
	data = make([]byte, n)
	read, err := file.ReadAt(data, int64(offset))
	if err != nil && err != io.EOF { // cut short meanwhile
		return 0, nil, refine(name, err)
	}
	return size, data[:read], nil
}

func regular(name string, info fs.FileInfo) error {
	if info.IsDir() {
		return fmt.Errorf("%w: %s is a directory: list it", errInvalid, name)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is not a regular file", errInvalid, name)
	}
	return nil
}

// refine gives an error of the file system its class. A link that leaves the sandbox
// says no more than one that leads nowhere.
func refine(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: the agent may not read it", name)
	case errors.Is(err, unix.EIO), errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("%s: %w", name, err)
	}
	return fmt.Errorf("%w: %s: no such file in a sandbox of this agent", errNotFound, name)
}

// open finds the sandbox name is in. Only names of sandboxes and below exist here: what
// else is in the work directory is nobody's business.
func (f *Files) open(name string) (root *os.Root, rel string, err error) {
	missing := fmt.Errorf("%w: %s: no such file in a sandbox of this agent", errNotFound, name)
	if !path.IsAbs(name) || strings.ContainsRune(name, 0) {
		return nil, "", fmt.Errorf("%w: %q: the path must begin with a slash", errInvalid, name)
	}
	clean := path.Clean(name)
	if below, ok := strings.CutPrefix(clean, f.work+"/"); ok {
		clean = below
	} else if clean, err = f.virtual(clean); err != nil {
		return nil, "", missing
	}
	e := strings.Split(clean, "/")
	if len(e) < depth || e[0] != "slaves" || e[2] != "frameworks" || e[4] != "executors" || e[6] != "runs" {
		return nil, "", missing
	}
	work, err := os.OpenRoot(f.work)
	if err != nil {
		return nil, "", refine(name, err)
	}
	defer work.Close()
	if e[7] == "latest" {
		target, err := work.Readlink(path.Join(e[:depth]...))
		if err != nil {
			return nil, "", missing
		}
		e[7] = path.Base(target)
	}
	root, err = work.OpenRoot(path.Join(e[:depth]...))
	if err != nil {
		return nil, "", missing
	}
	return root, path.Join(append([]string{"."}, e[depth:]...)...), nil
}

// virtual finds /frameworks/F/executors/E/runs/… under the agent id that has it: an
// agent admitted anew has another id and may still hold sandboxes of the old one.
func (f *Files) virtual(clean string) (string, error) {
	e := strings.Split(strings.TrimPrefix(clean, "/"), "/")
	if len(e) < 6 || e[0] != "frameworks" || e[2] != "executors" || e[4] != "runs" {
		return "", errNotFound
	}
	agents, err := os.ReadDir(filepath.Join(f.work, "slaves"))
	if err != nil {
		return "", errNotFound
	}
	var found string
	var newest fs.FileInfo
	for _, a := range agents {
		// latest is the name of a link; its own time says when it was last moved.
		info, err := os.Lstat(filepath.Join(f.work, "slaves", a.Name(), path.Join(e[:6]...)))
		if err == nil && (newest == nil || info.ModTime().After(newest.ModTime())) {
			found, newest = a.Name(), info
		}
	}
	if newest == nil {
		return "", errNotFound
	}
	return path.Join("slaves", found, clean), nil
}

// owners remembers the names of users and groups for one listing.
type owners map[string]string

func (o owners) name(kind string, id uint32, look func(string) (string, error)) *string {
	number := strconv.FormatUint(uint64(id), 10)
	name, ok := o[kind+number]
	if !ok {
		var err error
		if name, err = look(number); err != nil {
			name = number
		}
		o[kind+number] = name
	}
	return &name
}

func fileInfo(name string, info fs.FileInfo, o owners) *mesos.FileInfo {
	out := &mesos.FileInfo{
		Path:  proto.String(name),
		Size:  proto.Uint64(uint64(info.Size())),
		Mtime: &mesos.TimeInfo{Nanoseconds: proto.Int64(info.ModTime().UnixNano())},
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		out.Nlink = proto.Int32(int32(st.Nlink))
		out.Mode = proto.Uint32(st.Mode)
		out.Uid = o.name("u", st.Uid, func(id string) (string, error) {
			u, err := user.LookupId(id)
			if err != nil {
				return "", err
			}
			return u.Username, nil
		})
		out.Gid = o.name("g", st.Gid, func(id string) (string, error) {
			g, err := user.LookupGroupId(id)
			if err != nil {
				return "", err
			}
			return g.Name, nil
		})
	}
	return out
}
