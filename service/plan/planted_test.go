//go:build planted

package plan

import (
	"testing"

	"github.com/stoa-kernel/stoa/internal/planted"
)

// TestPlanted is run by TestPlantedBugIsFound.
func TestPlanted(t *testing.T) {
	planted.Active = "reverse stop order lost"
	defer func() { planted.Active = "" }()
	for seed := range uint64(150) {
		if _, wrong := walk(seed, t); wrong != nil {
			t.Logf("seed %d: %v", seed, wrong)
			return
		}
	}
	t.Error("not found")
}
