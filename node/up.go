package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/stoa-kernel/stoa/agent"
	"github.com/stoa-kernel/stoa/cli"
	"github.com/stoa-kernel/stoa/run"
	"github.com/stoa-kernel/stoa/service"
)

// up is a whole cluster in one process.
type up struct {
	master    masterFlags
	agent     agentFlags
	service   serviceFlags
	log       logging
	storage   storage
	dataDir   string
	agents    int
	runListen string
	// serviceListen is where the service serves; "" for none.
	serviceListen string
}

func upCommand() *cobra.Command {
	var u up
	c := &cobra.Command{
		Use:   "up",
		Short: "Start a cluster on this machine",
		Long: `Start a cluster in one process: a master, agents, the run framework and the service
framework. Prints 'ready' with the URLs when it serves.

Ctrl-C kills the tasks by their kill policy, in at most 10 s; a second one kills them at
once. The data directory stays, and so does what tasks ended as, for the next start.
SIGTERM and SIGHUP leave the tasks running: the next start on the same data directory
finds them again.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return u.run(c.Context()) },
	}
	f := c.Flags()
	f.StringVar(&u.dataDir, "data-dir", defaultDataDir(), "`directory` of all that is kept")
	u.master.flags(f, "master-listen")
	f.StringVar(&u.agent.config.Listen, "agent-listen", "127.0.0.1:5051", "host:port of the first agent; the others get the ports after it")
	f.StringVar(&u.runListen, "run-listen", "", "host:port of the run framework; by default 127.0.0.1 and the port after the agents'")
	f.StringVar(&u.serviceListen, "service-listen", "127.0.0.1:8080", "host:port of the service's API (Marathon's); empty for no service")
	f.IntVar(&u.agents, "agents", 1, "`number` of agents; each offers its share of the machine unless --resources says what each offers")
	u.agent.flags(f)
	u.service.flags(f)
	u.storage.flags(f)
	u.log.flags(f)
	return c
}

// maxAgents bounds what one machine can be cut into.
const maxAgents = 64

func (u *up) run(ctx context.Context) error {
	log, err := u.log.logger()
	if err != nil {
		return err
	}
	warnings, err := u.service.finish()
	if err != nil {
		return err
	}
	for _, w := range warnings {
		log.Warn(w)
	}
	if u.agents < 1 || u.agents > maxAgents {
		return &cli.Error{What: fmt.Sprintf("--agents %d: 1 to %d", u.agents, maxAgents), Code: cli.ExitUsage}
	}
	if err := u.master.finish(); err != nil {
		return err
	}
	if err := u.agent.finish(); err != nil {
		return err
	}
	dir, err := absolute(u.dataDir)
	if err != nil {
		return err
	}
	release, err := lock(dir, "up")
	if err != nil {
		return err
	}
	defer release()
	// Tasks of other users pass through to their sandboxes, but list nothing.
	if err := os.Chmod(dir, 0o711); err != nil {
		return err
	}

	// Taken before anything starts, so that a second start says at once who has the port.
	var svc service.Config
	if u.serviceListen != "" {
		if svc, err = u.service.listen("service-listen", u.serviceListen); err != nil {
			return err
		}
		defer svc.Listener.Close()
	}

	// The first ctrl-C stops the tasks while everything still serves, so that their end is
	// told; the other signals end all at once and leave them.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stops := u.stopSignals(cancel)

	open, failed, end, err := u.storage.open(ctx, dir)
	if err != nil {
		return err
	}
	defer end()
	return watch(ctx, failed, func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		ready := make(chan string, 1)
		u.master.config.Ready = func(url string) { ready <- url }
		masterStore := open()
		defer masterStore.Close()
		group.Go(func() error {
			return runMaster(ctx, u.master.config, masterStore, log, "master-listen")
		})
		var url string
		select {
		case url = <-ready:
		case <-ctx.Done():
			return group.Wait()
		}

		addr := url[len("http://"):]
		urls := make([]string, u.agents)
		var serving sync.WaitGroup
		serving.Add(u.agents + 1)
		var stopped sync.WaitGroup
		for i := range u.agents {
			a, err := u.oneAgent(i, dir, addr)
			if err != nil {
				cancel()
				_ = group.Wait()
				return err
			}
			a.config.Stop = stops[i]
			a.config.Ready = func(url string) { urls[i] = url; serving.Done() }
			stopped.Add(1)
			group.Go(func() error {
				defer stopped.Done()
				return a.run(ctx, "agent-listen", log.With("role", "agent", "agent", i))
			})
		}
		group.Go(func() error { // the last task is dead: nothing is left to serve
			stopped.Wait()
			cancel()
			return nil
		})

		listener, err := listenLoopback("run-listen", u.runAddress())
		if err != nil {
			cancel()
			_ = group.Wait()
			return err
		}
		runURL := "http://" + listener.Addr().String()
		runStore := open()
		defer runStore.Close()
		group.Go(func() error {
			return run.Run(ctx, run.Config{
				Masters: []string{addr}, Listener: listener, Connections: u.master.config.Connections, URL: runURL, Store: runStore,
				Log: log.With("role", "run"), Ready: serving.Done,
			})
		})

		if u.serviceListen != "" {
			serving.Add(1)
			records := open()
			defer records.Close()
			svc.Masters, svc.Store, svc.Log, svc.Ready = []string{addr}, records, log.With("role", "service"), serving.Done
			svc.LogLevel = &u.log.current
			svc.Connections = u.master.config.Connections
			group.Go(func() error { return service.Run(ctx, svc) })
		}

		go func() { // ends with the process if it never gets ready
			serving.Wait()
			line := "ready  master " + url
			for _, a := range urls {
				line += "  agent " + a
			}
			line += "  run " + runURL
			if u.serviceListen != "" {
				line += "  service " + svc.URL
			}
			fmt.Println(line) // at once: others write to the terminal too
		}()
		return group.Wait()
	})
}

// runAddress is where the run framework listens.
func (u *up) runAddress() string {
	if u.runListen != "" {
		return u.runListen
	}
	_, port, _ := net.SplitHostPort(u.agent.config.Listen) // oneAgent has refused what is none
	n, _ := strconv.Atoi(port)
	if n > 0 {
		n += u.agents
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(n))
}

// oneAgent is the configuration of the i-th agent.
func (u *up) oneAgent(i int, dir, master string) (*agentFlags, error) {
	a := u.agent
	a.config.Masters = []string{master}
	a.config.WorkDir = filepath.Join(dir, "agent-"+strconv.Itoa(i))
	a.config.AllowRemote, a.config.Connections = u.master.config.AllowRemote, u.master.config.Connections
	a.config.Share = agent.Share{Index: i, Of: u.agents}
	if u.agents > 1 && a.config.Hostname == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, err
		}
		a.config.Hostname = fmt.Sprintf("%s-%d", name, i)
	}
	host, port, err := net.SplitHostPort(a.config.Listen)
	if err != nil {
		return nil, &cli.Error{What: "--agent-listen " + a.config.Listen, Why: err.Error(), Code: cli.ExitUsage}
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 0 && n+i > 65535 {
		return nil, &cli.Error{What: "--agent-listen " + a.config.Listen + " is no address", Code: cli.ExitUsage}
	}
	if n > 0 {
		n += i
	}
	a.config.Listen = net.JoinHostPort(host, strconv.Itoa(n))
	return &a, nil
}

// stopSignals hands SIGINT to every agent; SIGTERM and SIGHUP end the context.
func (u *up) stopSignals(leave context.CancelFunc) []chan agent.Stop {
	stops := make([]chan agent.Stop, u.agents)
	for i := range stops {
		stops[i] = make(chan agent.Stop, 2)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() { // as long as the process
		next := agent.StopTasks
		for s := range signals {
			if s != os.Interrupt {
				leave()
				return
			}
			for _, c := range stops {
				c <- next
			}
			if next == agent.StopNow {
				// A third one ends the process as the shell means it.
				signal.Reset(os.Interrupt)
				return
			}
			fmt.Fprintln(os.Stderr, "stopping tasks; ctrl-C again kills them at once")
			next = agent.StopNow
		}
	}()
	return stops
}
