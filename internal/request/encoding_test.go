package request

import (
	"net/http"
	"testing"
)

func TestAcceptsGzip(t *testing.T) {
	for _, tt := range []struct {
		values []string
		want   bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"gzip"}, true},
		{[]string{"GZip"}, true},
		{[]string{"deflate, br"}, false},
		{[]string{"deflate", "gzip"}, true},
		{[]string{"deflate, gzip;q=0.5"}, true},
		{[]string{"gzip;q=0.05"}, true},
		{[]string{"gzip ; q=0.001"}, true},
		{[]string{"gzip;q=0"}, false},
		{[]string{"gzip;q=0.0"}, false},
		{[]string{"gzip; Q = 0.000"}, false},
		{[]string{"gzip;x=1;q=0"}, false},
		{[]string{"gzip;q=nan"}, false},
		{[]string{"gzip;q=-1"}, false},
		{[]string{"gzip;q=much"}, false},
		{[]string{"*"}, true},
		{[]string{"*;q=0"}, false},
		{[]string{"gzip;q=0, *"}, false},
		{[]string{"*;q=0, gzip"}, true},
	} {
		r := &http.Request{Header: http.Header{"Accept-Encoding": tt.values}}
		if got := AcceptsGzip(r); got != tt.want {
			t.Errorf("Accept-Encoding %q: %v", tt.values, got)
		}
	}
}
