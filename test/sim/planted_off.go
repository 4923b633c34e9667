//go:build !planted

package main

// plant switches a planted bug on; this build has none.
func plant(string) bool { return false }
