package validate

import "github.com/stoa-kernel/stoa/kernel/role"

// Role checks the form of a role's name.
func Role(name string) error { return role.Validate(name) }
