package memory_test

import (
	"testing"

	"github.com/stoa-kernel/stoa/store"
	"github.com/stoa-kernel/stoa/store/memory"
	"github.com/stoa-kernel/stoa/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) func() store.Store { return memory.NewSpace().Open })
}
