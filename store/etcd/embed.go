package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/stoa-kernel/stoa/store"
)

// EmbedConfig is for a single-member server in this process.
type EmbedConfig struct {
	// Dir holds its data; made if missing, mode 0700, used by one process at a time.
	Dir string
	// QuotaBytes bounds the database; 0 is etcd's 2 GiB.
	QuotaBytes int64
}

// Server is an embedded single member. It listens on nothing: no TCP port, no socket.
type Server struct {
	etcd *embed.Etcd
}

// keepRevisions is how much history the embedded server keeps before compaction.
// Nothing here reads old revisions; a little history serves whoever debugs.
const keepRevisions = "1000"

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
	c.BootstrapDefragThresholdMegabytes = 64
	c.QuotaBackendBytes = cfg.QuotaBytes
	c.LogLevel = "error"
	c.LogOutputs = []string{filepath.Join(cfg.Dir, "etcd.log")}

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

// Open returns a store on the server.
func (s *Server) Open() store.Store {
	c := v3client.New(s.etcd.Server)
	return newClient(c, func(ctx context.Context) error { return s.freeSpace(ctx, c) })
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
