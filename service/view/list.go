package view

import (
	"iter"
	"slices"
)

// piece is how many values a piece of a list holds at most.
const piece = 256

// list keeps values in order, in pieces, so that a change costs little also among very
// many and a snapshot costs nothing: what a snapshot has is copied before it changes.
type list[T any] struct {
	compare func(a, b T) int
	pieces  []*pieceOf[T]
	n       int
	// term counts snapshots; what is of an earlier term belongs to one.
	term, owned uint64
}

type pieceOf[T any] struct {
	term   uint64
	values []T
}

// snapshot is a list as it was.
type snapshot[T any] struct {
	pieces []*pieceOf[T]
	n      int
}

func (l *list[T]) snapshot() snapshot[T] {
	l.term++
	return snapshot[T]{l.pieces, l.n}
}

func (s snapshot[T]) all() iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, p := range s.pieces {
			for _, v := range p.values {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// piece is the index of the piece that v is in, or would be.
func (l *list[T]) piece(v T) int {
	n, found := slices.BinarySearchFunc(l.pieces, v, func(p *pieceOf[T], v T) int { return l.compare(p.values[0], v) })
	if !found && n > 0 {
		n--
	}
	return n
}

// own makes the pieces, and piece n, the list's alone.
func (l *list[T]) own(n int) *pieceOf[T] {
	if l.owned != l.term {
		l.pieces, l.owned = slices.Clone(l.pieces), l.term
	}
	p := l.pieces[n]
	if p.term != l.term {
		p = &pieceOf[T]{l.term, slices.Clone(p.values)}
		l.pieces[n] = p
	}
	return p
}

// put adds v, or replaces what compares equal to it.
func (l *list[T]) put(v T) {
	if len(l.pieces) == 0 {
		l.pieces, l.owned, l.n = []*pieceOf[T]{{l.term, []T{v}}}, l.term, 1
		return
	}
	n := l.piece(v)
	p := l.own(n)
	at, found := slices.BinarySearchFunc(p.values, v, l.compare)
	if found {
		p.values[at] = v
		return
	}
	l.n++
	p.values = slices.Insert(p.values, at, v)
	if len(p.values) <= piece {
		return
	}
	// Most are added at the end; then the piece stays full.
	half := len(p.values) / 2
	if n == len(l.pieces)-1 && at == len(p.values)-1 {
		half = at
	}
	rest := &pieceOf[T]{l.term, slices.Clone(p.values[half:])}
	clear(p.values[half:])
	p.values = p.values[:half]
	l.pieces = slices.Insert(l.pieces, n+1, rest)
}

// drop removes what compares equal to v.
func (l *list[T]) drop(v T) {
	if len(l.pieces) == 0 {
		return
	}
	n := l.piece(v)
	at, found := slices.BinarySearchFunc(l.pieces[n].values, v, l.compare)
	if !found {
		return
	}
	l.n--
	p := l.own(n)
	p.values = slices.Delete(p.values, at, at+1)
	if len(p.values) == 0 {
		l.pieces = slices.Delete(l.pieces, n, n+1)
	}
}

// from are the values from v on.
func (l *list[T]) from(v T) iter.Seq[T] {
	return func(yield func(T) bool) {
		if len(l.pieces) == 0 {
			return
		}
		n := l.piece(v)
		at, _ := slices.BinarySearchFunc(l.pieces[n].values, v, l.compare)
		for ; n < len(l.pieces); n, at = n+1, 0 {
			for _, v := range l.pieces[n].values[at:] {
				if !yield(v) {
					return
				}
			}
		}
	}
}
