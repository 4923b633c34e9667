// Package etcd keeps a store.Store in etcd: in a cluster of the operator's, or in a
// server embedded in this process.
//
// Layout below /stoa/: data/KEY holds the records, epoch/NAME the number of the newest
// term and leader/NAME, bound to a lease, the value of who holds it. A commit compares
// epoch/NAME, so a process that lost leadership cannot write.
package etcd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/stoa-kernel/stoa/store"
)

const (
	dataPrefix   = "/stoa/data/"
	epochPrefix  = "/stoa/epoch/"
	leaderPrefix = "/stoa/leader/"

	// sharedTTL is how long after its last renewal a dead leader's place stays taken.
	sharedTTL = 10 * time.Second
	// ownTTL is the same in an embedded etcd. Who led before it started is gone, and its
	// place is given away at the start, so nobody waits for this to pass; and a process that
	// was stopped or got no processor for a minute has lost nothing to anybody.
	ownTTL = 2 * time.Minute
)

// Config names an etcd cluster.
type Config struct {
	// Endpoints like "https://10.0.0.1:2379".
	Endpoints []string
	// TLS of the connection; nil for plain text.
	TLS *tls.Config
	// Username and Password, empty for none.
	Username, Password string
}

// dialTimeout bounds how long Dial waits for the cluster to answer.
const dialTimeout = 10 * time.Second

// Dial connects to a cluster and fails if none of its endpoints answers in 10 s.
func Dial(ctx context.Context, cfg Config) (store.Store, error) {
	c, err := clientv3.New(clientv3.Config{
		Endpoints:            cfg.Endpoints,
		TLS:                  cfg.TLS,
		Username:             cfg.Username,
		Password:             cfg.Password,
		DialTimeout:          dialTimeout,
		DialKeepAliveTime:    5 * time.Second,
		DialKeepAliveTimeout: 5 * time.Second,
	})
	if err != nil {
		return nil, fmt.Errorf("etcd at %s: %w", strings.Join(cfg.Endpoints, ","), err)
	}
	probe, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if _, err := c.Get(probe, leaderPrefix, clientv3.WithCountOnly()); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("etcd at %s does not answer: %w; check --store and the cluster's health", strings.Join(cfg.Endpoints, ","), err)
	}
	return newClient(c, sharedTTL, func(context.Context) error {
		return errors.New("the etcd cluster is out of space (NOSPACE alarm): compact and defragment it, raise --quota-backend-bytes, then disarm the alarm")
	}), nil
}

type client struct {
	etcd *clientv3.Client
	// ttl is of the leases. A leader that could not renew for two thirds of it says Lost,
	// before its lease can pass on.
	ttl time.Duration
	// freeSpace makes room after a NOSPACE alarm, or says what the operator must do.
	freeSpace func(context.Context) error
	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	terms     sync.WaitGroup

	mu   sync.Mutex
	held []store.Leadership
}

func newClient(c *clientv3.Client, ttl time.Duration, freeSpace func(context.Context) error) *client {
	ctx, cancel := context.WithCancel(context.Background())
	return &client{etcd: c, ttl: ttl, freeSpace: freeSpace, ctx: ctx, cancel: cancel}
}

// pageBytes is about how much one read of Load brings, of at most mostRecords, and
// firstPage how many records the first one does. Each read walks over all keys that are
// left: few large ones are cheaper.
const (
	pageBytes   = 16 << 20
	mostRecords = 50_000
	firstPage   = 1000
)

func (c *client) Load(ctx context.Context, prefix string) ([]store.Record, error) {
	for {
		out, err := c.load(ctx, prefix)
		switch {
		case err == nil:
			return out, nil
		case !errors.Is(err, rpctypes.ErrCompacted): // else that state is gone: take the one of now
			return nil, fmt.Errorf("load %s*: %w", prefix, err)
		}
	}
}

// load reads all pages from one revision.
func (c *client) load(ctx context.Context, prefix string) ([]store.Record, error) {
	var (
		out      []store.Record
		from     = dataPrefix + prefix
		end      = clientv3.GetPrefixRangeEnd(from)
		revision int64
		page     = int64(firstPage)
		size     int64
	)
	for {
		opts := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(page)}
		if revision != 0 {
			opts = append(opts, clientv3.WithRev(revision))
		}
		resp, err := c.etcd.Get(ctx, from, opts...)
		if err != nil {
			return nil, err
		}
		revision = resp.Header.Revision
		out = slices.Grow(out, int(resp.Count)) // what was left, this page included
		for _, kv := range resp.Kvs {
			size += int64(len(kv.Key) + len(kv.Value))
			out = append(out, store.Record{Key: string(kv.Key[len(dataPrefix):]), Value: kv.Value})
		}
		if !resp.More {
			return out, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
		page = min(max(1, pageBytes*int64(len(out))/size), mostRecords)
	}
}

