//go:build planted

package state

import (
	"testing"

	"github.com/stoa-kernel/stoa/internal/planted"
)

// TestPlanted is run by TestPlantedBugsAreFound.
func TestPlanted(t *testing.T) {
	for _, bug := range bugs {
		t.Run(bug, func(t *testing.T) {
			planted.Active = bug
			defer func() { planted.Active = "" }()
			for n := uint64(1); n <= 200; n++ {
				if w := converge(t, n); w.wrong != "" {
					t.Logf("seed %d: %s", n, w.wrong)
					return
				}
			}
			t.Error("not found in 200 seeds")
		})
	}
}
