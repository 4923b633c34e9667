package view

import (
	"sync/atomic"

	"github.com/stoa-kernel/stoa/internal/codec"
	"google.golang.org/protobuf/proto"
)

// DefaultCache is how many bytes of encodings a view keeps, in all its fragments. What
// does not fit is encoded again for each reader.
const DefaultCache = 64 << 20

// budget is how many bytes of encodings are still allowed.
type budget struct{ left atomic.Int64 }

// cache is the encodings of one fragment, made by the first reader who wants one.
type cache struct {
	spend   *budget
	size    atomic.Int32 // in protobuf, plus 1; 0 when not known
	encoded [codec.Count]atomic.Pointer[[]byte]
}

// dead marks the cache of a fragment that was replaced: nothing is put in any more, so
// that the budget stays true.
var dead = new([]byte)

// append appends the encoding of message to b.
func (k *cache) append(b []byte, c codec.Codec, message func() proto.Message) ([]byte, error) {
	if p := k.encoded[c].Load(); p != nil && p != dead {
		return append(b, *p...), nil
	}
	start := len(b)
	b, err := c.Append(b, message())
	if err != nil {
		return b, err
	}
	n := int64(len(b) - start)
	if k.spend.left.Add(-n) < 0 {
		k.spend.left.Add(n)
		return b, nil
	}
	kept := append(make([]byte, 0, n), b[start:]...)
	if !k.encoded[c].CompareAndSwap(nil, &kept) {
		k.spend.left.Add(n) // another reader was first, or the fragment is gone
	}
	return b, nil
}

// length is the number of bytes of message in protobuf.
func (k *cache) length(message func() proto.Message) int {
	if n := k.size.Load(); n > 0 {
		return int(n - 1)
	}
	n := proto.Size(message())
	k.size.Store(int32(n + 1))
	return n
}

// drop gives the bytes back; readers of an older root may go on using the fragment.
func (k *cache) drop() {
	for c := range k.encoded {
		if p := k.encoded[c].Swap(dead); p != nil && p != dead {
			k.spend.left.Add(int64(len(*p)))
		}
	}
}
