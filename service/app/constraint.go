package app

import (
	"regexp"
	"strconv"
)

// operators of constraints; the order of the message is Marathon's.
var operators = map[string]bool{
	"UNIQUE": true, "CLUSTER": true, "GROUP_BY": true, "LIKE": true, "UNLIKE": true, "MAX_PER": true, "IS": true,
}

// maxConstraints of an app: each is asked about every agent and every offer.
const maxConstraints = 100

var literalPattern = regexp.MustCompile(`^[a-zA-Z0-9_/.-]*$`)

// constraint is [field, operator] or [field, operator, value]. GROUP_BY may stand without
// a value; regular expressions are Go's, which have no look-around and no back references.
func (v *verdict) constraint(path string, c []string) {
	if len(c) < 2 || len(c) > 3 {
		v.add(path, "Each constraint must have either 2 or 3 fields")
		return
	}
	if c[0] == "" {
		v.add(path, "illegal constraint specification")
		return
	}
	for _, part := range c {
		if v.long(path, part) {
			return
		}
	}
	value, given := "", len(c) == 3
	if given {
		value = c[2]
	}
	_, err := strconv.ParseInt(value, 10, 32)
	switch c[1] {
	case "UNIQUE":
		v.when(given, path, "UNIQUE does not accept a value")
	case "CLUSTER":
	case "GROUP_BY":
		v.when(given && err != nil, path, "GROUP BY must define an integer value or else no value at all")
	case "MAX_PER":
		v.when(err != nil, path, "MAX_PER requires an integer value")
	case "LIKE", "UNLIKE":
		v.when(!given, path, "LIKE and UNLIKE require a non-empty, regular expression value")
		if problem := v.regexp(value, "is not a valid regular expression"); problem != "" {
			v.add(path, problem)
		}
	case "IS":
		v.when(!literalPattern.MatchString(value), path, "IS only supports Mesos text and float values "+
			"(see http://mesos.apache.org/documentation/latest/attributes-resources/)")
	default:
		v.add(path, "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS")
	}
}
