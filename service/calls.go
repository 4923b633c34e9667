package service

import (
	"context"
	"log/slog"
	"sync"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/sdk/scheduler"
)

// outgoing is something to tell the master; one field is set.
type outgoing struct {
	call        *schedulerpb.Call
	tasks       []string // that an ACCEPT launches
	acknowledge *mesos.TaskStatus
	operation   *mesos.OperationStatus
	roles       []string
}

// calls sends to the master in order, beside the loop. What cannot be sent while there is
// no subscription is dropped: the next one reconciles.
type calls struct {
	framework *mesos.FrameworkInfo
	unsent    func(tasks []string)
	log       *slog.Logger
	wake      chan struct{}

	mu     sync.Mutex
	caller *scheduler.Caller
	queue  []outgoing
}

func newCalls(f *mesos.FrameworkInfo, unsent func([]string), log *slog.Logger) *calls {
	return &calls{framework: f, unsent: unsent, log: log, wake: make(chan struct{}, 1)}
}

// connected begins a subscription, or with nil ends one and drops what was for it.
func (c *calls) connected(caller *scheduler.Caller) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.caller = caller
	c.queue = nil
}

func (c *calls) add(o outgoing) {
	c.mu.Lock()
	if c.caller != nil {
		c.queue = append(c.queue, o)
	}
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *calls) run(ctx context.Context) error {
	for {
		c.mu.Lock()
		queue, caller := c.queue, c.caller
		c.queue = nil
		c.mu.Unlock()
		for rest := queue; len(rest) > 0; {
			o, err := rest[0], error(nil)
			if acks := acknowledgements(rest); len(acks) > 0 {
				rest = rest[len(acks):]
				err = caller.AcknowledgeAll(ctx, acks)
			} else {
				rest = rest[1:]
				err = c.send(ctx, caller, o)
			}
			if err != nil {
				if ctx.Err() != nil {
					return nil
				}
				c.log.Warn("a call to the master failed; reconciling settles it", "err", err)
				if len(o.tasks) > 0 {
					c.unsent(o.tasks)
				}
				if a := o.call.GetAccept(); a != nil {
					c.giveBack(ctx, caller, a.OfferIds)
				}
			}
		}
		if len(queue) > 0 {
			continue
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// giveBack declines offers whose ACCEPT may not have come through: nobody else would use
// them while the subscription lasts.
func (c *calls) giveBack(ctx context.Context, caller *scheduler.Caller, offers []*mesos.OfferID) {
	decline := &schedulerpb.Call{Type: schedulerpb.Call_DECLINE.Enum(), Decline: &schedulerpb.Call_Decline{
		OfferIds: offers, Filters: &mesos.Filters{RefuseSeconds: proto.Float64(0)},
	}}
	if err := caller.Call(ctx, decline); err != nil && ctx.Err() == nil {
		c.log.Warn("offers could not be given back; the master takes them back when the subscription ends", "err", err)
	}
}

// mostAtOnce bounds the acknowledgements that others wait behind.
const mostAtOnce = 64

// acknowledgements are those that the queue begins with.
func acknowledgements(queue []outgoing) (all []*mesos.TaskStatus) {
	for _, o := range queue[:min(len(queue), mostAtOnce)] {
		if o.acknowledge == nil {
			break
		}
		all = append(all, o.acknowledge)
	}
	return all
}

func (c *calls) send(ctx context.Context, caller *scheduler.Caller, o outgoing) error {
	switch {
	case o.call != nil:
		return caller.Call(ctx, o.call)
	case o.operation != nil:
		return caller.AcknowledgeOperation(ctx, o.operation)
	}
	info := proto.CloneOf(c.framework)
	info.Roles = o.roles
	return caller.UpdateFramework(ctx, info, nil, nil)
}
