//go:build planted

package main

import "github.com/stoa-kernel/stoa/internal/planted"

// plant switches a planted bug on.
func plant(name string) bool {
	planted.Active = name
	return true
}