func (c *client) Commit(ctx context.Context, l store.Leadership, ops []store.Op) error {
	if err := store.CheckOps(ops); err != nil {
		return err
	}
	ops = lastOfEachKey(ops)
	for len(ops) > 0 {
		n := some(ops)
		if err := c.commit(ctx, l, ops[:n]); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}

func (c *client) commit(ctx context.Context, l store.Leadership, ops []store.Op) error {
	puts := make([]clientv3.Op, len(ops))
	for i, op := range ops {
		if op.Value == nil {
			puts[i] = clientv3.OpDelete(dataPrefix + op.Key)
		} else {
			puts[i] = clientv3.OpPut(dataPrefix+op.Key, string(op.Value))
		}
	}
	guard := clientv3.Compare(clientv3.Value(epochPrefix+l.Name), "=", formatEpoch(l.Epoch))
	for attempt := 0; ; attempt++ {
		resp, err := c.etcd.Txn(ctx).If(guard).Then(puts...).Commit()
		switch {
		case err == nil && !resp.Succeeded:
			return fmt.Errorf("commit as %s of epoch %d: %w", l.Name, l.Epoch, store.ErrFenced)
		case err == nil:
			return nil
		case errors.Is(err, rpctypes.ErrNoSpace) && attempt == 0:
			// Writing the same values again is harmless, so one more try after making room.
			if err := c.freeSpace(ctx); err != nil {
				return fmt.Errorf("commit of %d records: %w", len(ops), err)
			}
		default:
			return fmt.Errorf("commit of %d records: %w", len(ops), err)
		}
	}
}

// lastOfEachKey drops operations that a later one on the same key makes void: etcd
// takes each key once in a transaction.
func lastOfEachKey(ops []store.Op) []store.Op {
	last := make(map[string]int, len(ops))
	for i, op := range ops {
		last[op.Key] = i
	}
	if len(last) == len(ops) {
		return ops
	}
	out := make([]store.Op, 0, len(last))
	for i, op := range ops {
		if last[op.Key] == i {
			out = append(out, op)
		}
	}
	return out
}

// requestBytes is how much one transaction takes, with room below etcd's limit of 1.5 MiB
// for what a request has beside keys and values.
const requestBytes = 1 << 20

// some is how many operations, at least one, go into the next transaction.
func some(ops []store.Op) (n int) {
	for bytes := 0; n < min(len(ops), store.MaxOps); n++ {
		bytes += len(ops[n].Key) + len(ops[n].Value)
		if n > 0 && bytes > requestBytes {
			break
		}
	}
	return n
}

func formatEpoch(e uint64) string { return strconv.FormatUint(e, 10) }

func (c *client) Leader(ctx context.Context, name string) ([]byte, bool, error) {
	resp, err := c.etcd.Get(ctx, leaderPrefix+name)
	if err != nil {
		return nil, false, fmt.Errorf("leader of %s: %w", name, err)
	}
	if len(resp.Kvs) == 0 {
		return nil, false, nil
	}
	return resp.Kvs[0].Value, true, nil
}

func (c *client) Elect(ctx context.Context, name string, value []byte) (store.Leadership, error) {
	for {
		l, err := c.stand(ctx, name, value)
		switch {
		case err == nil:
			return l, nil
		case errors.Is(err, rpctypes.ErrLeaseNotFound) && ctx.Err() == nil:
			// It ran out while the cluster was away: who only waits stands again.
		default:
			return store.Leadership{}, fmt.Errorf("election of %s: %w", name, err)
		}
	}
}

// stand stands for election with one lease.
func (c *client) stand(ctx context.Context, name string, value []byte) (store.Leadership, error) {
	lease, err := c.etcd.Grant(ctx, int64(c.ttl/time.Second))
	if err != nil {
		return store.Leadership{}, err
	}
	// The lease lives as long as the client unless the term ends first.
	termCtx, endTerm := context.WithCancel(c.ctx)
	alive, err := c.etcd.KeepAlive(termCtx, lease.ID)
	if err != nil {
		endTerm()
		return store.Leadership{}, err
	}
	epoch, err := c.campaign(ctx, name, value, lease.ID)
	if err != nil {
		endTerm()
		c.revoke(lease.ID)
		return store.Leadership{}, err
	}

	lost := make(chan struct{})
	l := store.Leadership{Name: name, Epoch: epoch, Lost: lost}
	l.Resign = func(ctx context.Context) error {
		endTerm()
		<-lost
		_, err := c.etcd.Revoke(ctx, lease.ID)
		if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return fmt.Errorf("resign from %s: %w", name, err)
		}
		return nil
	}
	c.terms.Add(1)
	go func() {
		defer c.terms.Done()
		defer endTerm()
		defer close(lost)
		c.watchTerm(termCtx, name, epoch, alive)
	}()
	c.mu.Lock()
	c.held = append(c.held, l)
	c.mu.Unlock()
	return l, nil
}

