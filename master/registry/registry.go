// Package registry is what must survive a master: which agents were admitted, which
// frameworks subscribed, quotas and weights. Tasks are not in it; agents tell them.
//
// Layout in the store:
//
//	master/header          RegistryHeader: the format's version
//	master/agents/ID       AgentRecord
//	master/frameworks/ID   FrameworkRecord
//	master/quotas/ROLE     QuotaRecord
//	master/weights/ROLE    WeightRecord
package registry

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/master/state"
	"github.com/stoa-kernel/stoa/store"
)

// Version of the format this build writes. A build reads its own and older ones; a newer
// one is refused, so that a downgrade cannot lose what it does not understand.
const Version = 1

const (
	prefix    = "master/"
	headerKey = prefix + "header"
)

// Contents is the whole registry.
type Contents struct {
	Agents     []*stoapb.AgentRecord
	Frameworks []*stoapb.FrameworkRecord
	Quotas     []*stoapb.QuotaRecord
	Weights    []*stoapb.WeightRecord
}

// Registry is one leadership's hold on the records.
type Registry struct {
	store      store.Store
	leadership store.Leadership
}

// Open reads everything and, on an empty or older registry, writes the header before
// anything else can be.
func Open(ctx context.Context, s store.Store, l store.Leadership, build string) (*Registry, *Contents, error) {
	records, err := s.Load(ctx, prefix)
	if err != nil {
		return nil, nil, fmt.Errorf("registry: %w", err)
	}
	c := new(Contents)
	header := new(stoapb.RegistryHeader)
	for _, r := range records {
		if r.Key == headerKey {
			if err := decode(r, header); err != nil {
				return nil, nil, err
			}
			if header.GetVersion() > Version {
				return nil, nil, fmt.Errorf("registry: its format is version %d, written by Stoa %s; this is Stoa %s, which reads up to %d: start the newer version",
					header.GetVersion(), header.GetWrittenBy(), build, Version)
			}
			continue
		}
		if err := c.add(r); err != nil {
			return nil, nil, err
		}
	}
	if header.GetVersion() == 0 && len(records) > 0 {
		return nil, nil, fmt.Errorf("registry: there are %d records but no header: %w", len(records), store.ErrCorrupt)
	}
	reg := &Registry{s, l}
	if header.GetVersion() != Version {
		value, err := proto.Marshal(&stoapb.RegistryHeader{Version: proto.Uint32(Version), WrittenBy: &build})
		if err != nil {
			return nil, nil, fmt.Errorf("registry: %w", err)
		}
		if err := s.Commit(ctx, l, []store.Op{{Key: headerKey, Value: value}}); err != nil {
			return nil, nil, fmt.Errorf("registry: %w", err)
		}
	}
	return reg, c, nil
}

func (c *Contents) add(r store.Record) error {
	table, _, ok := strings.Cut(strings.TrimPrefix(r.Key, prefix), "/")
	if !ok {
		return fmt.Errorf("registry: %q is no key of ours: %w", r.Key, store.ErrCorrupt)
	}
	switch state.Table(table) {
	case state.Agents:
		return decodeInto(r, &c.Agents)
	case state.Frameworks:
		return decodeInto(r, &c.Frameworks)
	case state.Quotas:
		return decodeInto(r, &c.Quotas)
	case state.Weights:
		return decodeInto(r, &c.Weights)
	}
	return fmt.Errorf("registry: %q is in no table of version %d: %w", r.Key, Version, store.ErrCorrupt)
}

// message is what a generated record type R is through its pointer.
type message[R any] interface {
	*R
	proto.Message
}

func decodeInto[R any, M message[R]](r store.Record, list *[]M) error {
	m := M(new(R))
	if err := decode(r, m); err != nil {
		return err
	}
	*list = append(*list, m)
	return nil
}

func decode(r store.Record, m proto.Message) error {
	if err := proto.Unmarshal(r.Value, m); err != nil {
		return fmt.Errorf("registry: %s does not decode (%w): %w", r.Key, err, store.ErrCorrupt)
	}
	return nil
}

// Commit writes a batch, in order, and returns when it is durable.
func (r *Registry) Commit(ctx context.Context, batch []state.Persist) error {
	ops := make([]store.Op, len(batch))
	for i, p := range batch {
		ops[i].Key = prefix + string(p.Table) + "/" + p.ID
		if p.Record == nil {
			continue
		}
		value, err := proto.Marshal(p.Record)
		if err != nil {
			return fmt.Errorf("registry: %s: %w", ops[i].Key, err)
		}
		// nil would delete; an empty message is a record all the same.
		ops[i].Value = append([]byte{}, value...)
	}
	if err := r.store.Commit(ctx, r.leadership, ops); err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	return nil
}
