package state

import (
	"cmp"
	"encoding/binary"
	"hash"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"github.com/stoa-kernel/stoa/kernel/id"
	"google.golang.org/protobuf/proto"
)

// digest feeds a hash; every value is preceded by its length, so that no two sequences
// run together.
type digest struct {
	h   hash.Hash64
	buf []byte
}

func (d *digest) str(values ...string) {
	for _, s := range values {
		d.num(uint64(len(s)))
		d.h.Write([]byte(s))
	}
}

func (d *digest) num(values ...uint64) {
	for _, n := range values {
		d.buf = binary.BigEndian.AppendUint64(d.buf[:0], n)
		d.h.Write(d.buf)
	}
}

func (d *digest) flag(values ...bool) {
	for _, b := range values {
		if b {
			d.num(1)
		} else {
			d.num(0)
		}
	}
}

func (d *digest) msg(m proto.Message) {
	b, err := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(m)
	if err != nil {
		b = []byte(err.Error())
	}
	d.str(string(b))
}

func hashOf(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}

// Hash is of all that Step can observe; equal states have equal hashes. It walks
// everything: for tests and the simulator.
func (m *Master) Hash() uint64 {
	d := &digest{h: fnv.New64a()}
	d.num(m.epoch, m.frameworkCount, m.agentCount, m.offerCount, uint64(m.recovering), uint64(m.resumeAt))
	d.flag(m.ready, m.paused, m.allocateArmed, m.filterArmed, m.offerQueue.armed, m.removal.armed)
	d.num(uint64(m.filterAt), uint64(m.removal.next))
	for _, f := range m.sortedFrameworks() {
		d.framework(f)
	}
	for _, f := range m.removedOrder {
		d.framework(f)
	}
	dying := make([]id.Framework, 0, len(m.dying))
	for fid := range m.dying {
		dying = append(dying, fid)
	}
	slices.Sort(dying)
	for _, fid := range dying {
		d.str(string(fid))
	}
	for _, a := range m.sortedAgents() {
		d.agent(a)
	}
	for _, a := range m.removal.list {
		d.str(string(a.id))
	}
	for _, list := range []map[id.Agent]absent{m.unreachable, m.gone} {
		ids := make([]id.Agent, 0, len(list))
		for aid := range list {
			ids = append(ids, aid)
		}
		slices.Sort(ids)
		d.num(uint64(len(ids)))
		for _, aid := range ids {
			d.str(string(aid))
			d.num(uint64(list[aid].since))
		}
	}
	offers := make([]*offer, 0, len(m.offers))
	for _, o := range m.offers {
		offers = append(offers, o)
	}
	slices.SortFunc(offers, func(a, b *offer) int { return cmp.Compare(a.seq, b.seq) })
	for _, o := range offers {
		d.str(string(o.id), string(o.fw.id), string(o.agent.id), o.role, o.resources.String())
		d.num(uint64(o.made))
	}
	for _, r := range m.roleList() {
		d.str(r.Name, strconv.FormatFloat(r.Weight, 'g', -1, 64), r.Guarantee.String(), r.Limit.String())
	}
	return d.h.Sum64()
}

func (d *digest) framework(f *framework) {
	d.str(string(f.id), string(f.stream))
	d.msg(f.info)
	d.flag(f.recovered, f.removed, f.failoverArmed, f.inAllocator)
	d.str(f.suppressed...)
	if f.constraints != nil {
		d.msg(f.constraints)
	}
	d.str(f.allocated.String(), f.offered.String())
	for _, t := range f.sortedTasks() {
		d.task(t)
	}
	for _, t := range f.unreachableOrder {
		d.task(t)
	}
	for _, t := range f.completed[f.completedFrom:] {
		d.task(t)
	}
}

func (d *digest) task(t *task) {
	d.str(string(t.id), t.agentID.GetValue(), string(t.executor), t.resources.String(), string(t.statusUUID), string(t.held.GetUuid()))
	d.num(uint64(t.state), uint64(t.statusState), uint64(len(t.statuses)))
	d.flag(t.released, t.sent, t.seen, t.acked, t.killed, t.completed, t.unreachable)
}

func (d *digest) agent(a *agent) {
	d.str(string(a.id), a.address, a.bootID, a.total.String(), a.allocated.String(), a.offered.String())
	d.msg(a.info)
	d.num(uint64(a.link), a.pingSeq, uint64(a.missed))
	d.flag(a.recovered, a.ponged, a.queued, a.pingArmed, a.graceArmed, a.returnArmed)
	for _, e := range a.sortedExecutors() {
		d.str(string(e.fw.id), string(e.id))
	}
	for _, o := range a.operations {
		d.str(string(o.uuid[:]), o.status.GetState().String(), string(o.status.GetUuid().GetValue()))
	}
}

// Forgotten runs a full allocation cycle at a quiet point, when nothing is due, and
// counts what it would offer: anything is a change the allocator was not told of. It
// reports false if the point is not quiet. For the simulator.
func (m *Master) Forgotten(now time.Duration) (offers int, quiet bool) {
	if !m.ready || m.paused || m.allocateArmed || m.alloc.Dirty() {
		return 0, false
	}
	if at, ok := m.alloc.NextExpiry(); ok && at <= now {
		return 0, false
	}
	grants := m.alloc.Allocate(now, true)
	for _, g := range grants {
		m.alloc.Recover(now, g.Framework, g.Agent, g.Resources, nil)
	}
	return len(grants), true
}
