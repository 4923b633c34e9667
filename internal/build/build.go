// Package build says which Stoa this is.
package build

import (
	"runtime/debug"
	"time"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// Version is the release this tree becomes.
const Version = "0.1.0"

// Mesos is the version of Mesos whose APIs are spoken, as tools compare it.
const Mesos = "1.11.0"

// recorded is what the build noted of where it came from; zero values for what it did not.
func recorded() (commit string, at time.Time) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", time.Time{}
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.time":
			at, _ = time.Parse(time.RFC3339, s.Value) // absent is as good as unreadable
		}
	}
	return commit, at
}

// Commit is the commit built from, empty when the build did not record it.
func Commit() string {
	commit, _ := recorded()
	return commit
}

// Info is what /version and GET_VERSION tell of a process that speaks the API of version.
// BuildTime, in seconds, and BuildDate are the commit's; what the build did not record is
// left out.
func Info(version string) *mesos.VersionInfo {
	info := &mesos.VersionInfo{Version: &version}
	commit, at := recorded()
	if commit != "" {
		info.GitSha = &commit
	}
	if !at.IsZero() {
		info.BuildDate = proto.String(at.UTC().Format("2006-01-02 15:04:05 UTC"))
		info.BuildTime = proto.Float64(float64(at.Unix()))
	}
	return info
}
