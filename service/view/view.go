// Package view is what readers see: the core's Changed effects reduced to pages that
// never change, so that a reader of 10,000 apps holds nobody up.
package view

import "github.com/stoa-kernel/stoa/service/state"

// View is safe for concurrent use; Apply is called by the loop only.
type View struct{ view }

// New makes an empty one.
func New() *View { panic("contract") }

// Apply takes a Changed effect; others are ignored.
func (v *View) Apply(e state.Effect) { panic("contract") }

type view struct{}
