package instance

// Value is what constraints compare: the agent's host for "hostname" or "@hostname", its
// "@region" or "@zone", else the attribute of that name. ok is false if it has none; nil
// has nothing.
func (a *Agent) Value(field string) (value string, ok bool) {
	if a == nil {
		return "", false
	}
	switch field {
	case "hostname", "@hostname":
		return a.Host, true
	case "@region":
		return a.Region, a.Region != ""
	case "@zone":
		return a.Zone, a.Zone != ""
	}
	value, ok = a.Attributes[field]
	return value, ok
}
