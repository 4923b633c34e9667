// Command wordcount is a framework with real work: it splits a tree of text into shards,
// counts the words of each in a task that fetches its shard by URI, adds the counts up, and
// compares them with those of a plain loop over the same text.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/sdk/scheduler"
	"google.golang.org/protobuf/proto"
)

type options struct {
	scheduler     scheduler.Config
	shards        int
	input, output string
	listen        string
	each          string
	program       string
}

func main() {
	var o options
	master := flag.String("master", "127.0.0.1:5050", "address of the master, or several with commas")
	flag.IntVar(&o.shards, "shards", 48, "how many tasks to split the text over")
	flag.StringVar(&o.input, "input", "", "directory with text (default: src of the installed Go)")
	flag.StringVar(&o.output, "out", "", "file for the totals, one \"word count\" per line")
	flag.StringVar(&o.listen, "listen", "127.0.0.1:0", "address at which tasks find their shards; with more than one machine, one they all reach")
	flag.StringVar(&o.each, "resources", "cpus:0.5;mem:128", "what a task needs")
	shard := flag.String("shard", "", "be a task: count this file")
	report := flag.String("report", "", "be a task: post the counts to this URL")
	flag.Parse()

	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	var err error
	if *shard != "" {
		err = runTask(ctx, *shard, *report, os.Stdout)
	} else {
		o.scheduler.Masters = strings.Split(*master, ",")
		o.scheduler.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		if o.program, err = os.Executable(); err == nil {
			err = run(ctx, o, os.Stdout)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "wordcount:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer) error {
	each, err := resource.ParseQuantities(o.each)
	if err != nil {
		return fmt.Errorf("-resources: %w", err)
	}
	if o.shards < 1 {
		return errors.New("-shards must be at least 1")
	}
	input, err := findInput(o.input)
	if err != nil {
		return err
	}
	files, size, err := textFiles(input)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "wordcount-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	text := openAll(files)
	err = split(text, size, o.shards, dir)
	text.Close()
	if err != nil {
		return fmt.Errorf("splitting %s: %w", input, err)
	}

	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	j := newJob(o.shards, dir, out)
	j.url, j.each, j.program = "http://"+listener.Addr().String(), each, o.program
	// Tasks on other machines do not have this program yet.
	j.fetch = !listener.Addr().(*net.TCPAddr).IP.IsLoopback()
	server := &http.Server{Handler: j, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener)
	defer server.Close()

	fmt.Fprintf(out, "wordcount: %.1f MB of text from %s, in %d shards\n", float64(size)/1e6, input, o.shards)
	start := time.Now()
	if err := schedule(ctx, o, j); err != nil {
		return err
	}
	sum, err := j.total()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "wordcount: %d tasks on %d agents counted %d words in %.1f s", j.tasks, len(j.agents), sum.total(), time.Since(start).Seconds())
	if j.again > 0 {
		fmt.Fprintf(out, ", %d of them run again", j.again)
	}
	fmt.Fprintf(out, "; most often: %s\n", strings.Join(sum.top(5), ", "))

	start = time.Now()
	plain := make(counts)
	text = openAll(files)
	defer text.Close()
	if err := plain.count(text); err != nil {
		return fmt.Errorf("counting %s: %w", input, err)
	}
	totals := sum.text()
	if !bytes.Equal(totals, plain.text()) {
		return fmt.Errorf("the totals differ from a plain count: %d words of %d kinds, plain %d of %d",
			sum.total(), len(sum), plain.total(), len(plain))
	}
	fmt.Fprintf(out, "wordcount: the totals of %d words equal a plain count byte for byte (%.1f s)\n", len(sum), time.Since(start).Seconds())
	if o.output != "" {
		return os.WriteFile(o.output, totals, 0o644)
	}
	return nil
}

// schedule runs the framework until all shards are counted.
func schedule(ctx context.Context, o options, j *job) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cfg := o.scheduler
	cfg.Framework = &mesos.FrameworkInfo{
		User: proto.String(""), Name: proto.String("wordcount"),
		// Long enough for a master to be started again.
		FailoverTimeout: proto.Float64(600),
	}
	h := j.handler()
	subscribed := h.Subscribed
	watched := false
	h.Subscribed = func(ctx2 context.Context, c *scheduler.Caller, e *schedulerpb.Event_Subscribed) error {
		if !watched {
			watched = true
			go j.watch(ctx, c)
		}
		return subscribed(ctx2, c, e)
	}
	return scheduler.Run(ctx, cfg, h)
}
