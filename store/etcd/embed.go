package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/stoa-kernel/stoa/store"
)

// EmbedConfig is for a single-member server in this process.
type EmbedConfig struct {
	// Dir holds its data; made if missing, mode 0700, used by one process at a time.
	Dir string
	// QuotaBytes bounds the database; 0 is etcd's 2 GiB.
	QuotaBytes int64
	// Fatal is told why etcd cannot go on, as on a full disk, just before the process
	// ends with exit code 1: etcd knows no other way. It may be nil.
	Fatal func(error)
}

// Server is an embedded single member. It listens on nothing: no TCP port, no socket.
type Server struct {
	etcd *embed.Etcd
}

// What a start has to read grows with these: the history that is left in the database, and
// the log since the last snapshot. A commit of ours has up to a mebibyte.
const (
	// keepRevisions is how much history is kept at each compaction, every 5 min. A load
	// that takes several reads needs a little of it.
	keepRevisions = "100"
	// snapshotEvery so many commits a snapshot makes what of the log is before it needless.
	snapshotEvery = 500
	// catchUp is how much of the log stays in memory, for members that there are none of.
	catchUp = 10
	// segment of the log, in bytes: it is read from the segment on that has the last
	// snapshot. Two of them are always there.
	segment = 16 << 20
	// keepSegments that are needless, beside those in use.
	keepSegments = 1
	// defragment at a start if that frees so many MiB; it takes as long as writing what is
	// left. Otherwise what was freed is used again.
	defragment = 512
)

func init() { wal.SegmentSizeBytes = segment }

// Embed starts the server, in well under a second on a warm disk.
func Embed(ctx context.Context, cfg EmbedConfig) (*Server, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	c := embed.NewConfig()
	c.Name = "stoa"
	c.Dir = cfg.Dir
	// A member of a cluster of one needs a peer URL for its identity, nothing dials it.
	peer := url.URL{Scheme: "http", Host: "localhost:0"}
	c.AdvertisePeerUrls = []url.URL{peer}
	c.InitialCluster = c.Name + "=" + peer.String()
	c.ListenPeerUrls, c.ListenClientUrls, c.AdvertiseClientUrls = nil, nil, nil
	// Elections of one: short ticks only shorten the start.
	c.TickMs, c.ElectionMs = 20, 100
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModeRevision, keepRevisions
	c.BootstrapDefragThresholdMegabytes = defragment
	c.SnapshotCount, c.SnapshotCatchUpEntries, c.MaxWalFiles = snapshotEvery, catchUp, keepSegments
	c.QuotaBackendBytes = cfg.QuotaBytes
	log, _, err := zap.Open(filepath.Join(cfg.Dir, "etcd.log"))
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	last := lastWords{cfg}
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(
		zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), log, zapcore.ErrorLevel),
		// The log is on the disk that may be full: that it cannot be written is not news.
		zap.ErrorOutput(zapcore.AddSync(io.Discard)), zap.WithFatalHook(last), zap.WithPanicHook(last),
	))

	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("registry in %s: %w", cfg.Dir, err)
	}
	s := &Server{etcd: e}
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		s.Close()
		return nil, fmt.Errorf("registry in %s: %w", cfg.Dir, err)
	case <-ctx.Done():
		s.Close()
		return nil, ctx.Err()
	}
	// Whoever led before this process had the directory to itself, so it is dead:
	// its leases need not run out.
	local := v3client.New(e.Server)
	defer local.Close()
	if _, err := local.Delete(ctx, leaderPrefix, clientv3.WithPrefix()); err != nil {
		s.Close()
		return nil, fmt.Errorf("registry in %s: %w", cfg.Dir, err)
	}
	return s, nil
}

// lastWords ends the process when etcd's logger would, but not without a word.
type lastWords struct{ cfg EmbedConfig }

func (l lastWords) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	err := fmt.Errorf("registry in %s: %s", l.cfg.Dir, e.Message)
	for _, f := range fields {
		if cause, ok := f.Interface.(error); ok {
			err = fmt.Errorf("registry in %s: %s: %w", l.cfg.Dir, e.Message, cause)
		}
	}
	if l.cfg.Fatal != nil {
		l.cfg.Fatal(err)
	}
	os.Exit(1)
}

// Open returns a store on the server.
func (s *Server) Open() store.Store {
	c := v3client.New(s.etcd.Server)
	return newClient(c, ownTTL, func(ctx context.Context) error { return s.freeSpace(ctx, c) })
}

// Err delivers the error that stopped the server.
func (s *Server) Err() <-chan error { return s.etcd.Err() }

// Close stops the server; its stores must be closed before.
func (s *Server) Close() { s.etcd.Close() }

// freeSpace compacts all history away, defragments and disarms the alarm.
func (s *Server) freeSpace(ctx context.Context, c *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	status, err := c.Get(ctx, leaderPrefix, clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	_, err = c.Compact(ctx, status.Header.Revision, clientv3.WithCompactPhysical())
	if err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("compaction: %w", err)
	}
	if err := s.etcd.Server.Backend().Defrag(); err != nil {
		return fmt.Errorf("defragmentation: %w", err)
	}
	if _, err := c.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		return fmt.Errorf("alarm: %w", err)
	}
	return nil
}
