package match

import (
	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
)

// Allows reports whether app could run on a host as far as the host itself is concerned:
// by the constraints that do not depend on where other instances are.
func Allows(app *marathon.App, host *instance.Agent) bool {
	for _, r := range newShape(app).rules {
		if r.counts() {
			if _, ok := host.Value(r.field); !ok {
				return false
			}
			continue
		}
		if !r.allows(host, &noTally) {
			return false
		}
	}
	return true
}
