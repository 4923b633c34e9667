// Package build says which Stoa this is.
package build

import "runtime/debug"

// Version is the release this tree becomes.
const Version = "0.1.0"

// Mesos is the version of Mesos whose APIs are spoken, as tools compare it.
const Mesos = "1.11.0"

// Commit is the commit built from, empty when the build did not record it.
func Commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}
