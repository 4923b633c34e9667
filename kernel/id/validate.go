package id

import (
	"errors"
	"fmt"
)

// MaxLen is the longest id a framework may make, in bytes: ids become names of
// directories.
const MaxLen = 255

// Validate says what is wrong with an id that a framework made (task, executor,
// operation, persistence; as Mesos, common/validation.cpp): it must be 1 to 255 bytes,
// neither "." nor "..", without control characters, slash or backslash.
func Validate(s string) error {
	switch {
	case s == "":
		return errors.New("an id cannot be empty")
	case len(s) > MaxLen:
		return fmt.Errorf("an id of %d bytes is too long: at most %d", len(s), MaxLen)
	case s == ".", s == "..":
		return fmt.Errorf("an id cannot be %q", s)
	}
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == 0x7f || c == '/' || c == '\\' {
			return fmt.Errorf("id %q has the character %q in it: control characters, / and \\ are not allowed", s, c)
		}
	}
	return nil
}
