//go:build !planted

// Package planted switches known bugs on, to prove that the simulator finds them. In
// every ordinary build Bug is false and costs nothing: the compiler removes what it
// guards.
package planted

// Bug reports whether the bug of this name is switched on.
func Bug(string) bool { return false }
