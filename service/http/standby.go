package http

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	// via names the processes that passed a request on.
	via = "X-Marathon-Via"
	// attempts to find a leader, and the pause between them.
	attempts = 10
	pause    = 250 * time.Millisecond
)

// Standby answers on a process that does not lead: it passes requests on to the leader,
// event streams by 302 (as Marathon 1.10, api/LeaderProxyFilter). leader returns
// "host:port" of the leader, "" if there is none. leading returns the leader's handler
// once this process has become it, nil before.
//
// scheme is that of every process of the service, "http" or "https"; with the latter the
// leader is trusted as secure says, nil being the system's authorities.
func Standby(scheme, self string, secure *tls.Config, leader func(ctx context.Context) string, leading func() http.Handler) http.Handler {
	transport := &http.Transport{
		TLSClientConfig:       secure,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		ResponseHeaderTimeout: coreTimeout + writeTimeout,
		MaxConnsPerHost:       64,
		IdleConnTimeout:       30 * time.Second,
		DisableCompression:    true,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slices.ContainsFunc(r.Header.Values(via), func(v string) bool { return named(v, self) }) {
			refuse(w, r, http.StatusBadGateway, "Detected proxying loop: this request was passed on to %s, which does not lead", self)
			return
		}
		to, own := find(r.Context(), self, leader, leading)
		switch {
		case own != nil:
			own.ServeHTTP(w, r)
		case to == "":
			refuse(w, r, http.StatusBadGateway, "Could not determine the current leader")
		case strings.HasPrefix(r.URL.Path, "/v2/events"):
			w.Header().Set("Location", scheme+"://"+to+r.URL.RequestURI())
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(http.StatusFound)
		default:
			forward(transport, scheme, self, to).ServeHTTP(w, r)
		}
	})
}

// named reports whether a header's value, "1.1 host:port" of each process, names self.
func named(value, self string) bool {
	for one := range strings.SplitSeq(value, ",") {
		if fields := strings.Fields(one); len(fields) > 0 && fields[len(fields)-1] == self {
			return true
		}
	}
	return false
}

// find waits for a leader; own is set if it is this process by now.
func find(ctx context.Context, self string, leader func(context.Context) string, leading func() http.Handler) (to string, own http.Handler) {
	for n := range attempts + 1 {
		if n > 0 {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return "", nil
			}
		}
		if own := leading(); own != nil {
			return "", own
		}
		if to := leader(ctx); to != "" && to != self {
			return to, nil
		}
	}
	return "", nil
}

func forward(transport http.RoundTripper, scheme, self, to string) http.Handler {
	return &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: scheme, Host: to})
			p.Out.Host = p.In.Host
			p.Out.Header.Add(via, "1.1 "+self)
			p.SetXForwarded()
		},
		FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if errors.Is(err, context.Canceled) {
				panic(http.ErrAbortHandler) // nobody waits for an answer
			}
			refuse(w, r, http.StatusBadGateway, "The leader %s did not answer: %v", to, err)
		},
	}
}
