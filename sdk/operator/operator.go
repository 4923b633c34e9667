// Package operator is a client of a master's operator API: Mesos's v1 calls
// (docs/operator-http-api.md) and Stoa's own below /stoa/v1.
package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	agentpb "github.com/stoa-kernel/stoa/api/mesos/v1/agent"
	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
)

// maxBody bounds an answer held in memory: a state of 400,000 tasks is about 300 MB.
const maxBody = 1 << 30

const protobuf = "application/x-protobuf"

// Client talks to one master address; a master that does not lead redirects it.
type Client struct {
	base string
	http *http.Client
}

// New makes a client for "host:port" or a URL. A nil httpClient means one with a
// connection timeout of 5 s and no limit on the answer's time.
func New(addr string, httpClient *http.Client) *Client {
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	if httpClient == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.ResponseHeaderTimeout = 30 * time.Second
		httpClient = &http.Client{Transport: t}
	}
	return &Client{strings.TrimRight(addr, "/"), httpClient}
}

// Address is the URL calls go to.
func (c *Client) Address() string { return c.base }

// Error is an answer other than 2xx.
type Error struct {
	Status  int
	Message string
}

func (e *Error) Error() string {
	if e.Message == "" {
		return http.StatusText(e.Status)
	}
	return e.Message
}

// NotFound reports whether err is an answer of 404.
func NotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// ErrUnreachable wraps every failure to get any answer at all.
var ErrUnreachable = errors.New("the master does not answer")

func (c *Client) do(ctx context.Context, method, path, contentType string, body []byte, accept string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Accept", accept)
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w at %s: %w", ErrUnreachable, c.base, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w", ErrUnreachable, c.base, err)
	}
	if len(answer) > maxBody {
		return nil, fmt.Errorf("the answer to %s is larger than %d bytes", path, maxBody)
	}
	if resp.StatusCode/100 != 2 {
		return nil, &Error{resp.StatusCode, strings.TrimSpace(string(answer))}
	}
	return answer, nil
}

// Call makes an operator call; the response is empty for calls that have none.
func (c *Client) Call(ctx context.Context, call *masterpb.Call) (*masterpb.Response, error) {
	body, err := proto.Marshal(call)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", call.GetType(), err)
	}
	answer, err := c.do(ctx, http.MethodPost, "/api/v1", protobuf, body, protobuf)
	if err != nil {
		return nil, err
	}
	resp := new(masterpb.Response)
	if len(answer) == 0 {
		return resp, nil
	}
	if err := proto.Unmarshal(answer, resp); err != nil {
		return nil, fmt.Errorf("the answer to %s does not decode: %w", call.GetType(), err)
	}
	return resp, nil
}

// State is agents, frameworks, executors and tasks at one instant.
func (c *Client) State(ctx context.Context) (*masterpb.Response_GetState, error) {
	resp, err := c.Call(ctx, &masterpb.Call{Type: masterpb.Call_GET_STATE.Enum()})
	if err != nil {
		return nil, err
	}
	return resp.GetGetState(), nil
}

// AgentCall makes a call of an agent's operator API through the master.
func (c *Client) AgentCall(ctx context.Context, agent string, call *agentpb.Call) (*agentpb.Response, error) {
	body, err := proto.Marshal(call)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", call.GetType(), err)
	}
	answer, err := c.do(ctx, http.MethodPost, "/stoa/v1/agents/"+url.PathEscape(agent)+"/api", protobuf, body, protobuf)
	if err != nil {
		return nil, err
	}
	resp := new(agentpb.Response)
	if err := proto.Unmarshal(answer, resp); err != nil {
		return nil, fmt.Errorf("the answer to %s does not decode: %w", call.GetType(), err)
	}
	return resp, nil
}

// ReadFile reads from a file in a sandbox of an agent, at most length bytes from
// offset (0: as much as the agent gives at once); size is the file's size now.
func (c *Client) ReadFile(ctx context.Context, agent, path string, offset, length uint64) (data []byte, size uint64, err error) {
	read := &agentpb.Call_ReadFile{Path: &path, Offset: &offset}
	if length > 0 {
		read.Length = &length
	}
	resp, err := c.AgentCall(ctx, agent, &agentpb.Call{Type: agentpb.Call_READ_FILE.Enum(), ReadFile: read})
	if err != nil {
		return nil, 0, err
	}
	return resp.GetReadFile().GetData(), resp.GetReadFile().GetSize(), nil
}

// ListFiles lists a directory below an agent's sandboxes.
func (c *Client) ListFiles(ctx context.Context, agent, path string) ([]*mesos.FileInfo, error) {
	resp, err := c.AgentCall(ctx, agent, &agentpb.Call{Type: agentpb.Call_LIST_FILES.Enum(), ListFiles: &agentpb.Call_ListFiles{Path: &path}})
	if err != nil {
		return nil, err
	}
	return resp.GetListFiles().GetFileInfos(), nil
}

// SandboxPath is the virtual path of the newest sandbox of a framework's executor; a
// command task's executor has the task's id.
func SandboxPath(framework, executor string) string {
	return "/frameworks/" + framework + "/executors/" + executor + "/runs/latest"
}

// Kill kills a framework's task by its kill policy, or with the given grace.
func (c *Client) Kill(ctx context.Context, framework, task string, grace *time.Duration) error {
	body := map[string]any{"framework_id": framework, "task_id": task}
	if grace != nil {
		body["grace_period"] = grace.String()
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, http.MethodPost, "/stoa/v1/kill", "application/json", raw, "application/json")
	return err
}

// Explanation says why something is not running.
type Explanation struct {
	// Lines is for people, most important first.
	Lines []string `json:"lines"`
	// Facts are the same for programs.
	Facts map[string]string `json:"facts,omitempty"`
}

// Why explains a framework or one of its tasks.
func (c *Client) Why(ctx context.Context, framework, task string) (*Explanation, error) {
	return c.why(ctx, url.Values{"framework": {framework}, "task": {task}})
}

// WhatIf explains whether role ("" is *) would be offered resources in the textual form
// "cpus:4;mem:8192", and what is in the way.
func (c *Client) WhatIf(ctx context.Context, role, resources string) (*Explanation, error) {
	return c.why(ctx, url.Values{"role": {role}, "resources": {resources}})
}

func (c *Client) why(ctx context.Context, q url.Values) (*Explanation, error) {
	for k, v := range q {
		if v[0] == "" {
			delete(q, k)
		}
	}
	raw, err := c.do(ctx, http.MethodGet, "/stoa/v1/why?"+q.Encode(), "", nil, "application/json")
	if err != nil {
		return nil, err
	}
	e := new(Explanation)
	if err := json.Unmarshal(raw, e); err != nil {
		return nil, fmt.Errorf("the explanation does not decode: %w", err)
	}
	return e, nil
}

// Version is the master's version.
func (c *Client) Version(ctx context.Context) (*mesos.VersionInfo, error) {
	resp, err := c.Call(ctx, &masterpb.Call{Type: masterpb.Call_GET_VERSION.Enum()})
	if err != nil {
		return nil, err
	}
	return resp.GetGetVersion().GetVersionInfo(), nil
}