// campaign waits until the leader's place is free and takes it with the next epoch.
func (c *client) campaign(ctx context.Context, name string, value []byte, lease clientv3.LeaseID) (uint64, error) {
	leader, epochKey := leaderPrefix+name, epochPrefix+name
	for {
		resp, err := c.etcd.Txn(ctx).Then(clientv3.OpGet(epochKey), clientv3.OpGet(leader)).Commit()
		if err != nil {
			return 0, err
		}
		epochs, leaders := resp.Responses[0].GetResponseRange().Kvs, resp.Responses[1].GetResponseRange().Kvs
		if len(leaders) > 0 {
			if err := c.waitDeleted(ctx, leader, resp.Header.Revision+1); err != nil {
				return 0, err
			}
			continue
		}
		var epoch uint64
		var revision int64
		if len(epochs) > 0 {
			revision = epochs[0].ModRevision
			if epoch, err = strconv.ParseUint(string(epochs[0].Value), 10, 64); err != nil {
				return 0, fmt.Errorf("%s holds %q: %w", epochKey, epochs[0].Value, store.ErrCorrupt)
			}
		}
		epoch++
		put, err := c.etcd.Txn(ctx).If(
			clientv3.Compare(clientv3.CreateRevision(leader), "=", 0),
			clientv3.Compare(clientv3.ModRevision(epochKey), "=", revision),
		).Then(
			clientv3.OpPut(leader, string(value), clientv3.WithLease(lease)),
			clientv3.OpPut(epochKey, formatEpoch(epoch)),
		).Commit()
		if err != nil {
			return 0, err
		}
		if put.Succeeded {
			return epoch, nil
		}
	}
}

func (c *client) waitDeleted(ctx context.Context, key string, revision int64) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range c.etcd.Watch(watching, key, clientv3.WithRev(revision), clientv3.WithFilterPut()) {
		if err := resp.Err(); err != nil {
			return err
		}
		if len(resp.Events) > 0 {
			return nil
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return c.ctx.Err()
}

// watchTerm returns when the term is over, or may be before it could be renewed.
func (c *client) watchTerm(ctx context.Context, name string, epoch uint64, alive <-chan *clientv3.LeaseKeepAliveResponse) {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	newer := c.etcd.Watch(watching, epochPrefix+name)
	renewWithin := c.ttl * 2 / 3
	deadline := time.NewTimer(renewWithin)
	defer deadline.Stop()
	for {
		select {
		case _, ok := <-alive:
			if !ok {
				return
			}
			deadline.Reset(renewWithin)
		case <-deadline.C:
			return
		case resp, ok := <-newer:
			if !ok || resp.Err() != nil {
				return
			}
			for _, e := range resp.Events {
				if !bytes.Equal(e.Kv.Value, []byte(formatEpoch(epoch))) {
					return
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

// revoke gives a lease back; if that fails it runs out by itself.
func (c *client) revoke(lease clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = c.etcd.Revoke(ctx, lease)
}

// Close resigns every term within 2 s and disconnects.
func (c *client) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c.mu.Lock()
	held := c.held
	c.held = nil
	c.mu.Unlock()
	var errs []error
	for _, l := range held {
		errs = append(errs, l.Resign(ctx))
	}
	c.cancel()
	c.terms.Wait()
	// Closing an in-process client reports its own cancellation.
	if err := c.etcd.Close(); err != nil && !errors.Is(err, context.Canceled) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
