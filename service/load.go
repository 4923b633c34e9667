package service

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/events"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/state"
	"github.com/stoa-kernel/stoa/store"
)

// Keys that the core does not know of; its own are in service/state.
const (
	keyAll       = "service/"
	keyApps      = "service/apps/"
	keyFramework = "service/framework"
	keyEvents    = "service/events/"
	keyCallbacks = "service/callbacks"
)

// load reads all that the store kept.
func load(ctx context.Context, s store.Store) (in state.Recovered, kept []events.Stored, p *packs, err error) {
	records, err := s.Load(ctx, keyAll)
	if err != nil {
		return in, nil, nil, fmt.Errorf("service: %w", err)
	}
	if p, records, err = unpack(records); err != nil {
		return in, nil, nil, err
	}
	if in, kept, err = recoveredBy(runtime.GOMAXPROCS(0), records); err != nil {
		return in, nil, nil, err
	}
	p.know(in.Instances)
	return in, kept, p, nil
}

// recoveredBy has so many goroutines decode: of 100,000 instances it is most of the time
// until the service is back. Of the apps' versions, of which there may be 50 each, it
// decodes those that are needed: what the tree, a deployment or an instance has.
func recoveredBy(n int, records []store.Record) (in state.Recovered, kept []events.Stored, err error) {
	var apps, rest []store.Record
	for _, r := range records {
		if strings.HasPrefix(r.Key, keyApps) {
			apps = append(apps, r)
		} else {
			rest = append(rest, r)
		}
	}
	if in, kept, err = decodedBy(n, rest, nil); err != nil {
		return in, nil, err
	}
	versions, _, err := decodedBy(n, apps, needed(apps, in))
	in.Apps = versions.Apps
	return in, kept, err
}

