// Package frame puts protobuf messages on a byte stream and takes them off again:
// four bytes of length, most significant first, then the message. It is what the link
// between a master and an agent speaks after its HTTP upgrade (Protocol).
//
// Both ends treat the other as hostile: a frame is at most Max bytes long, and no more
// memory is taken for one than has arrived of it.
package frame

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
)

// Protocol is the name of the link in the Upgrade header.
const Protocol = "stoa-link/1"

// Path is where an agent asks its master for the upgrade, by POST.
const Path = "/stoa/v1/agent"

// Max is the longest message, in bytes, without its four bytes of length.
const Max = 16 << 20

const (
	header = 4
	// bufferSize is of the writer's buffer: a batch of small frames costs one write.
	bufferSize = 32 << 10
	// step is by how much a reader's buffer grows at a time while a frame arrives.
	step = 64 << 10
	// keep is the largest buffer held between two frames.
	keep = 256 << 10
)

// ErrTooLong says that a frame is longer than Max; the stream cannot be used after it.
var ErrTooLong = errors.New("frame longer than 16 MiB")

// Writer writes frames. It is not safe for concurrent use.
type Writer struct {
	w   *bufio.Writer
	buf []byte
}

// NewWriter returns a writer that buffers; call Flush when nothing more is at hand.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: bufio.NewWriterSize(w, bufferSize)}
}

// Write puts m into the buffer, or onto the stream as the buffer fills. A message
// longer than Max is refused with ErrTooLong before a byte of it is written.
func (w *Writer) Write(m proto.Message) error {
	return w.write(m, proto.MarshalOptions{})
}

// WriteSized is Write for a message that proto.Size was called on and that did not change
// since: it is not measured again. Neither is it searched for missing required fields, which
// the reader does.
func (w *Writer) WriteSized(m proto.Message) error {
	return w.write(m, proto.MarshalOptions{UseCachedSize: true, AllowPartial: true})
}

func (w *Writer) write(m proto.Message, options proto.MarshalOptions) error {
	b, err := options.MarshalAppend(append(w.buf[:0], 0, 0, 0, 0), m)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	if cap(b) <= keep {
		w.buf = b[:0]
	}
	n := len(b) - header
	if n > Max {
		return ErrTooLong
	}
	binary.BigEndian.PutUint32(b, uint32(n))
	_, err = w.w.Write(b)
	return err
}

// Flush writes what is buffered.
func (w *Writer) Flush() error { return w.w.Flush() }

// Reader reads frames. It is not safe for concurrent use.
type Reader struct {
	r   *bufio.Reader
	buf []byte
}

// NewReader returns a reader; it may read ahead of the frames it has returned.
func NewReader(r io.Reader) *Reader {
	if b, ok := r.(*bufio.Reader); ok {
		return &Reader{r: b}
	}
	return &Reader{r: bufio.NewReaderSize(r, bufferSize)}
}

// Read fills m with the next message; m keeps nothing of the reader's. It returns
// io.EOF if the stream ends between two frames, io.ErrUnexpectedEOF within one.
func (r *Reader) Read(m proto.Message) error {
	b, err := r.Next()
	if err != nil {
		return err
	}
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(b, m); err != nil {
		return fmt.Errorf("decode frame: %w", err)
	}
	// Unmarshal would not look for missing required fields below a oneof.
	if err := proto.CheckInitialized(m); err != nil {
		return fmt.Errorf("decode frame: %w", err)
	}
	return nil
}

// Next is Read for who decodes the message itself: the bytes hold until the next call.
func (r *Reader) Next() ([]byte, error) {
	var h [header]byte
	if _, err := io.ReadFull(r.r, h[:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(h[:])
	if length > Max {
		return nil, ErrTooLong
	}
	n := int(length)
	b := r.buf[:0]
	for len(b) < n {
		// The length is only a claim: grow by what has arrived.
		next := min(n, max(cap(b), len(b)+step))
		if next > cap(b) {
			b = append(make([]byte, 0, min(n, max(next, 2*len(b)))), b...)
		}
		part := b[len(b):min(next, cap(b))]
		if _, err := io.ReadFull(r.r, part); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		b = b[:len(b)+len(part)]
	}
	if cap(b) <= keep {
		r.buf = b
	} else {
		r.buf = nil
	}
	return b, nil
}
