package service

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/state"
	"github.com/stoa-kernel/stoa/store"
)

const (
	keyInstances = keyAll + "instances/"
	// keyPacks is before the numbers of packs, which have packDigits so that the store
	// returns them in order.
	keyPacks   = keyAll + "packs/"
	packDigits = 16
	// packBytes is what a pack is closed at, well below store.MaxValue.
	packBytes = 128 << 10
	// spareLines may be out of date however few instances there are.
	spareLines = 1024
	// As many packs in a row as fewPacks, each of less than fewLines, become one.
	fewPacks, fewLines = 16, 16
)

// packs is how the store has instances: hundreds of thousands of records of some hundred
// bytes cost the store more by their number than by their length. What of one commit is
// about instances and in a row is one value, a pack: a line for each, its JSON, or the
// bare id of one that is gone. A later line replaces earlier ones. Packs are numbered and
// never change; when less than half of all lines are in force, the oldest pack is removed,
// after what of it is in force was written anew. So a line that something is gone lasts
// as long as any that says something else. Of commits that have little to say, the last
// packs are written anew as one.
type packs struct {
	next  uint64
	all   []pack // oldest first
	lines int    // of all
	spare int
	// newest is the line in force of each instance.
	newest map[string]record
	// loose are instances that the store has as values of their own, as it was before
	// there were packs.
	loose []string

	// text and ids are of the pack that is being written.
	text []byte
	ids  []string
}

type pack struct {
	number uint64
	ids    []string // of its lines
}

// record is in the pack of a number, 0 being loose.
type record struct {
	pack  uint64
	value *instance.Instance
}

func newPacks() *packs { return &packs{next: 1, spare: spareLines, newest: make(map[string]record)} }

// unpack replaces packs among records by what they have in force, as if each instance had
// a value of its own; these come last, in the order they were written. The caller tells
// what the lines say with know.
func unpack(records []store.Record) (p *packs, rest []store.Record, err error) {
	p = newPacks()
	type entry struct {
		id   string
		pack uint64
		text []byte
	}
	var lines []entry
	last := make(map[string]int) // the line in force of each instance
	for _, r := range records {  // loose ones come first, their key being lower
		if id, ok := strings.CutPrefix(r.Key, keyInstances); ok {
			last[id] = len(lines)
			lines = append(lines, entry{id, 0, r.Value})
			p.loose = append(p.loose, id)
			continue
		}
		digits, ok := strings.CutPrefix(r.Key, keyPacks)
		if !ok {
			rest = append(rest, r)
			continue
		}
		number, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || len(digits) != packDigits || number < p.next {
			return nil, nil, fmt.Errorf("service: %s is no pack of instances: %w", r.Key, store.ErrCorrupt)
		}
		one := pack{number: number}
		for line := range bytes.SplitSeq(r.Value, []byte("\n")) {
			name, there := bytes.CutPrefix(line, []byte(`{"id":"`))
			if there {
				name = name[:max(bytes.IndexByte(name, '"'), 0)]
			}
			if len(name) == 0 {
				return nil, nil, fmt.Errorf("service: %s has a line %.80q: %w", r.Key, line, store.ErrCorrupt)
			}
			id := string(name)
			one.ids = append(one.ids, id)
			if there {
				last[id] = len(lines)
				lines = append(lines, entry{id, number, line})
			} else {
				delete(last, id)
			}
		}
		p.all, p.next, p.lines = append(p.all, one), number+1, p.lines+len(one.ids)
	}
	p.newest = make(map[string]record, len(last))
	for n, l := range lines {
		if at, ok := last[l.id]; ok && at == n {
			p.newest[l.id] = record{pack: l.pack}
			rest = append(rest, store.Record{Key: keyInstances + l.id, Value: l.text})
		}
	}
	return p, rest, nil
}

// know tells what the lines in force say.
func (p *packs) know(all []*instance.Instance) {
	for _, i := range all {
		r := p.newest[i.ID]
		r.value = i
		p.newest[i.ID] = r
	}
}

