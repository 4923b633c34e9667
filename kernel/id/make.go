package id

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
)

// NewFramework is the id of the n-th framework that the master with that id admits:
// "<master>-0000" for the first.
func NewFramework(master string, n uint64) Framework {
	return Framework(fmt.Sprintf("%s-%04d", master, n))
}

// NewAgent is the id of the n-th agent: "<master>-S0" for the first.
func NewAgent(master string, n uint64) Agent {
	return Agent(master + "-S" + strconv.FormatUint(n, 10))
}

// NewOffer is the id of the n-th offer: "<master>-O0" for the first.
func NewOffer(master string, n uint64) Offer {
	return Offer(master + "-O" + strconv.FormatUint(n, 10))
}

// UUID is the 16 bytes the wire has for status updates and operations. The zero value
// is none.
type UUID [16]byte

// NewUUID is a random UUID (version 4). It is unique, not secret.
func NewUUID(r *rand.Rand) UUID {
	var u UUID
	for i := range 2 {
		v := r.Uint64()
		for j := range 8 {
			u[8*i+j] = byte(v >> (8 * j))
		}
	}
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

// UUIDFrom reads the 16 bytes of the wire.
func UUIDFrom(b []byte) (UUID, error) {
	if len(b) != len(UUID{}) {
		return UUID{}, fmt.Errorf("a uuid has 16 bytes, not %d", len(b))
	}
	return UUID(b), nil
}

// ParseUUID reads the text form, 8-4-4-4-12 hexadecimal digits.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, errors.New("a uuid has the form 8-4-4-4-12 of hexadecimal digits")
	}
	digits := s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	if _, err := hex.Decode(u[:], []byte(digits)); err != nil {
		return UUID{}, errors.New("a uuid has only hexadecimal digits and dashes")
	}
	return u, nil
}

// String is the text form, lower case.
func (u UUID) String() string {
	var b [36]byte
	at := 0
	for i, n := range [...]int{4, 2, 2, 2, 6} {
		if i > 0 {
			b[at] = '-'
			at++
		}
		hex.Encode(b[at:], u[(at-i)/2:(at-i)/2+n])
		at += 2 * n
	}
	return string(b[:])
}

// Bytes is a copy, as the wire wants it.
func (u UUID) Bytes() []byte { return append([]byte(nil), u[:]...) }

// Zero reports whether it is none.
func (u UUID) Zero() bool { return u == UUID{} }
