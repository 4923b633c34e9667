package scheduler

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

const apiPath = "/api/v1/scheduler"

// parseMasters turns addresses into the URLs of their scheduler API.
func parseMasters(addresses []string) ([]*url.URL, error) {
	var out []*url.URL
	for _, a := range addresses {
		for _, one := range strings.Split(a, ",") {
			if one = strings.TrimSpace(one); one == "" {
				continue
			}
			full := one
			if !strings.Contains(one, "://") {
				full = "http://" + one
			}
			u, err := url.Parse(full)
			if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
				return nil, fmt.Errorf("scheduler: %q is not the address of a master: give host:port or http(s)://host:port", one)
			}
			out = append(out, &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(u.Path, "/") + apiPath})
		}
	}
	if len(out) == 0 {
		return nil, errors.New("scheduler: Config.Masters is empty: give at least one address, like 127.0.0.1:5050")
	}
	return out, nil
}

// follow is where a redirect leads. Mesos sends "//host:port/path", which keeps the
// scheme; credentials that went encrypted to one master never go in clear to another.
func follow(from, location *url.URL) (*url.URL, error) {
	to := from.ResolveReference(location)
	switch {
	case to.Host == "" || to.Scheme != "http" && to.Scheme != "https":
		return nil, fmt.Errorf("%s redirects to %q, which is not the address of a master", from.Host, location)
	case from.Scheme == "https" && to.Scheme != "https":
		return nil, fmt.Errorf("%s redirects to %s without encryption; give the leader's https address in Config.Masters", from.Host, to.Host)
	}
	return &url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path}, nil
}
