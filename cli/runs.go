package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	run "github.com/stoa-kernel/stoa/run/state"
	"github.com/stoa-kernel/stoa/sdk/operator"
)

// runs is a client of the run framework, found through the master.
type runs struct {
	base string
	http *http.Client
}

// runs finds the run framework's address among the frameworks; nil if none is there.
func (s *session) runs(st *masterpb.Response_GetState) (*runs, error) {
	for _, f := range st.GetGetFrameworks().GetFrameworks() {
		if f.GetConnected() && f.GetFrameworkInfo().GetName() == "run" && f.GetFrameworkInfo().GetWebuiUrl() != "" {
			return &runs{strings.TrimRight(f.GetFrameworkInfo().GetWebuiUrl(), "/"), http.DefaultClient}, nil
		}
	}
	return nil, &Error{
		What: "no run framework is connected to the cluster",
		Why:  "`stoa run` hands its command to a small framework named run",
		Try:  "stoa runs --master " + s.addr + " (it is part of `stoa up`)",
	}
}

func (r *runs) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, reader)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: the run framework at %s: %w", operator.ErrUnreachable, r.base, err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return nil, &operator.Error{Status: resp.StatusCode, Message: strings.TrimSpace(string(text))}
	}
	return resp, nil
}

func (r *runs) call(ctx context.Context, method, path string, body, answer any) error {
	resp, err := r.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return fmt.Errorf("the run framework's answer does not decode: %w", err)
	}
	return nil
}

func (r *runs) submit(ctx context.Context, spec run.Spec) (*run.Run, error) {
	created := new(run.Run)
	return created, r.call(ctx, http.MethodPost, "/v1/runs", spec, created)
}

func (r *runs) cancel(ctx context.Context, id string) (*run.Run, error) {
	canceled := new(run.Run)
	return canceled, r.call(ctx, http.MethodDelete, "/v1/runs/"+url.PathEscape(id), nil, canceled)
}

func (r *runs) list(ctx context.Context) ([]*run.Run, error) {
	var all []*run.Run
	return all, r.call(ctx, http.MethodGet, "/v1/runs", nil, &all)
}

// watch calls each with the run's state now and after every change, until it is done,
// each returns false, or the stream breaks.
func (r *runs) watch(ctx context.Context, id string, each func(*run.Run) bool) error {
	resp, err := r.do(ctx, http.MethodGet, "/v1/runs/"+url.PathEscape(id)+"?watch=true", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%w: the run framework ended its stream: %w", operator.ErrUnreachable, err)
		}
		now := new(run.Run)
		if err := json.Unmarshal(line, now); err != nil {
			return fmt.Errorf("the run framework's stream does not decode: %w", err)
		}
		if !each(now) || now.Done != nil {
			return nil
		}
	}
}
