package mailbox

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestSubmitWaitsForRoomAndPostDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New[int](2)
		ctx := t.Context()
		for i := range 2 {
			if err := m.Submit(ctx, i); err != nil {
				t.Fatal(err)
			}
		}
		m.Post(2)
		blocked := make(chan error, 1)
		go func() { blocked <- m.Submit(ctx, 3) }()
		synctest.Wait()
		select {
		case err := <-blocked:
			t.Fatalf("a third submission found room: %v", err)
		default:
		}
		<-m.Wake
		if in, more := m.Take(1); fmt.Sprint(in, more) != "[0] true" {
			t.Errorf("took %v, more %v", in, more)
		}
		if err := <-blocked; err != nil {
			t.Errorf("with room again: %v", err)
		}
		if in, more := m.Take(10); fmt.Sprint(in, more) != "[1 2 3] false" {
			t.Errorf("took %v, more %v", in, more)
		}
	})
}

func TestSubmitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New[int](1)
		m.Submit(t.Context(), 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := m.Submit(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after its deadline: %v", err)
		}
		go func() {
			<-time.After(time.Second)
			m.Close()
		}()
		if err := m.Submit(t.Context(), 2); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
		m.Post(3)
		m.Close()
		if in, more := m.Take(10); len(in) != 0 || more {
			t.Errorf("%v left after the end", in)
		}
	})
}
