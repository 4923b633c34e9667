package request

import (
	"net/http"
	"strconv"
	"strings"
)

// AcceptsGzip reports whether a client takes a compressed answer (RFC 9110, 12.5.3): what
// it says of gzip counts before what it says of '*', a weight of 0 is a refusal, and so is
// one that cannot be read, since everybody takes the answer as it is.
func AcceptsGzip(r *http.Request) bool {
	named, others := -1.0, -1.0 // not spoken of
	for _, value := range r.Header.Values("Accept-Encoding") {
		for item := range strings.SplitSeq(value, ",") {
			name, params, _ := strings.Cut(item, ";")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "gzip":
				named = max(named, weight(params))
			case "*":
				others = max(others, weight(params))
			}
		}
	}
	if named >= 0 {
		return named > 0
	}
	return others > 0
}

// weight is q of an item's parameters, 1 if there is none.
func weight(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(p, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
