// Package recordio frames the records of Mesos's streaming responses: the length of each
// in decimal, a newline, and its bytes; nothing between two records (Mesos 1.11,
// docs/recordio.md).
package recordio

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// DefaultLimit is the size of the largest record a Reader takes if it is not told
// otherwise, in bytes. An OFFERS event of 500 offers has about 1 MB.
const DefaultLimit = 64 << 20

// maxHeader is the number of digits of the greatest length there can be.
const maxHeader = 19

// Errors of a Reader, wrapped with what was found. They are final: where the next record
// begins is not known any more.
var (
	ErrLength = errors.New("recordio: a record must begin with its length in decimal and a newline")
	ErrLimit  = errors.New("recordio: the record is longer than allowed")
)

// Append appends record with its frame to b and returns the longer slice.
func Append(b, record []byte) []byte {
	return append(AppendHeader(b, len(record)), record...)
}

// AppendHeader appends what precedes a record of n bytes.
func AppendHeader(b []byte, n int) []byte {
	return append(strconv.AppendInt(b, int64(n), 10), '\n')
}

// Writer frames records on a stream. It is for one goroutine at a time.
type Writer struct {
	w   io.Writer
	buf []byte
}

// NewWriter returns a Writer on w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write sends one record, header and bytes in a single Write of the stream below, so that
// an unbuffered HTTP response makes one chunk of it.
func (w *Writer) Write(record []byte) error {
	w.buf = Append(w.buf[:0], record)
	if _, err := w.w.Write(w.buf); err != nil {
		return err
	}
	if cap(w.buf) > 1<<20 {
		w.buf = nil // one huge record must not be paid for until the stream ends
	}
	return nil
}

// Reader takes the records out of a stream. It is for one goroutine at a time.
type Reader struct {
	r     *bufio.Reader
	limit int
	buf   []byte
	err   error
}

// NewReader returns a Reader on r that refuses records of more than limit bytes; limit 0
// means DefaultLimit.
func NewReader(r io.Reader, limit int) *Reader {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return &Reader{r: bufio.NewReader(r), limit: limit}
}

// Read returns the next record, which is good until the next call. At the end of the
// stream it returns io.EOF between two records and io.ErrUnexpectedEOF inside one. Memory
// is taken as bytes arrive, not as the length promises.
func (r *Reader) Read() ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	record, err := r.read()
	if err != nil {
		r.err = err
		return nil, err
	}
	return record, nil
}

func (r *Reader) read() ([]byte, error) {
	n, err := r.header()
	if err != nil {
		return nil, err
	}
	if n > r.limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrLimit, n, r.limit)
	}
	const step = 64 << 10
	if cap(r.buf) > 1<<20 && n <= step {
		r.buf = nil
	}
	r.buf = r.buf[:0]
	for len(r.buf) < n {
		have := len(r.buf)
		if have == cap(r.buf) {
			// Double, starting at step: an announced length costs its sender bytes.
			grown := make([]byte, have, min(n, max(2*have, step)))
			copy(grown, r.buf)
			r.buf = grown
		}
		r.buf = r.buf[:min(n, cap(r.buf))]
		got, err := io.ReadFull(r.r, r.buf[have:])
		if err != nil {
			r.buf = r.buf[:have+got]
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return r.buf, nil
}

func (r *Reader) header() (int, error) {
	n := 0
	for digits := 0; ; digits++ {
		c, err := r.r.ReadByte()
		switch {
		case err == io.EOF && digits > 0:
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		case c == '\n' && digits > 0:
			return n, nil
		case c < '0' || c > '9':
			return 0, fmt.Errorf("%w; found byte %q", ErrLength, c)
		case digits == maxHeader-1:
			return 0, fmt.Errorf("%w; found %d digits or more", ErrLength, maxHeader)
		}
		n = n*10 + int(c-'0')
	}
}
