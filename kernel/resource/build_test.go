package resource

import (
	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// scalar is a plain scalar resource of milli thousandths.
func scalar(name string, milli int64) *mesos.Resource {
	v := float64(milli) / 1000
	return &mesos.Resource{Name: &name, Type: typeScalar, Scalar: &mesos.Value_Scalar{Value: &v}}
}

func withStack(p *mesos.Resource, stack ...*mesos.Resource_ReservationInfo) *mesos.Resource {
	p.Reservations = stack
	return p
}

func allocated(p *mesos.Resource, to string) *mesos.Resource {
	p.AllocationInfo = &mesos.Resource_AllocationInfo{Role: &to}
	return p
}

func withRevocable(p *mesos.Resource) *mesos.Resource {
	p.Revocable = &mesos.Resource_RevocableInfo{}
	return p
}

// volume makes a persistent volume of a disk.
func volume(p *mesos.Resource, id string) *mesos.Resource {
	path := "data"
	if p.Disk == nil {
		p.Disk = &mesos.Resource_DiskInfo{}
	}
	p.Disk.Persistence = &mesos.Resource_DiskInfo_Persistence{Id: &id}
	p.Disk.Volume = &mesos.Volume{Mode: mesos.Volume_RW.Enum(), ContainerPath: &path}
	return p
}

func sharedVolume(p *mesos.Resource, id string) *mesos.Resource {
	p = volume(p, id)
	p.Shared = &mesos.Resource_SharedInfo{}
	return p
}

// source gives a disk a source; root is used for PATH and MOUNT, id for the others.
func source(p *mesos.Resource, t mesos.Resource_DiskInfo_Source_Type, at string) *mesos.Resource {
	s := &mesos.Resource_DiskInfo_Source{Type: &t}
	switch t {
	case mesos.Resource_DiskInfo_Source_PATH:
		s.Path = &mesos.Resource_DiskInfo_Source_Path{Root: &at}
	case mesos.Resource_DiskInfo_Source_MOUNT:
		s.Mount = &mesos.Resource_DiskInfo_Source_Mount{Root: &at}
	default:
		if at != "" {
			s.Id = &at
		}
	}
	p.Disk = &mesos.Resource_DiskInfo{Source: s}
	return p
}

func change(p *mesos.Resource, f func(*mesos.Resource)) *mesos.Resource {
	p = proto.CloneOf(p)
	f(p)
	return p
}

func reserveOp(rs ...*mesos.Resource) *mesos.Offer_Operation {
	return &mesos.Offer_Operation{
		Type: mesos.Offer_Operation_RESERVE.Enum(), Reserve: &mesos.Offer_Operation_Reserve{Resources: rs},
	}
}

func unreserveOp(rs ...*mesos.Resource) *mesos.Offer_Operation {
	return &mesos.Offer_Operation{
		Type: mesos.Offer_Operation_UNRESERVE.Enum(), Unreserve: &mesos.Offer_Operation_Unreserve{Resources: rs},
	}
}

func createOp(rs ...*mesos.Resource) *mesos.Offer_Operation {
	return &mesos.Offer_Operation{
		Type: mesos.Offer_Operation_CREATE.Enum(), Create: &mesos.Offer_Operation_Create{Volumes: rs},
	}
}

func destroyOp(rs ...*mesos.Resource) *mesos.Offer_Operation {
	return &mesos.Offer_Operation{
		Type: mesos.Offer_Operation_DESTROY.Enum(), Destroy: &mesos.Offer_Operation_Destroy{Volumes: rs},
	}
}
