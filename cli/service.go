package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// defaultServiceAddr is where a service listens unless told otherwise.
const defaultServiceAddr = "127.0.0.1:8080"

// maxServiceBody bounds an answer held in memory: 10,000 apps are about 30 MB.
const maxServiceBody = 1 << 30

// service is a client of the service's API, which is Marathon's.
type service struct {
	base string
	user *url.Userinfo
	http *http.Client
	// guessed says why base is only a guess, "" if it is none.
	guessed string
}

// service is at the address that was given, else where the master says that the framework
// marathon is, else where services listen by default.
func (s *session) service(ctx context.Context) (*service, error) {
	// Environment and flag are not joined earlier: the URL may hold a password, which help
	// would show as a default.
	addr := cmp.Or(s.serviceAddr, os.Getenv("STOA_SERVICE_ADDR"), os.Getenv("MARATHON_URL"))
	guessed := ""
	if addr == "" {
		addr, guessed = s.findService(ctx)
	}
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		// The text is not repeated: it may hold a password.
		return nil, &Error{What: "the service's address is neither host:port nor a URL", Try: "--service-addr 127.0.0.1:8080 or https://user:password@host:8443", Code: ExitUsage}
	}
	svc := &service{user: u.User, guessed: guessed}
	if svc.user == nil {
		if name, password, ok := strings.Cut(os.Getenv("MARATHON_HTTP_CREDENTIALS"), ":"); ok {
			svc.user = url.UserPassword(name, password)
		}
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	svc.base = strings.TrimRight(u.String(), "/")
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = time.Minute
	svc.http = &http.Client{Transport: t}
	return svc, nil
}

// findService asks the master; what does not answer soon is taken for not there, and the
// address for a guess.
func (s *session) findService(ctx context.Context) (addr, guessed string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	resp, err := s.client().Call(ctx, &masterpb.Call{Type: masterpb.Call_GET_FRAMEWORKS.Enum()})
	if err != nil {
		return defaultServiceAddr, "no master answers at " + s.addr + " either"
	}
	for _, f := range resp.GetGetFrameworks().GetFrameworks() {
		if info := f.GetFrameworkInfo(); f.GetConnected() && info.GetName() == "marathon" && info.GetWebuiUrl() != "" {
			return info.GetWebuiUrl(), ""
		}
	}
	return defaultServiceAddr, "the master at " + s.addr + " knows of no service"
}

// refusal is an answer other than 2xx.
type refusal struct {
	status int
	body   marathon.Error
	// items are the ids of a list that was sent, whose places the paths name.
	items []string
	// named says that a user was.
	named bool
}

// locked reports whether another deployment is in the way.
func (r *refusal) locked() bool {
	return r.status == http.StatusConflict && len(r.body.Deployments) > 0
}

func (r *refusal) Error() string { return r.body.Message }

// report is the refusal as users read it, all that is wrong at once.
func (r *refusal) report() *Error {
	e := &Error{What: strings.TrimSuffix(clean(cmp.Or(r.body.Message, http.StatusText(r.status))), "."), Why: r.details()}
	switch r.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Code = ExitDenied
		if r.status == http.StatusUnauthorized {
			e.What = "the service wants to know who asks"
			if r.named {
				e.What = "the service does not know this user with this password"
			}
			e.Try = "give user and password in MARATHON_HTTP_CREDENTIALS=user:password or in the URL of --service-addr"
		}
	case http.StatusNotFound:
		e.Code = ExitNotFound
		switch {
		case strings.HasPrefix(e.What, "App '"):
			e.Try = listings["APP"] + " lists those there are"
		case strings.HasPrefix(e.What, "Group '"):
			e.Try = listings["GROUP"] + " lists those there are"
		}
	case http.StatusConflict:
		e.Code = ExitConflict
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		if e.Why != "" {
			// Marathon says "Object is not valid" or "Invalid JSON".
			e.What, e.Try = "the service does not take this", "correct what is named above; with --dry-run it is checked, and nothing is done"
		}
	}
	// The service speaks to programs too.
	if what, _, ok := strings.Cut(e.What, "; name one with ?version="); ok {
		e.What, e.Try = what, "stoa app versions APP lists all there are; stoa app rollback APP VERSION takes any of them"
	}
	return e
}

// plain says in words what Marathon says to programs.
var plain = strings.NewReplacer(
	`must fully match regular expression '^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.)$'`,
	"may have lower-case letters, digits, hyphens and dots between slashes, hyphens in the middle only",
	"error.expected.jsnumber", "must be a number", "error.expected.jsstring", "must be a text", "error.expected.jsboolean", "must be true or false",
	"error.expected.jsobject", "must be an object", "error.expected.jsarray", "must be a list", "error.path.missing", "is missing",
)

// details has a line for each violation.
func (r *refusal) details() string {
	switch d := r.body.Details.(type) {
	case string:
		if d != "" {
			return clean(d)
		}
	case []any:
		var lines []string
		for _, one := range d {
			v, _ := one.(map[string]any)
			path, _ := v["path"].(string)
			if n, rest, ok := strings.Cut(strings.TrimPrefix(path, "("), ")"); ok && path[0] == '(' {
				if i, err := strconv.Atoi(n); err == nil && i >= 0 && i < len(r.items) {
					path = r.items[i] + " " + rest
				}
			}
			list, _ := v["errors"].([]any)
			for _, text := range list {
				lines = append(lines, plain.Replace(clean(strings.TrimPrefix(fmt.Sprintf("%s: %v", path, text), ": "))))
			}
		}
		return strings.Join(lines, "\n       ")
	}
	return ""
}

