package selector

import (
	"errors"
	"strings"
	"testing"
)

func TestMatches(t *testing.T) {
	labels := map[string]string{"foo": "one", "a b": "(", "in": "x"}
	for text, want := range map[string]bool{
		"":                                   true,
		"  ":                                 true,
		"foo":                                true,
		"bar":                                false,
		"foo==one":                           true,
		" foo == one ":                       true,
		"foo==two":                           false,
		"foo!=two":                           true,
		"foo != one":                         false,
		"bar!=two":                           false, // only apps that have the key
		"foo in (one, two)":                  true,
		"foo in(two)":                        false,
		"foo in ()":                          false,
		"foo notin (two,three)":              true,
		"foo notin (one)":                    false,
		"bar notin (one)":                    false,
		"foo,bar":                            false,
		"foo, in, foo in (one), foo != two":  true,
		`a\ b == \(`:                         true,
		`a\ b in (\), \()`:                   true,
		"in in (x)":                          true,
		"foo==one,foo notin(two, three) ,in": true,
	} {
		s, err := Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got := s.Matches(labels); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"foo == ":    "Can not parse label selector foo == . Reason: at position 8 expected a value, found the end",
		"foo in one": "Can not parse label selector foo in one. Reason: at position 8 expected '(', found 'o'",
		"foo in (a":  "Can not parse label selector foo in (a. Reason: at position 10 expected ',' or ')', found the end",
		"foo,":       "Can not parse label selector foo,. Reason: at position 5 expected a label's name, found the end",
		"=x":         "Can not parse label selector =x. Reason: at position 1 expected a label's name, found '='",
		"foo = x":    "Can not parse label selector foo = x. Reason: at position 5 expected ',' or an operator (==, !=, in, notin), found '='",
		`foo\`:       `Can not parse label selector foo\. Reason: at position 5 expected a character after the backslash, found the end`,
		"föö":        "Can not parse label selector föö. Reason: at position 2 expected ',' or an operator (==, !=, in, notin), found 'ö'",
	} {
		_, err := Parse(text)
		var e *Error
		if !errors.As(err, &e) || err.Error() != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"foo", `a\ b == \(`, "a in (b, c), d notin ()", "foo = x", `\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.At > len(text) || e.Error() == "") {
			t.Fatalf("%q: %v", text, err)
		}
		s.Matches(map[string]string{"foo": "x"})
	})
}

func TestLengthIsBounded(t *testing.T) {
	long := strings.Repeat("a", maxLength)
	if _, err := Parse(long); err != nil {
		t.Errorf("%d bytes: %v", len(long), err)
	}
	if _, err := Parse(long + "a"); err == nil || len(err.Error()) > 200 {
		t.Errorf("one more: %v", err)
	}
}
