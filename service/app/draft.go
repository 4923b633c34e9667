package app

import "github.com/stoa-kernel/stoa/api/marathon"

// draft is what a document sets, in canonical form.
type draft struct{}

// build makes a whole definition of the draft alone, with every default filled in. id is
// absolute. The violations are those that only the document shows; validate finds the rest.
func (d *Draft) build(id string, o Options) (*marathon.App, []marathon.Violation) {
	panic("contract")
}

// merge makes the definition that an update turns old into: what the draft leaves out
// keeps its value, lists and maps are replaced. old is not changed.
func (d *Draft) merge(old *marathon.App, o Options) (*marathon.App, []marathon.Violation) {
	panic("contract")
}

// validate checks every rule on one definition. Rules between apps are the tree's.
func validate(a *marathon.App, o Options) []marathon.Violation { panic("contract") }

// sameConfig reports whether a and b differ at most in instances and versions.
func sameConfig(a, b *marathon.App) bool { panic("contract") }

// needsRestart reports whether going from a to b changes how instances run, so that even
// with restart=if-needed they have to be replaced.
func needsRestart(a, b *marathon.App) bool { panic("contract") }
