package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/frame"
	"google.golang.org/protobuf/proto"
)

func pong(seq uint64) *stoapb.ToMaster {
	return &stoapb.ToMaster{Body: &stoapb.ToMaster_Pong{Pong: &stoapb.Pong{Seq: proto.Uint64(seq)}}}
}

func message(n int) *stoapb.ToMaster {
	return &stoapb.ToMaster{Body: &stoapb.ToMaster_ExecutorMessage{ExecutorMessage: &stoapb.ExecutorMessage{Data: make([]byte, n)}}}
}

func TestRoundTrip(t *testing.T) {
	var stream bytes.Buffer
	w := frame.NewWriter(&stream)
	sent := []*stoapb.ToMaster{pong(1), message(0), message(100_000), {}, pong(2), message(5 << 20), pong(3)}
	for _, m := range sent {
		if err := w.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]io.Reader{
		"whole":    bytes.NewReader(stream.Bytes()),
		"halves":   iotest.HalfReader(bytes.NewReader(stream.Bytes())),
		"one byte": iotest.OneByteReader(bytes.NewReader(stream.Bytes())),
	} {
		r := frame.NewReader(in)
		for i, want := range sent {
			var got stoapb.ToMaster
			if err := r.Read(&got); err != nil {
				t.Fatalf("%s: frame %d: %v", name, i, err)
			}
			if !proto.Equal(&got, want) {
				t.Fatalf("%s: frame %d differs", name, i)
			}
		}
		if err := r.Read(&stoapb.ToMaster{}); err != io.EOF {
			t.Errorf("%s: after the last frame: %v, want EOF", name, err)
		}
	}
}

func TestTruncated(t *testing.T) {
	var stream bytes.Buffer
	w := frame.NewWriter(&stream)
	if err := errors.Join(w.Write(message(200)), w.Flush()); err != nil {
		t.Fatal(err)
	}
	for n := 1; n < stream.Len(); n++ {
		err := frame.NewReader(bytes.NewReader(stream.Bytes()[:n])).Read(&stoapb.ToMaster{})
		if err != io.ErrUnexpectedEOF {
			t.Fatalf("cut at %d: %v, want unexpected EOF", n, err)
		}
	}
}

func TestTooLong(t *testing.T) {
	var stream bytes.Buffer
	w := frame.NewWriter(&stream)
	if err := w.Write(message(frame.Max + 1)); !errors.Is(err, frame.ErrTooLong) {
		t.Errorf("write: %v", err)
	}
	if err := w.Flush(); err != nil || stream.Len() != 0 {
		t.Errorf("%d bytes of a refused frame written, %v", stream.Len(), err)
	}
	in := binary.BigEndian.AppendUint32(nil, frame.Max+1)
	if err := frame.NewReader(bytes.NewReader(in)).Read(&stoapb.ToMaster{}); !errors.Is(err, frame.ErrTooLong) {
		t.Errorf("read: %v", err)
	}
}

// A claimed length must not cost memory before the bytes are there.
func TestClaimedLengthCostsNothing(t *testing.T) {
	in := append(binary.BigEndian.AppendUint32(nil, frame.Max), 1, 2, 3)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 20 {
		if err := frame.NewReader(bytes.NewReader(in)).Read(&stoapb.ToMaster{}); err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 8<<20 {
		t.Errorf("20 forged lengths allocated %d bytes", got)
	}
}

func FuzzRead(f *testing.F) {
	var stream bytes.Buffer
	w := frame.NewWriter(&stream)
	if err := errors.Join(w.Write(pong(7)), w.Write(message(10)), w.Flush()); err != nil {
		f.Fatal(err)
	}
	f.Add(stream.Bytes())
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 2, 0x0a, 0x05})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := frame.NewReader(bytes.NewReader(in))
		var out bytes.Buffer
		w := frame.NewWriter(&out)
		var got []*stoapb.ToMaster
		for {
			var m stoapb.ToMaster
			if r.Read(&m) != nil {
				break
			}
			got = append(got, &m)
			if err := w.Write(&m); err != nil {
				t.Fatalf("a message that was read cannot be written: %v", err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		again := frame.NewReader(&out)
		for i := range got {
			var m stoapb.ToMaster
			if err := again.Read(&m); err != nil || !proto.Equal(&m, got[i]) {
				t.Fatalf("frame %d does not survive: %v", i, err)
			}
		}
	})
}
