package recordio

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestRoundTrip(t *testing.T) {
	records := []string{"hello", "", "with\nnewline", strings.Repeat("x", 200<<10), "5\nabc"}
	var stream bytes.Buffer
	w := NewWriter(&stream)
	for _, r := range records {
		if err := w.Write([]byte(r)); err != nil {
			t.Fatal(err)
		}
	}
	for name, in := range map[string]io.Reader{
		"whole":        bytes.NewReader(stream.Bytes()),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(stream.Bytes())),
	} {
		r := NewReader(in, 0)
		for i, want := range records {
			got, err := r.Read()
			if err != nil || string(got) != want {
				t.Fatalf("%s, record %d: %.20q, %v; want %.20q", name, i, got, err, want)
			}
		}
		if _, err := r.Read(); err != io.EOF {
			t.Errorf("%s: %v at the end, want io.EOF", name, err)
		}
	}
}

func TestWriterWritesOnce(t *testing.T) {
	var writes []string
	w := NewWriter(writerFunc(func(b []byte) (int, error) {
		writes = append(writes, string(b))
		return len(b), nil
	}))
	if err := w.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	if len(writes) != 1 || writes[0] != "3\nabc" {
		t.Errorf("writes %q, want one of %q", writes, "3\nabc")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestReadErrors(t *testing.T) {
	for _, c := range []struct {
		in   string
		want error
	}{
		{"", io.EOF},
		{"3", io.ErrUnexpectedEOF},
		{"3\n", io.ErrUnexpectedEOF},
		{"3\nab", io.ErrUnexpectedEOF},
		{"\n", ErrLength},
		{"-1\na", ErrLength},
		{"+1\na", ErrLength},
		{" 1\na", ErrLength},
		{"0x1\na", ErrLength},
		{"1\r\na", ErrLength},
		{"{\"type\":1}", ErrLength},
		{"101\n" + strings.Repeat("a", 101), ErrLimit},
		{"999999999999999999\n", ErrLimit},
		{"9999999999999999999\n", ErrLength},
		{strings.Repeat("0", 1000) + "1\na", ErrLength},
	} {
		r := NewReader(strings.NewReader(c.in), 100)
		_, err := r.Read()
		if !errors.Is(err, c.want) {
			t.Errorf("%.30q: %v, want %v", c.in, err, c.want)
		}
		if _, again := r.Read(); again != err {
			t.Errorf("%.30q: a second Read answers %v, want %v again", c.in, again, err)
		}
	}
}

// A length costs nothing until its bytes are there.
func TestPromisedLengthTakesNoMemory(t *testing.T) {
	r := NewReader(strings.NewReader("67108864\nabc"), 0)
	if _, err := r.Read(); err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	if cap(r.buf) > 64<<10 {
		t.Errorf("%d bytes were taken for 3", cap(r.buf))
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("5\nhello0\n3\nabc"))
	f.Add([]byte("99999999999999999999\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(bytes.NewReader(in), 1<<16)
		var again []byte
		for {
			record, err := r.Read()
			if err != nil {
				break
			}
			again = Append(again, record)
		}
		// What was read and is framed again reads the same.
		one, two := NewReader(bytes.NewReader(in), 1<<16), NewReader(bytes.NewReader(again), 1<<16)
		for {
			b, err := two.Read()
			if err != nil {
				if err != io.EOF {
					t.Fatalf("framed again: %v", err)
				}
				return
			}
			if a, err := one.Read(); err != nil || !bytes.Equal(a, b) {
				t.Fatalf("%q, %v; framed again %q", a, err, b)
			}
		}
	})
}