// unreachable is no answer at all.
func (s *service) unreachable(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	e := &Error{
		What: "the service does not answer",
		Why:  fmt.Sprintf("at %s: %v", s.base, err),
		Try:  "start one with `stoa up`, or name its address with --service-addr or STOA_SERVICE_ADDR",
		Code: ExitUnreachable,
	}
	if s.guessed != "" {
		e.Why += "; " + s.guessed
	}
	return e
}

// request makes a call and returns the answer if it is 2xx.
func (s *service) request(ctx context.Context, method, path string, query url.Values, body any, header http.Header) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(raw)
	}
	target := s.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, reader)
	if err != nil {
		return nil, err
	}
	req.Header = header
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if s.user != nil {
		password, _ := s.user.Password()
		req.SetBasicAuth(s.user.Username(), password)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, s.unreachable(err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	refused := &refusal{status: resp.StatusCode, named: s.user != nil}
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // what came is shown
	// Others may stand before it and ask for a password.
	others := resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden
	if (json.Unmarshal(raw, &refused.body) != nil || refused.body.Message == "") && others {
		return nil, &Error{
			What: fmt.Sprintf("%s answers %s, and not as the service does", s.base, resp.Status), Why: clean(strings.TrimSpace(string(raw[:min(len(raw), 200)]))),
			Try: "name the service's address with --service-addr or STOA_SERVICE_ADDR; stoa frameworks lists it as marathon", Code: ExitUnreachable,
		}
	}
	switch resp.StatusCode {
	case http.StatusBadGateway:
		return nil, &Error{
			What: "no service leads at the moment", Why: clean(refused.body.Message), Try: "again in some seconds, when another one has taken over", Code: ExitUnreachable,
		}
	case http.StatusServiceUnavailable:
		return nil, &Error{
			What: "the service cannot do that now", Why: clean(refused.body.Message), Try: "look at the log of the service; its readers are still answered", Code: ExitUnreachable,
		}
	}
	return nil, refused
}

// call decodes the answer into answer, unless that is nil.
func (s *service) call(ctx context.Context, method, path string, query url.Values, body, answer any) error {
	resp, err := s.request(ctx, method, path, query, body, http.Header{"Accept": {"application/json"}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxServiceBody)).Decode(answer); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var n net.Error
		if errors.As(err, &n) || errors.Is(err, io.ErrUnexpectedEOF) {
			return s.unreachable(err)
		}
		return fmt.Errorf("the service's answer to %s does not decode: %w", path, err)
	}
	return nil
}

func (s *service) get(ctx context.Context, path string, query url.Values, answer any) error {
	return s.call(ctx, http.MethodGet, path, query, nil, answer)
}

// appPath is the path of an app, with what is below it.
func appPath(id string, more ...string) string {
	return escaped("/v2/apps"+id) + strings.Join(more, "")
}

func escaped(path string) string { return (&url.URL{Path: path}).EscapedPath() }

func (s *service) app(ctx context.Context, id string) (*marathon.AppInfo, error) {
	var answer struct {
		App *marathon.AppInfo `json:"app"`
	}
	err := s.get(ctx, appPath(id), url.Values{"embed": {"app.taskStats", "app.readiness"}}, &answer)
	if err == nil && (answer.App == nil || answer.App.App == nil) {
		err = fmt.Errorf("the service's answer for %s has no app", id)
	}
	return answer.App, err
}

// apps are those that query selects, with counts and deployments.
func (s *service) apps(ctx context.Context, query url.Values) ([]*marathon.AppInfo, error) {
	var answer struct {
		Apps []*marathon.AppInfo `json:"apps"`
	}
	err := s.get(ctx, "/v2/apps", query, &answer)
	return answer.Apps, err
}

// deployments that are under way, with what they wait for.
func (s *service) deployments(ctx context.Context) ([]marathon.Deployment, error) {
	var all []marathon.Deployment
	err := s.get(ctx, "/v2/deployments", url.Values{"embed": {"waiting"}}, &all)
	return all, err
}

func (s *service) queue(ctx context.Context) ([]marathon.QueueItem, error) {
	var q marathon.Queue
	err := s.get(ctx, "/v2/queue", nil, &q)
	return q.Queue, err
}

// appID is an app's or group's id as users give it, with or without the first slash.
func appID(name string) string { return "/" + strings.Trim(name, "/") }

// completeApps completes ids of apps.
func (s *session) completeApps(c *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	svc, err := s.service(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	apps, err := svc.apps(ctx, url.Values{"id": {strings.Trim(begin, "/")}})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var ids []string
	for _, a := range apps {
		id := a.ID
		if !strings.HasPrefix(begin, "/") {
			id = strings.TrimPrefix(id, "/")
		}
		if strings.HasPrefix(id, begin) {
			ids = append(ids, id)
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// completeDeployments completes ids of deployments under way.
func (s *session) completeDeployments(c *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	svc, err := s.service(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	all, err := svc.deployments(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var ids []string
	for _, d := range all {
		if strings.HasPrefix(d.ID, begin) {
			ids = append(ids, d.ID+"\t"+strings.Join(d.AffectedApps, ", "))
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
