package http

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"slices"
	"strings"
)

// headers that every answer of the leader has (as Marathon 1.10, api/LeaderProxyFilter,
// CacheDisablingFilter, CORSFilter).
func (s *server) headers(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Marathon-Leader", s.Info.Scheme+"://"+s.Info.Leader)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-XSS-Protection", "1; mode=block")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "0")
	if len(s.Origin) == 0 {
		return
	}
	origin := s.Origin[0]
	if asked := r.Header.Get("Origin"); slices.Contains(s.Origin, asked) {
		origin = asked
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
	h.Set("Access-Control-Max-Age", "86400")
	if len(s.Origin) > 1 {
		h.Add("Vary", "Origin")
	}
	var asked []string
	for _, line := range r.Header.Values("Access-Control-Request-Headers") {
		for name := range strings.SplitSeq(line, ",") {
			asked = append(asked, strings.TrimSpace(name))
		}
	}
	h.Set("Access-Control-Allow-Headers", strings.Join(asked, ", "))
}

// authenticated says who asks: the user, else the client's address. Without credentials
// of its own the server takes any that a client sends (go-marathon always sends some).
func (s *server) authenticated(r *http.Request) (who string, ok bool) {
	who, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		who = r.RemoteAddr
	}
	if s.Credentials == "" {
		return who, true
	}
	user, password, given := r.BasicAuth()
	// Of one length, so that the time it takes tells nothing.
	a, b := sha256.Sum256([]byte(user+":"+password)), sha256.Sum256([]byte(s.Credentials))
	if subtle.ConstantTimeCompare(a[:], b[:]) != 1 || !given {
		return "", false
	}
	return user, true
}

// segments of a path, without empty ones: slashes at the end and doubled ones do not
// count.
func segments(path string) []string {
	return strings.FieldsFunc(path, func(c rune) bool { return c == '/' })
}

// counter notes the status of an answer.
type counter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (c *counter) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (c *counter) Write(b []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	return c.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// Flush is for handlers that look for it themselves.
func (c *counter) Flush() { _ = http.NewResponseController(c.ResponseWriter).Flush() }
