package app

import (
	"path"
	"strings"
)

// validURI checks a URI or a relative reference as strictly as Java's URI does, which
// reads what Marathon gets (RFC 2396): legal characters, whole escapes, a name before the
// first colon, something after "//" and no brackets but around an address.
func validURI(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c <= ' ' || c == 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0:
			return false
		case c == '%' && (i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2])):
			return false
		}
	}
	scheme, rest := splitScheme(s)
	if scheme == "" && rest != s || scheme != "" && (rest == "" || !schemeName(scheme)) {
		return false
	}
	rest, fragment, _ := strings.Cut(rest, "#")
	if authority, ok := strings.CutPrefix(rest, "//"); ok {
		end := strings.IndexAny(authority, "/?")
		if end == 0 && authority[0] == '?' || authority == "" {
			return false
		}
		if end >= 0 {
			authority, rest = authority[:end], authority[end:]
		} else {
			rest = ""
		}
		_, host, found := strings.Cut(authority, "@")
		if !found {
			host = authority
		}
		if strings.ContainsAny(host, "[]") {
			address, port, closed := strings.Cut(strings.TrimPrefix(host, "["), "]")
			if !closed || host[0] != '[' || address == "" || strings.ContainsAny(address+port, "[]") {
				return false
			}
		}
	}
	return !strings.Contains(fragment, "#") && !strings.ContainsAny(strings.SplitN(rest, "?", 2)[0], "[]")
}

// splitScheme cuts at the first colon, if it comes before anything else that divides.
func splitScheme(s string) (scheme, rest string) {
	if i := strings.IndexAny(s, ":/?#"); i >= 0 && s[i] == ':' {
		return s[:i], s[i+1:]
	}
	return "", s
}

func schemeName(s string) bool {
	for i, c := range []byte(s) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return true
}

// archive guesses from the name whether a URI is to be unpacked, as Mesos's fetcher does
// and Marathon asks it to for "uris".
func archive(uri string) bool {
	if !validURI(uri) {
		return false
	}
	_, rest := splitScheme(uri)
	rest, _, _ = strings.Cut(rest, "#")
	rest, _, _ = strings.Cut(rest, "?")
	if authority, ok := strings.CutPrefix(rest, "//"); ok {
		_, rest, _ = strings.Cut(authority, "/")
	}
	switch path.Ext(rest) {
	case ".tar", ".gz", ".tgz", ".tbz2", ".txz", ".zip":
		return true
	case ".bz2", ".xz":
		return path.Ext(strings.TrimSuffix(rest, path.Ext(rest))) == ".tar"
	}
	return false
}

// inSandbox and taskOutput say of a destPath what an agent's fetcher will.
func inSandbox(name string) bool {
	clean := path.Clean(name)
	return !path.IsAbs(name) && !strings.HasSuffix(name, "/") && !strings.ContainsRune(name, 0) &&
		clean != "." && clean != ".." && !strings.HasPrefix(clean, "../")
}

func taskOutput(name string) bool {
	name, _, _ = strings.Cut(path.Clean(name), ".")
	return name == "stdout" || name == "stderr"
}
