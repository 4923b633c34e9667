package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// terminal returns the width of w if it is a terminal, else 0.
func terminal(w any) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	if size.Col == 0 {
		return 80
	}
	return int(size.Col)
}

// paint colours text for a terminal, and nothing else (NO_COLOR, https://no-color.org).
type paint bool

func painter(w io.Writer) paint {
	return paint(terminal(w) > 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb")
}

const (
	red    = "31"
	green  = "32"
	yellow = "33"
	faint  = "2"
)

func (p paint) in(colour, text string) string {
	if !p {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// screen shows progress: on a terminal the lines that may still change stand below those
// that will not and are drawn anew, elsewhere each is written when it has changed.
type screen struct {
	w     io.Writer
	width int
	drawn int
	shown map[string]string
}

func newScreen(w io.Writer) *screen {
	width := terminal(w)
	if os.Getenv("TERM") == "dumb" {
		width = 0
	}
	return &screen{w: w, width: width, shown: map[string]string{}}
}

// line that will not change any more.
func (s *screen) line(format string, args ...any) {
	s.erase()
	fmt.Fprintf(s.w, format+"\n", args...)
}

// progress is a line that may still change; keys tell them apart.
type progress struct{ key, text, clock string }

// maxProgress bounds how many lines may change at a time.
const maxProgress = 12

func (s *screen) draw(lines []progress) {
	more := len(lines) - maxProgress
	lines = lines[:min(len(lines), maxProgress)]
	if s.width == 0 {
		for _, l := range lines {
			if s.shown[l.key] != l.text {
				s.shown[l.key] = l.text
				fmt.Fprintln(s.w, l.text)
			}
		}
		return
	}
	s.erase()
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(cut(l.text+"  "+l.clock, s.width-1) + "\n")
	}
	if more > 0 {
		fmt.Fprintf(&b, "    and %d more\n", more)
		s.drawn++
	}
	s.drawn += len(lines)
	_, _ = io.WriteString(s.w, b.String()) // a terminal that is gone ends the program by SIGHUP
}

// erase takes away the lines that may change.
func (s *screen) erase() {
	if s.drawn > 0 {
		fmt.Fprintf(s.w, "\x1b[%dA\x1b[J", s.drawn)
		s.drawn = 0
	}
}

func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:max(width-1, 0)]) + "…"
}

// asks reports whether there is somebody to ask before something is lost.
func (s *session) asks() bool { return terminal(s.in) > 0 && terminal(s.err) > 0 }

// confirm asks.
func (s *session) confirm(format string, args ...any) error {
	fmt.Fprintf(s.err, format+" [y/N] ", args...)
	answer, err := bufio.NewReader(s.in).ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return &Error{What: "nothing was done", Try: "-y says yes beforehand"}
	}
	return nil
}
