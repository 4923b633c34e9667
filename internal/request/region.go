package request

import (
	"errors"

	"golang.org/x/sys/unix"
)

// region is memory outside of the heap. A large body lives in one: it is gone when the body
// is, where the collector would leave several of them behind before it looks, and it grows
// without leaving its halves.
type region []byte

// grow makes a region that is empty or shorter size bytes long. What is in it stays, and
// moves: slices of it are void. Only pages that are written to cost memory.
func (r *region) grow(size int) error {
	var next []byte
	var err error
	if *r == nil {
		next, err = unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	} else {
		next, err = unix.Mremap(*r, size, unix.MREMAP_MAYMOVE)
	}
	if err != nil {
		return err
	}
	*r = next
	// Huge pages would be paid for whole where a byte is written. Kernels without them refuse.
	if err := unix.Madvise(next, unix.MADV_NOHUGEPAGE); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}

// free gives the memory back; slices of it are void.
func (r *region) free() {
	if *r != nil {
		_ = unix.Munmap(*r) // fails only for what is no region
		*r = nil
	}
}
