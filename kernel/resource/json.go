package resource

import (
	"encoding/json"
	"fmt"
	"strconv"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// The JSON of --resources: field names as in mesos.proto; unknown fields and nulls are
// ignored, numbers may be strings (as Mesos reads it).
type (
	jsonResource struct {
		ProviderID *jsonValue[string] `json:"provider_id"`
		Name       *string            `json:"name"`
		Type       *string            `json:"type"`
		Scalar     *jsonValue[number] `json:"scalar"`
		Ranges     *struct {
			Range []struct {
				Begin *number `json:"begin"`
				End   *number `json:"end"`
			} `json:"range"`
		} `json:"ranges"`
		Set *struct {
			Item []string `json:"item"`
		} `json:"set"`
		Role           *string `json:"role"`
		AllocationInfo *struct {
			Role *string `json:"role"`
		} `json:"allocation_info"`
		Reservation  *jsonReservation  `json:"reservation"`
		Reservations []jsonReservation `json:"reservations"`
		Disk         *jsonDisk         `json:"disk"`
		Revocable    *struct{}         `json:"revocable"`
		Shared       *struct{}         `json:"shared"`
	}
	jsonReservation struct {
		Type      *string     `json:"type"`
		Role      *string     `json:"role"`
		Principal *string     `json:"principal"`
		Labels    *jsonLabels `json:"labels"`
	}
	jsonDisk struct {
		Persistence *struct {
			ID        *string `json:"id"`
			Principal *string `json:"principal"`
		} `json:"persistence"`
		Volume *struct {
			Mode          *string `json:"mode"`
			ContainerPath *string `json:"container_path"`
			HostPath      *string `json:"host_path"`
		} `json:"volume"`
		Source *struct {
			Type     *string     `json:"type"`
			Path     *jsonRoot   `json:"path"`
			Mount    *jsonRoot   `json:"mount"`
			Vendor   *string     `json:"vendor"`
			ID       *string     `json:"id"`
			Metadata *jsonLabels `json:"metadata"`
			Profile  *string     `json:"profile"`
		} `json:"source"`
	}
	jsonRoot struct {
		Root *string `json:"root"`
	}
	jsonLabels struct {
		Labels []struct {
			Key   *string `json:"key"`
			Value *string `json:"value"`
		} `json:"labels"`
	}
	jsonValue[T any] struct {
		Value *T `json:"value"`
	}
	number string // as written, in quotes or not
)

// UnmarshalJSON takes 4, 4.5 and "4".
func (n *number) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		return json.Unmarshal(b, (*string)(n))
	}
	var v json.Number
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*n = number(v)
	return nil
}

func (n *number) float() (float64, error) {
	if n == nil {
		return 0, fmt.Errorf("a scalar has no value")
	}
	v, err := strconv.ParseFloat(string(*n), 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", string(*n))
	}
	return v, nil
}

func (n *number) uint() (uint64, error) {
	if n == nil {
		return 0, fmt.Errorf("a range has no begin or no end")
	}
	if v, err := strconv.ParseUint(string(*n), 10, 64); err == nil {
		return v, nil
	}
	// 31000.0 and 3.1e4 are whole numbers too.
	if v, err := strconv.ParseFloat(string(*n), 64); err == nil && v >= 0 && v < 1<<53 && v == float64(uint64(v)) {
		return uint64(v), nil
	}
	return 0, fmt.Errorf("%q is not a whole number of at least 0", string(*n))
}

func parseJSON(text, defaultRole string) ([]*mesos.Resource, error) {
	var in []*jsonResource
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return nil, fmt.Errorf("resources: not a JSON array of Resource: %w", err)
	}
	all := make([]*mesos.Resource, 0, len(in))
	for i, j := range in {
		if j == nil {
			return nil, fmt.Errorf("resources: entry %d is null", i)
		}
		p, err := j.proto()
		if err != nil {
			return nil, fmt.Errorf("resource %s: %w", nameOf(p), err)
		}
		if p.Role == nil && len(p.Reservations) == 0 {
			p.Role = &defaultRole
		}
		all = append(all, p)
	}
	return all, nil
}

