//go:build planted

// Package planted switches known bugs on, to prove that the simulator finds them.
package planted

// Active is the bug that is switched on, "" for none. Set it before anything runs.
var Active string

// Bug reports whether the bug of this name is switched on.
func Bug(name string) bool { return name == Active }
