package deploy

import (
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"sort"
)

// Notes are the Progress of actions, by app. They never change: With makes new ones that
// share most with the old ones, so that of 10,000 apps each may take its own step.
type Notes struct {
	pages [][]note // in order of app; none is empty
	n     int
}

type note struct {
	app string
	*Progress
}

// pageNotes is how many notes a page has at most.
const pageNotes = 64

// NotesOf makes notes.
func NotesOf(all map[string]*Progress) (n Notes) {
	for _, app := range slices.Sorted(maps.Keys(all)) {
		n = n.With(app, all[app])
	}
	return n
}

// Len is the number of apps.
func (n Notes) Len() int { return n.n }

// IsZero reports whether there are none.
func (n Notes) IsZero() bool { return n.n == 0 }

// page is the index of the page that an app is on, or would be.
func (n Notes) page(app string) int {
	return max(0, sort.Search(len(n.pages), func(at int) bool { return n.pages[at][0].app > app })-1)
}

func find(page []note, app string) (at int, found bool) {
	at = sort.Search(len(page), func(at int) bool { return page[at].app >= app })
	return at, at < len(page) && page[at].app == app
}

// Of an app, nil if nothing is noted.
func (n Notes) Of(app string) *Progress {
	if len(n.pages) == 0 {
		return nil
	}
	page := n.pages[n.page(app)]
	if at, found := find(page, app); found {
		return page[at].Progress
	}
	return nil
}

// With replaces what is noted of an app.
func (n Notes) With(app string, p *Progress) Notes {
	if len(n.pages) == 0 {
		return Notes{[][]note{{{app, p}}}, 1}
	}
	pages, which := slices.Clone(n.pages), n.page(app)
	page := pages[which]
	at, found := find(page, app)
	if found {
		page = slices.Clone(page)
		page[at].Progress = p
		pages[which] = page
		return Notes{pages, n.n}
	}
	page = slices.Insert(slices.Clip(page), at, note{app, p})
	pages[which] = page
	if len(page) > pageNotes {
		half := len(page) / 2
		if which == len(pages)-1 && at == len(page)-1 {
			half = at // they come in order: pages stay full
		}
		pages[which] = slices.Clip(page[:half])
		pages = slices.Insert(pages, which+1, slices.Clone(page[half:]))
	}
	return Notes{pages, n.n + 1}
}

// All in order of app.
func (n Notes) All() iter.Seq2[string, *Progress] {
	return func(yield func(string, *Progress) bool) {
		for _, page := range n.pages {
			for _, x := range page {
				if !yield(x.app, x.Progress) {
					return
				}
			}
		}
	}
}

// Since are the apps of which something else is noted than in old, or of which nothing
// is any more, in order. It looks only at what is between the beginning and the end that
// both share.
func (n Notes) Since(old Notes) iter.Seq[string] {
	return func(yield func(string) bool) {
		is, was := n.pages, old.pages
		shared := func(a, b []note) bool { return &a[0] == &b[0] }
		for len(is) > 0 && len(was) > 0 && shared(is[0], was[0]) {
			is, was = is[1:], was[1:]
		}
		for len(is) > 0 && len(was) > 0 && shared(is[len(is)-1], was[len(was)-1]) {
			is, was = is[:len(is)-1], was[:len(was)-1]
		}
		now := make(map[string]*Progress)
		for _, page := range is {
			for _, x := range page {
				now[x.app] = x.Progress
			}
		}
		for _, page := range was {
			for _, x := range page {
				if p, there := now[x.app]; there && p == x.Progress {
					delete(now, x.app)
				} else {
					now[x.app] = nil
				}
			}
		}
		for _, app := range slices.Sorted(maps.Keys(now)) {
			if !yield(app) {
				return
			}
		}
	}
}

// MarshalJSON writes an object by app.
func (n Notes) MarshalJSON() ([]byte, error) { return json.Marshal(maps.Collect(n.All())) }

// UnmarshalJSON reads one.
func (n *Notes) UnmarshalJSON(raw []byte) error {
	var all map[string]*Progress
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	*n = NotesOf(all)
	return nil
}