func (j *jsonResource) proto() (*mesos.Resource, error) {
	p := &mesos.Resource{Name: j.Name, Role: j.Role}
	if j.Type != nil {
		t, ok := mesos.Value_Type_value[*j.Type]
		if !ok {
			return p, fmt.Errorf("type %q is not supported: give SCALAR, RANGES or SET", *j.Type)
		}
		p.Type = mesos.Value_Type(t).Enum()
	}
	if j.Scalar != nil {
		v, err := j.Scalar.Value.float()
		if err != nil {
			return p, err
		}
		p.Scalar = &mesos.Value_Scalar{Value: &v}
	}
	if j.Ranges != nil {
		p.Ranges = &mesos.Value_Ranges{}
		for _, one := range j.Ranges.Range {
			b, err := one.Begin.uint()
			if err != nil {
				return p, err
			}
			e, err := one.End.uint()
			if err != nil {
				return p, err
			}
			p.Ranges.Range = append(p.Ranges.Range, &mesos.Value_Range{Begin: &b, End: &e})
		}
	}
	if j.Set != nil {
		p.Set = &mesos.Value_Set{Item: j.Set.Item}
	}
	if j.ProviderID != nil {
		p.ProviderId = &mesos.ResourceProviderID{Value: j.ProviderID.Value}
	}
	if j.AllocationInfo != nil {
		p.AllocationInfo = &mesos.Resource_AllocationInfo{Role: j.AllocationInfo.Role}
	}
	if j.Revocable != nil {
		p.Revocable = revocable
	}
	if j.Shared != nil {
		p.Shared = shared
	}
	if j.Reservation != nil {
		p.Reservation = j.Reservation.proto()
	}
	for i := range j.Reservations {
		p.Reservations = append(p.Reservations, j.Reservations[i].proto())
	}
	if j.Disk == nil {
		return p, nil
	}
	var err error
	p.Disk, err = j.Disk.proto()
	return p, err
}

func (j *jsonReservation) proto() *mesos.Resource_ReservationInfo {
	r := &mesos.Resource_ReservationInfo{Role: j.Role, Principal: j.Principal, Labels: j.Labels.proto()}
	if j.Type != nil { // an unknown name is UNKNOWN, which Of refuses
		r.Type = mesos.Resource_ReservationInfo_Type(mesos.Resource_ReservationInfo_Type_value[*j.Type]).Enum()
	}
	return r
}

func (j *jsonLabels) proto() *mesos.Labels {
	if j == nil {
		return nil
	}
	l := &mesos.Labels{}
	for _, one := range j.Labels {
		l.Labels = append(l.Labels, &mesos.Label{Key: one.Key, Value: one.Value})
	}
	return l
}

func (j *jsonDisk) proto() (*mesos.Resource_DiskInfo, error) {
	d := &mesos.Resource_DiskInfo{}
	if p := j.Persistence; p != nil {
		d.Persistence = &mesos.Resource_DiskInfo_Persistence{Id: p.ID, Principal: p.Principal}
	}
	if v := j.Volume; v != nil {
		d.Volume = &mesos.Volume{ContainerPath: v.ContainerPath, HostPath: v.HostPath}
		if v.Mode != nil {
			m, ok := mesos.Volume_Mode_value[*v.Mode]
			if !ok {
				return d, fmt.Errorf("volume mode %q is neither RW nor RO", *v.Mode)
			}
			d.Volume.Mode = mesos.Volume_Mode(m).Enum()
		}
	}
	s := j.Source
	if s == nil {
		return d, nil
	}
	src := &mesos.Resource_DiskInfo_Source{Vendor: s.Vendor, Id: s.ID, Metadata: s.Metadata.proto(), Profile: s.Profile}
	src.Type = mesos.Resource_DiskInfo_Source_UNKNOWN.Enum()
	if s.Type != nil { // an unknown name is UNKNOWN, which Of refuses
		src.Type = mesos.Resource_DiskInfo_Source_Type(mesos.Resource_DiskInfo_Source_Type_value[*s.Type]).Enum()
	}
	if s.Path != nil {
		src.Path = &mesos.Resource_DiskInfo_Source_Path{Root: s.Path.Root}
	}
	if s.Mount != nil {
		src.Mount = &mesos.Resource_DiskInfo_Source_Mount{Root: s.Mount.Root}
	}
	d.Source = src
	return d, nil
}
