//go:build planted

package deploy

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
			for seed := range uint64(200) {
				if wrong := restartSeed(seed); wrong != "" {
					t.Logf("seed %d: %s", seed, wrong)
					return
				}
			}
			t.Error("not found in 200 seeds")
		})
	}
}
