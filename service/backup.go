package service

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/store"
)

const (
	// keyStaged is before the keys of a backup that is being restored, keyComplete says
	// that all of them are there: from then on the restore takes place, whoever leads.
	keyStaged   = "service-staged/"
	keyComplete = "service-staged-complete"
	// backupFormat is the first line's of a backup.
	backupFormat = "stoa service backup 1"
	// maxBackup bounds what is read of a backup, in bytes, uncompressed.
	maxBackup = 4 << 30
)

// backups writes what the store has of the service to files below dir, and puts it back
// (DELETE /v2/leader?backup= and ?restore=; as Marathon 1.10, storage/repository/Backup,
// in a format of our own: JSON lines, gzipped).
type backups struct {
	store store.Store
	lead  store.Leadership
	dir   string // "" switches it off
}

// line of a backup: the first has Format, the last End.
type line struct {
	Format string `json:"format,omitempty"`
	Key    string `json:"key,omitempty"`
	Value  string `json:"value,omitempty"`
	End    bool   `json:"end,omitempty"`
}

func unprocessable(format string, args ...any) error {
	return &app.Fault{Status: 422, Body: marathon.Error{Message: fmt.Sprintf(format, args...)}}
}

// open is the directory and the name in it that a URI means.
func (b backups) open(uri string) (*os.Root, string, error) {
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return nil, "", unprocessable("the backup's URI cannot be read: %v", err)
	case u.Scheme == "s3":
		return nil, "", unprocessable("backups go to files: use file:///PATH below --backup-dir, and copy it from there")
	case u.Scheme != "file" || u.Host != "" || u.Path == "":
		return nil, "", unprocessable("a backup is named by file:///PATH below --backup-dir")
	case b.dir == "":
		return nil, "", unprocessable("backups are switched off: start the service with --backup-dir DIRECTORY")
	}
	dir, err := filepath.Abs(b.dir)
	if err != nil {
		return nil, "", err
	}
	name, err := filepath.Rel(dir, filepath.Clean(u.Path))
	if err != nil || !filepath.IsLocal(name) || name == "." {
		return nil, "", unprocessable("%s is not below --backup-dir %s", u.Path, dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, "", unprocessable("--backup-dir: %v", err)
	}
	return root, name, nil
}

// backup writes one consistent state to a file, in place of one that is there.
func (b backups) backup(ctx context.Context, uri string) error {
	root, name, err := b.open(uri)
	if err != nil {
		return err
	}
	defer root.Close()
	records, err := b.store.Load(ctx, keyAll)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	// What apps are given in their environment is in it.
	part := name + ".part"
	f, err := root.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return unprocessable("backup: %v", err)
	}
	err = errors.Join(writeBackup(f, records), f.Sync(), f.Close())
	if err == nil {
		err = root.Rename(part, name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("backup: %w", err), root.Remove(part))
	}
	return nil
}

func writeBackup(to io.Writer, records []store.Record) error {
	z := gzip.NewWriter(to)
	e := json.NewEncoder(z)
	if err := e.Encode(line{Format: backupFormat}); err != nil {
		return err
	}
	for _, r := range records {
		if err := e.Encode(line{Key: r.Key, Value: string(r.Value)}); err != nil {
			return err
		}
	}
	if err := e.Encode(line{End: true}); err != nil {
		return err
	}
	return z.Close()
}

func readBackup(from io.Reader) ([]store.Record, error) {
	z, err := gzip.NewReader(bufio.NewReader(from))
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(io.LimitReader(z, maxBackup))
	var records []store.Record
	for first := true; ; first = false {
		var l line
		if err := d.Decode(&l); errors.Is(err, io.EOF) {
			return nil, errors.New("it ends too early")
		} else if err != nil {
			return nil, err
		}
		switch {
		case first && l.Format != backupFormat:
			return nil, errors.New("it is no backup of the service")
		case first:
		case l.End:
			_, err := io.Copy(io.Discard, z) // to its checksum
			return records, err
		case !strings.HasPrefix(l.Key, keyAll):
			return nil, fmt.Errorf("the key %q is not the service's", l.Key)
		default:
			records = append(records, store.Record{Key: l.Key, Value: []byte(l.Value)})
		}
	}
}

// restore stages a backup; the next term begins with it.
func (b backups) restore(ctx context.Context, uri string) error {
	root, name, err := b.open(uri)
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		return unprocessable("restore: %v", err)
	}
	defer f.Close()
	records, err := readBackup(f)
	if err == nil {
		var whole []store.Record
		if _, whole, err = unpack(records); err == nil {
			_, _, err = recovered(whole, nil)
		}
	}
	if err != nil {
		return unprocessable("restore: %s is of no use: %v; nothing was done", name, err)
	}
	old, err := b.store.Load(ctx, keyStaged)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	for n, r := range records {
		records[n].Key = keyStaged + strings.TrimPrefix(r.Key, keyAll)
	}
	// Not with what completes them: they may be more than one transaction takes.
	if err := b.store.Commit(ctx, b.lead, replacing(old, records)); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return b.store.Commit(ctx, b.lead, []store.Op{{Key: keyComplete, Value: []byte("true")}})
}

// finishRestore replaces what the store has of the service by what is staged, if that is
// complete. It may be broken off anywhere and is done again then. Events stay, for they
// have happened, and so does the framework's id, under which tasks run.
func finishRestore(ctx context.Context, s store.Store, lead store.Leadership) (done bool, err error) {
	complete, err := s.Load(ctx, keyComplete)
	if err != nil {
		return false, err
	}
	staged, err := s.Load(ctx, keyStaged)
	if err != nil {
		return false, err
	}
	if done = len(complete) > 0; done {
		old, err := s.Load(ctx, keyAll)
		if err != nil {
			return false, err
		}
		known := slices.ContainsFunc(old, func(r store.Record) bool { return r.Key == keyFramework })
		stays := func(r store.Record) bool {
			return strings.HasPrefix(r.Key, keyEvents) || r.Key == keyFramework && known
		}
		restored := make([]store.Record, len(staged))
		for n, r := range staged {
			restored[n] = store.Record{Key: keyAll + strings.TrimPrefix(r.Key, keyStaged), Value: r.Value}
		}
		ops := replacing(slices.DeleteFunc(old, stays), slices.DeleteFunc(restored, stays))
		if err := commit(ctx, s, lead, ops); err != nil {
			return false, fmt.Errorf("restore: %w", err)
		}
	}
	ops := replacing(append(complete, staged...), nil)
	return done, commit(ctx, s, lead, ops)
}

func commit(ctx context.Context, s store.Store, lead store.Leadership, ops []store.Op) error {
	if len(ops) == 0 {
		return nil
	}
	return s.Commit(ctx, lead, ops)
}

// replacing old records by others; no key is there twice, which a store does not take.
func replacing(old, by []store.Record) []store.Op {
	var ops []store.Op
	stays := make(map[string]bool, len(by))
	for _, r := range by {
		stays[r.Key] = true
	}
	for _, r := range old {
		if !stays[r.Key] {
			ops = append(ops, store.Op{Key: r.Key})
		}
	}
	for _, r := range by {
		ops = append(ops, store.Op{Key: r.Key, Value: r.Value})
	}
	return ops
}
