package http

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every path that is listed is routed, and every word that the router knows is in the list.
func TestHelpIsWhole(t *testing.T) {
	s := New(Config{}).(*server)
	words := make(map[string]bool)
	for _, e := range endpoints {
		if len(s.methodsOf(e.path)) == 0 {
			t.Errorf("%s is listed, and takes no method", e.path)
		}
		words[strings.TrimPrefix(e.path, "/")] = true
		for word := range strings.SplitSeq(e.path, "/") {
			words[word] = true
		}
	}
	source, err := os.ReadFile("route.go")
	if err != nil {
		t.Fatal(err)
	}
	known := regexp.MustCompile(`(?:case|==) "([^"]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(known) < 20 {
		t.Fatalf("only %d paths were found in the router", len(known))
	}
	for _, m := range known {
		if !words[m[1]] {
			t.Errorf("the router knows %q, and the list does not", m[1])
		}
	}
	if got := s.methodsOf("/nowhere"); got != nil {
		t.Errorf("%v of a path that is none", got)
	}
	if got := strings.Join(s.methodsOf("/v2/leader"), " "); got != http.MethodGet+" "+http.MethodDelete {
		t.Errorf("/v2/leader takes %s", got)
	}
}
