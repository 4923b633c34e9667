package marathon

import (
	"encoding/json"
	"fmt"
)

// MarshalJSON writes a string or {"secret": name}.
func (v EnvValue) MarshalJSON() ([]byte, error) {
	if v.Secret != "" {
		return json.Marshal(map[string]string{"secret": v.Secret})
	}
	return json.Marshal(v.Value)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (v *EnvValue) UnmarshalJSON(data []byte) error {
	*v = EnvValue{}
	if len(data) > 0 && data[0] == '{' {
		var s struct {
			Secret string `json:"secret"`
		}
		err := json.Unmarshal(data, &s)
		v.Secret = s.Secret
		return err
	}
	return json.Unmarshal(data, &v.Value)
}

// MarshalJSON writes a number or "unlimited".
func (l Limit) MarshalJSON() ([]byte, error) {
	if l.Unlimited {
		return []byte(`"unlimited"`), nil
	}
	return json.Marshal(l.Value)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (l *Limit) UnmarshalJSON(data []byte) error {
	*l = Limit{}
	if string(data) == `"unlimited"` {
		l.Unlimited = true
		return nil
	}
	return json.Unmarshal(data, &l.Value)
}

type unreachable struct {
	InactiveAfterSeconds int64 `json:"inactiveAfterSeconds"`
	ExpungeAfterSeconds  int64 `json:"expungeAfterSeconds"`
}

// MarshalJSON writes an object or "disabled".
func (u UnreachableStrategy) MarshalJSON() ([]byte, error) {
	if u.Disabled {
		return []byte(`"disabled"`), nil
	}
	return json.Marshal(unreachable{u.InactiveAfterSeconds, u.ExpungeAfterSeconds})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (u *UnreachableStrategy) UnmarshalJSON(data []byte) error {
	*u = UnreachableStrategy{}
	if len(data) > 0 && data[0] == '"' {
		if string(data) != `"disabled"` {
			return fmt.Errorf(`%s is neither an object nor "disabled"`, data)
		}
		u.Disabled = true
		return nil
	}
	var o unreachable
	err := json.Unmarshal(data, &o)
	u.InactiveAfterSeconds, u.ExpungeAfterSeconds = o.InactiveAfterSeconds, o.ExpungeAfterSeconds
	return err
}
