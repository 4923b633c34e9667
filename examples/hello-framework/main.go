// Command hello-framework is a whole framework: it runs a few commands on a cluster, says
// how each ended, and leaves.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/sdk/scheduler"
	"google.golang.org/protobuf/proto"
)

func main() {
	master := flag.String("master", "127.0.0.1:5050", "address of the master")
	tasks := flag.Int("tasks", 5, "how many tasks to run")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := hello(ctx, scheduler.Config{Masters: []string{*master}}, *tasks, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "hello-framework:", err)
		os.Exit(1)
	}
}

func hello(ctx context.Context, cfg scheduler.Config, tasks int, out io.Writer) error {
	cfg.Framework = &mesos.FrameworkInfo{User: proto.String(""), Name: proto.String("hello")}
	each := resource.Quantities{{Name: "cpus", Value: 100}, {Name: "mem", Value: 32_000}} // 0.1 cpus, 32 MB
	launched, ended := 0, map[string]bool{}                                               // an update may come twice
	return scheduler.Run(ctx, cfg, scheduler.Handler{
		Offers: func(ctx context.Context, c *scheduler.Caller, offers []*mesos.Offer) error {
			for _, offer := range offers {
				pool, err := scheduler.NewPool(offer)
				if err != nil {
					return err
				}
				var launch []*mesos.TaskInfo
				for ; launched < tasks && pool.Fits(each); launched++ {
					command := scheduler.Shell(fmt.Sprintf("echo hello, I am task %d; exit %d", launched, launched%2))
					launch = append(launch, scheduler.Task(fmt.Sprintf("hello-%d", launched), pool, command, pool.Take(each)))
				}
				if err := c.Accept(ctx, pool.Offers, []*mesos.Offer_Operation{scheduler.Launch(launch...)}, nil); err != nil {
					return err
				}
			}
			return nil
		},
		Update: func(ctx context.Context, c *scheduler.Caller, status *mesos.TaskStatus) error {
			id := status.GetTaskId().GetValue()
			fmt.Fprintln(out, id, scheduler.Describe(status))
			if scheduler.Terminal(status.GetState()) {
				ended[id] = true
			}
			if len(ended) == tasks {
				return c.Teardown(ctx)
			}
			return nil
		},
	})
}
