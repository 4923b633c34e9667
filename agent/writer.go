package agent

import (
	"sync"
	"time"

	"github.com/stoa-kernel/stoa/agent/checkpoint"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/failpoint"
	"github.com/stoa-kernel/stoa/internal/loop"
)

// group is what one turn of the loop writes: records, and after them perhaps a snapshot
// that replaces the log.
type group struct {
	batch    checkpoint.Batch
	last     loop.Position // of the last record
	sync     loop.Position // of the first record that must be on disk, 0 for none
	snapshot *checkpoint.Batch

	// How many records of the kinds failpoints tell apart.
	launches, running, terminal, acks int
}

// put encodes a record, so that the core may change what it was made of.
func (g *group) put(r *stoapb.LogRecord, sync bool, p loop.Position) error {
	if err := g.batch.Add(r); err != nil {
		return err
	}
	g.last = p
	if sync && g.sync == 0 {
		g.sync = p
	}
	switch {
	case r.GetContainer() != nil:
		g.launches++
	case r.GetAcknowledged() != nil:
		g.acks++
	case sync:
		running, terminal := isUpdate(r)
		if running {
			g.running++
		}
		if terminal {
			g.terminal++
		}
	}
	return nil
}

func (g *group) empty() bool { return g.batch.Len() == 0 && g.snapshot == nil }
func (g *group) size() int   { return g.batch.Size() }

// writer owns the log. It writes all that has come up while it wrote the last, and syncs
// once for all of it.
type writer struct {
	log     *checkpoint.Log
	limit   int64  // bytes of records at which the log is due to be replaced
	tell    func() // there are news in durable
	observe func(time.Duration)
	wake    chan struct{}
	broken  chan struct{} // closed when the log failed
	done    chan struct{} // closed when run has returned

	mu       sync.Mutex
	queue    []*group
	ending   bool
	upTo     loop.Position
	err      error
	since    int64 // bytes of records since the snapshot, with those in the queue
	snapshot int64
	retryAt  int64 // after a compaction that found no room, when to try again
}

func newWriter(log *checkpoint.Log, tell func(), observe func(time.Duration)) *writer {
	w := &writer{log: log, limit: compactAt, tell: tell, observe: observe, wake: make(chan struct{}, 1), broken: make(chan struct{}), done: make(chan struct{})}
	w.since, w.snapshot = log.Grown()
	return w
}

// add queues a group; the loop goes on.
func (w *writer) add(g *group) {
	w.mu.Lock()
	w.queue = append(w.queue, g)
	w.since += int64(g.size())
	if g.snapshot != nil {
		w.since, w.snapshot = 0, int64(g.snapshot.Size())
	}
	w.mu.Unlock()
	poke(w.wake)
}

// grown says whether the log, with more bytes, is due to be replaced.
func (w *writer) grown(more int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.since+int64(more) > max(w.limit, compactRatio*w.snapshot, w.retryAt)
}

// durable is the position up to which effects may follow.
func (w *writer) durable() loop.Position {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.upTo
}

// failed is why the log cannot be written any more.
func (w *writer) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// close writes what is queued and waits for run to end.
func (w *writer) close() {
	w.mu.Lock()
	w.ending = true
	w.mu.Unlock()
	poke(w.wake)
	<-w.done
}

// run writes until close, or until the log fails: that is never retried.
func (w *writer) run() {
	defer close(w.done)
	for {
		w.mu.Lock()
		queue, ending := w.queue, w.ending
		w.queue = nil
		w.mu.Unlock()
		if len(queue) > 0 {
			if err := w.write(queue); err != nil {
				w.mu.Lock()
				w.err = err
				w.mu.Unlock()
				close(w.broken)
				return
			}
			continue
		}
		if ending {
			return
		}
		<-w.wake
	}
}

func (w *writer) write(queue []*group) error {
	began := time.Now()
	var first, last loop.Position // first that must be synced, last of all
	for _, g := range queue {
		times(g.launches, failpoint.BeforeLaunchRecord)
		times(g.acks, failpoint.BeforeAckRecord)
		if err := w.log.Write(&g.batch); err != nil {
			return err
		}
		times(g.launches, failpoint.AfterLaunchRecord)
		times(g.acks, failpoint.AfterAckRecord)
		if first == 0 {
			first = g.sync
		}
		last = max(last, g.last)
		if g.snapshot != nil {
			if err := w.compact(g.snapshot); err != nil {
				return err
			}
			first = 0 // all of it is in the snapshot, and that on disk
		}
	}
	if first > 0 {
		// What comes before needs no disk and does not wait for one.
		w.reached(first - 1)
		w.each(queue, failpoint.BeforeRunningSync, failpoint.BeforeTerminalSync)
		if err := w.log.Sync(); err != nil {
			return err
		}
		w.each(queue, failpoint.AfterRunningSync, failpoint.AfterTerminalSync)
	}
	w.reached(last)
	w.observe(time.Since(began))
	return nil
}

// compact replaces the log; that there is no room for a second one is no failure yet.
func (w *writer) compact(snapshot *checkpoint.Batch) error {
	failpoint.Here(failpoint.BeforeCompaction)
	err := w.log.Compact(snapshot)
	if err != nil && w.log.Failed() != nil {
		return err
	}
	failpoint.Here(failpoint.AfterCompaction)
	since, size := w.log.Grown()
	w.mu.Lock()
	w.retryAt = 0
	if err != nil {
		// Grown is only what is written; what is queued is counted again by and by.
		w.since, w.snapshot, w.retryAt = since, size, 2*since
	}
	w.mu.Unlock()
	if err != nil {
		return w.log.Sync() // the caller takes the snapshot for done
	}
	return nil
}

// reached lets effects follow.
func (w *writer) reached(p loop.Position) {
	w.mu.Lock()
	news := p > w.upTo
	if news {
		w.upTo = p
	}
	w.mu.Unlock()
	if news {
		w.tell()
	}
}

func (w *writer) each(queue []*group, running, terminal string) {
	for _, g := range queue {
		times(g.running, running)
		times(g.terminal, terminal)
	}
}

func times(n int, name string) {
	for range n {
		failpoint.Here(name)
	}
}
