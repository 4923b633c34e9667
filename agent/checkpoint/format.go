package checkpoint

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// Version is the format this package writes. It reads every version up to it.
const Version = 1

// MaxRecord is the largest encoded record, in bytes. The link's frames are smaller.
const MaxRecord = 32 << 20

const (
	headerSize = 64
	frameSize  = 24
	align      = 8
)

var (
	magic      = [8]byte{'S', 'T', 'O', 'A', 'L', 'O', 'G', '\n'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// header is the first 64 bytes of every file, in every version:
//
//	0 magic(8) | 8 version(4) | 12 zero(4) | 16 generation(8) | 24 salt(8) |
//	32 base(8) | 40 zero(20) | 60 CRC32C of the 60 bytes before(4)
//
// Numbers are little-endian. base is the end of the snapshot: everything before it was
// on disk when the file got its name.
type header struct {
	version    uint32
	generation uint64
	salt       uint64
	base       uint64
}

func (h header) append(b []byte) []byte {
	at := len(b)
	b = append(b, magic[:]...)
	b = le.AppendUint32(b, h.version)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, h.generation)
	b = le.AppendUint64(b, h.salt)
	b = le.AppendUint64(b, h.base)
	b = append(b, make([]byte, 20)...)
	return le.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

func parseHeader(b []byte) (header, error) {
	if len(b) < headerSize || [8]byte(b[:8]) != magic {
		return header{}, fmt.Errorf("offset 0: not a log of a Stoa agent")
	}
	if crc32.Checksum(b[:60], castagnoli) != le.Uint32(b[60:]) {
		return header{}, fmt.Errorf("offset 0: the header is damaged")
	}
	h := header{le.Uint32(b[8:]), le.Uint64(b[16:]), le.Uint64(b[24:]), le.Uint64(b[32:])}
	if h.version > Version {
		return header{}, fmt.Errorf("written in format %d, this version of Stoa reads up to %d: start the version that wrote it, or a newer one", h.version, Version)
	}
	if h.base < headerSize || h.base > uint64(len(b)) || h.base%align != 0 {
		return header{}, fmt.Errorf("offset 0: the snapshot ends at %d, the file at %d", h.base, len(b))
	}
	return h, nil
}

// frame precedes every record:
//
//	0 length(4) | 4 CRC32C of the record(4) | 8 durable(8) | 16 zero(4) |
//	20 CRC32C of salt, offset and the 20 bytes before(4)
//
// durable is an offset: the bytes before it were on disk when the record was written.
// It is what tells a torn tail from a damaged log: where a later frame says that a bad
// record had been on disk, it was damaged since. Salt and offset make sure that a frame
// is believed only where it was written, whatever bytes tasks bring into records.
type frame struct {
	length  uint32
	crc     uint32
	durable uint64
}

func frameSum(b []byte, salt, offset uint64) uint32 {
	var place [16]byte
	le.PutUint64(place[:], salt)
	le.PutUint64(place[8:], offset)
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, b[:20])
}

// appendRecord appends frame, record and padding; offset is where in the file they go.
func appendRecord(b, record []byte, salt, offset, durable uint64) []byte {
	at := len(b)
	b = le.AppendUint32(b, uint32(len(record)))
	b = le.AppendUint32(b, crc32.Checksum(record, castagnoli))
	b = le.AppendUint64(b, durable)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, frameSum(b[at:], salt, offset))
	b = append(b, record...)
	for (len(b)-at)%align != 0 {
		b = append(b, 0)
	}
	return b
}

// recordSize is what a record of n bytes takes in the file.
func recordSize(n int) int64 {
	return (frameSize + int64(n) + align - 1) / align * align
}

func parseFrame(b []byte, salt, offset uint64) (frame, bool) {
	if len(b) < frameSize || frameSum(b, salt, offset) != le.Uint32(b[20:]) {
		return frame{}, false
	}
	f := frame{le.Uint32(b), le.Uint32(b[4:]), le.Uint64(b[8:])}
	return f, f.length != 0 && f.length <= MaxRecord && le.Uint32(b[16:]) == 0
}

// scan finds the records of a file. end is where the next one goes; what is beyond it
// was written but never synced.
func scan(b []byte, h header) (records [][]byte, end int64, err error) {
	off := uint64(headerSize)
	for {
		f, ok := parseFrame(b[off:], h.salt, off)
		if ok {
			rest := b[off+frameSize:]
			ok = uint64(f.length) <= uint64(len(rest)) && crc32.Checksum(rest[:f.length], castagnoli) == f.crc
		}
		if !ok {
			break
		}
		records = append(records, b[off+frameSize:][:f.length:f.length])
		off += uint64(recordSize(int(f.length)))
		if off > uint64(len(b)) {
			// The padding was cut with the file; the record is whole.
			return records, int64(off), nil
		}
	}
	if witness := durableAfter(b, h, off); witness > off {
		return nil, 0, fmt.Errorf("offset %d: a record that had reached the disk (the log up to %d had) is damaged", off, witness)
	}
	return records, int64(off), nil
}

// durableAfter is the greatest offset that the file knows to have been durable, from
// its header and the frames behind off.
func durableAfter(b []byte, h header, off uint64) uint64 {
	durable := h.base
	for ; off+frameSize <= uint64(len(b)); off += align {
		if le.Uint32(b[off:]) == 0 {
			continue
		}
		if f, ok := parseFrame(b[off:], h.salt, off); ok && f.durable <= off && f.durable < math.MaxInt64 {
			durable = max(durable, f.durable)
		}
	}
	return durable
}