// encode is what puts that are committed together are for the store.
func (p *packs) encode(puts []state.Put) ([]store.Op, error) {
	ops := make([]store.Op, 0, len(puts))
	for _, put := range puts {
		if id, ok := strings.CutPrefix(put.Key, keyInstances); ok {
			i, _ := put.Value.(*instance.Instance) // nothing is gone
			ops = p.put(ops, id, i)
			continue
		}
		ops = append(p.close(ops), store.Op{Key: put.Key})
		if put.Value == nil {
			continue
		}
		raw, err := json.Marshal(put.Value)
		if err != nil {
			return nil, fmt.Errorf("service: %s: %w", put.Key, err)
		}
		ops[len(ops)-1].Value = raw
	}
	return p.clean(ops), nil
}

// put adds what an instance is now; nil is gone.
func (p *packs) put(ops []store.Op, id string, i *instance.Instance) []store.Op {
	if i == nil {
		if _, ok := p.newest[id]; !ok {
			return ops
		}
		delete(p.newest, id)
	} else {
		id = i.ID // and not a part of its key
		p.newest[id] = record{p.next, i}
	}
	return p.line(ops, id, i)
}

// line adds a line to the pack that is being written.
func (p *packs) line(ops []store.Op, id string, i *instance.Instance) []store.Op {
	if len(p.text) > 0 {
		p.text = append(p.text, '\n')
	}
	if i == nil {
		p.text = append(p.text, id...)
	} else {
		p.text = i.AppendJSON(p.text)
	}
	p.ids = append(p.ids, id)
	if len(p.text) >= packBytes {
		return p.close(ops)
	}
	return ops
}

// close ends the pack that is being written, if it has anything.
func (p *packs) close(ops []store.Op) []store.Op {
	if len(p.ids) == 0 {
		return ops
	}
	ops = append(ops, store.Op{Key: packKey(p.next), Value: bytes.Clone(p.text)})
	p.all = append(p.all, pack{p.next, slices.Clone(p.ids)})
	p.lines += len(p.ids)
	p.next++
	clear(p.ids)
	p.text, p.ids = p.text[:0], p.ids[:0]
	return ops
}

// clean ends a commit: as many old packs go as are too many, what was loose, and small
// packs that are one now.
func (p *packs) clean(ops []store.Op) []store.Op {
	ops = p.close(ops)
	var gone []store.Op
	move := func(from uint64, id string) bool {
		r, ok := p.newest[id]
		if ok && r.pack == from {
			ops = p.put(ops, id, r.value)
		}
		return ok
	}
	for _, id := range p.loose {
		move(0, id)
		gone = append(gone, store.Op{Key: keyInstances + id})
	}
	p.loose = nil
	for p.lines > 2*len(p.newest)+p.spare {
		oldest := p.all[0]
		p.all = p.all[1:]
		p.lines -= len(oldest.ids)
		for _, id := range oldest.ids {
			move(oldest.number, id)
		}
		gone = append(gone, store.Op{Key: packKey(oldest.number)})
	}
	ops = p.close(ops)
	if last := len(p.all) - fewPacks; last >= 0 && !slices.ContainsFunc(p.all[last:], func(one pack) bool { return len(one.ids) >= fewLines }) {
		few := slices.Clone(p.all[last:])
		p.all = p.all[:last]
		var missing []string
		for _, one := range few {
			p.lines -= len(one.ids)
			gone = append(gone, store.Op{Key: packKey(one.number)})
			for _, id := range one.ids {
				if !move(one.number, id) {
					missing = append(missing, id)
				}
			}
		}
		slices.Sort(missing)
		for _, id := range slices.Compact(missing) { // older packs may have them
			ops = p.line(ops, id, nil)
		}
		ops = p.close(ops)
	}
	return append(ops, gone...)
}

func packKey(number uint64) string { return fmt.Sprintf("%s%0*d", keyPacks, packDigits, number) }
