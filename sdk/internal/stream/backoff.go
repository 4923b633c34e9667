package stream

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff spaces attempts: the n-th wait is random between half and all of
// min(Max, Min·2ⁿ), so that a fleet does not come back in step.
type Backoff struct {
	Min, Max time.Duration
	n        int
}

// Next is how long to wait before the next attempt.
func (b *Backoff) Next() time.Duration {
	d := b.Max
	if b.n < 30 && b.Min<<b.n < b.Max {
		d = b.Min << b.n
		b.n++
	}
	return d/2 + rand.N(d/2+1)
}

// Reset begins again with Min, after a success.
func (b *Backoff) Reset() { b.n = 0 }

// Sleep waits for d or the end of ctx, and returns the cause of the latter.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