// decodedBy has n goroutines decode, each its share, of apps only those that are needed.
func decodedBy(n int, records []store.Record, need map[string]bool) (in state.Recovered, kept []events.Stored, err error) {
	type part struct {
		in   state.Recovered
		kept []events.Stored
	}
	parts := make([]part, n)
	var group errgroup.Group
	for i := range parts {
		share := records[len(records)*i/n : len(records)*(i+1)/n]
		group.Go(func() (err error) {
			parts[i].in, parts[i].kept, err = recovered(share, need)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return in, nil, err
	}
	for _, p := range parts {
		in.Version = max(in.Version, p.in.Version) // one part has it
		in.Roots = append(in.Roots, p.in.Roots...)
		in.Apps = append(in.Apps, p.in.Apps...)
		in.Groups = append(in.Groups, p.in.Groups...)
		in.Instances = append(in.Instances, p.in.Instances...)
		in.Deployments = append(in.Deployments, p.in.Deployments...)
		in.Plans = append(in.Plans, p.in.Plans...)
		in.Progress = append(in.Progress, p.in.Progress...)
		in.Backoffs = append(in.Backoffs, p.in.Backoffs...)
		in.Attempts = append(in.Attempts, p.in.Attempts...)
		kept = append(kept, p.kept...)
	}
	return in, kept, nil
}

// versionOf takes the key of an app's version apart.
func versionOf(key string) (id string, v marathon.Version) {
	id, version := path.Split(strings.TrimPrefix(key, keyApps))
	return "/" + strings.TrimSuffix(id, "/"), marathon.Version(version)
}

// needed are the keys of the versions of apps that the core must have whole: the last one
// that the tree knows, and what deployments and instances name.
func needed(apps []store.Record, in state.Recovered) map[string]bool {
	need := make(map[string]bool)
	last := make(map[string]string) // of each app
	for _, r := range apps {
		id, v := versionOf(r.Key)
		if old := last[id]; v <= in.Version && old < r.Key {
			last[id] = r.Key
		}
	}
	for _, key := range last {
		need[key] = true
	}
	use := func(id string, v marathon.Version) { need[keyApps+strings.TrimPrefix(id, "/")+"/"+string(v)] = true }
	for _, p := range in.Plans {
		for _, c := range p.Changes {
			use(c.App, c.Old)
			use(c.App, c.New)
		}
	}
	type version struct {
		app     string
		version marathon.Version
	}
	used := make(map[version]bool)
	for _, i := range in.Instances {
		if v := (version{i.App, i.Version}); !used[v] {
			used[v] = true
			use(i.App, i.Version)
		}
	}
	return need
}

// recovered is what records say. Versions of apps that are not needed come without their
// definition; need is nil if all are.
func recovered(records []store.Record, need map[string]bool) (in state.Recovered, kept []events.Stored, err error) {
	var instances instance.Reader
	for _, r := range records {
		kind, _, _ := strings.Cut(strings.TrimPrefix(r.Key, keyAll), "/")
		switch kind {
		case "root":
			err = decode(r, &in.Version)
		case "roots":
			err = decodeTo(r, &in.Roots)
		case "apps":
			if need == nil || need[r.Key] || removal(r) {
				err = decodeTo(r, &in.Apps)
				break
			}
			id, v := versionOf(r.Key)
			in.Apps = append(in.Apps, state.StoredApp{ID: id, Version: v})
		case "groups":
			err = decodeTo(r, &in.Groups)
		case "backoff":
			err = decodeTo(r, &in.Backoffs)
		case "attempts":
			err = decodeTo(r, &in.Attempts)
		case "events":
			err = decodeTo(r, &kept)
		case "instances":
			i, wrong := instances.Read(r.Value)
			if wrong != nil {
				err = undecodable(r, wrong)
			}
			in.Instances = append(in.Instances, i)
		case "plans":
			err = decodeTo(r, &in.Plans)
		case "progress":
			err = decodeTo(r, &in.Progress)
		case "deployments":
			d := new(deploy.Deployment)
			err = decode(r, d)
			in.Deployments = append(in.Deployments, d)
		}
		if err != nil {
			return in, nil, err
		}
	}
	return in, kept, nil
}

// removal reports whether a version of an app may be its removal, which has no definition.
func removal(r store.Record) bool { return bytes.HasPrefix(r.Value, []byte(`{"app":null`)) }

func undecodable(r store.Record, err error) error {
	return fmt.Errorf("service: %s does not decode (%w): %w", r.Key, err, store.ErrCorrupt)
}

func decode(r store.Record, to any) error {
	if err := json.Unmarshal(r.Value, to); err != nil {
		return undecodable(r, err)
	}
	return nil
}

func decodeTo[T any](r store.Record, to *[]T) error {
	*to = append(*to, *new(T))
	return decode(r, &(*to)[len(*to)-1])
}

// history reads old versions from the store; the core keeps only what is in use.
type history struct{ store store.Store }

// versions of an app, newest first; removals among them.
func (h history) versions(ctx context.Context, id string) ([]state.StoredApp, error) {
	records, err := h.store.Load(ctx, keyApps+strings.TrimPrefix(id, "/")+"/")
	if err != nil {
		return nil, err
	}
	var all []state.StoredApp
	for _, r := range records {
		var v state.StoredApp
		if err := decode(r, &v); err != nil {
			return nil, err
		}
		if v.ID == id { // others are of apps below a group of that name
			all = append(all, v)
		}
	}
	slices.Reverse(all)
	return all, nil
}

// version of an app, nil if it is not kept.
func (h history) version(ctx context.Context, id string, v marathon.Version) (*state.StoredApp, error) {
	all, err := h.versions(ctx, id)
	if err != nil {
		return nil, err
	}
	for n := range all {
		if all[n].Version == v && !all[n].Deleted {
			return &all[n], nil
		}
	}
	return nil, nil
}

// roots are the versions of the tree that have a group, newest first.
func (h history) roots(ctx context.Context, group string) ([]marathon.Version, error) {
	records, err := h.store.Load(ctx, keyAll+"roots/")
	if err != nil {
		return nil, err
	}
	all := make([]marathon.Version, len(records))
	for n, r := range records {
		all[len(records)-1-n] = marathon.Version(strings.TrimPrefix(r.Key, keyAll+"roots/"))
	}
	if group == "/" {
		return all, nil
	}
	lives, err := h.lives(ctx, group)
	return slices.DeleteFunc(all, func(v marathon.Version) bool {
		return !slices.ContainsFunc(lives, func(l life) bool { return l.from <= v && (l.to == "" || v < l.to) })
	}), err
}

// life is from when, and until when if that is over, something was part of a group.
type life struct{ from, to marathon.Version }

// lives are those of all that is and was part of a group, itself included.
func (h history) lives(ctx context.Context, group string) ([]life, error) {
	var all []life
	last := make(map[string]int) // lives that are not over, by key without the version
	note := func(key string, v marathon.Version, there bool) {
		key = strings.TrimSuffix(key, string(v))
		n, known := last[key]
		switch {
		case there && !known:
			last[key] = len(all)
			all = append(all, life{from: v})
		case !there && known:
			all[n].to = v
			delete(last, key)
		}
	}
	below := strings.TrimPrefix(group, "/")
	records, err := h.store.Load(ctx, keyApps+below+"/")
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		var a state.StoredApp
		if err := decode(r, &a); err != nil {
			return nil, err
		}
		if strings.HasPrefix(a.ID, group+"/") { // others are versions of an app of that name
			note(r.Key, a.Version, !a.Deleted)
		}
	}
	if records, err = h.store.Load(ctx, keyAll+"groups/"+below+"/"); err != nil {
		return nil, err
	}
	for _, r := range records {
		var g state.StoredGroup
		if err := decode(r, &g); err != nil {
			return nil, err
		}
		note(r.Key, g.Version, g.Group != nil)
	}
	return all, nil
}

// group is a group's content at a version, nil if that version is not kept.
func (h history) group(ctx context.Context, id string, v marathon.Version) (*state.GroupVersion, error) {
	roots, err := h.roots(ctx, "/")
	if err != nil || !slices.Contains(roots, v) {
		return nil, err
	}
	below := strings.TrimPrefix(id, "/")
	if below != "" {
		below += "/"
	}
	records, err := h.store.Load(ctx, keyApps+below)
	if err != nil {
		return nil, err
	}
	content := &state.GroupVersion{}
	newest := make(map[string]state.StoredApp)
	for _, r := range records {
		var a state.StoredApp
		if err := decode(r, &a); err != nil {
			return nil, err
		}
		if a.Version <= v && newest[a.ID].Version <= a.Version {
			newest[a.ID] = a
		}
	}
	for _, a := range newest {
		if !a.Deleted && (id == "/" || strings.HasPrefix(a.ID, id+"/")) {
			content.Apps = append(content.Apps, a.App)
		}
	}
	slices.SortFunc(content.Apps, func(a, b *marathon.App) int { return strings.Compare(a.ID, b.ID) })
	records, err = h.store.Load(ctx, keyAll+"groups/"+strings.TrimPrefix(id, "/"))
	if err != nil {
		return nil, err
	}
	groups := make(map[string]state.StoredGroup)
	for _, r := range records {
		var g state.StoredGroup
		if err := decode(r, &g); err != nil {
			return nil, err
		}
		if g.Version <= v && groups[g.ID].Version <= g.Version && (g.ID == id || id == "/" || strings.HasPrefix(g.ID, id+"/")) {
			groups[g.ID] = g
		}
	}
	for _, g := range groups {
		if g.Group != nil {
			content.Groups = append(content.Groups, g.Group)
		}
	}
	slices.SortFunc(content.Groups, func(a, b *app.Group) int { return strings.Compare(a.ID, b.ID) })
	return content, nil
}
