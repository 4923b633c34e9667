package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// app is a victim of the service: it runs until it is asked to end, and keeps a journal
// below dir named by its task, with the version V of its environment.
func app(dir string) error {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	journal, err := os.OpenFile(filepath.Join(dir, os.Getenv("MESOS_TASK_ID")), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(journal, "start %s %d\n", os.Getenv("V"), time.Now().UnixNano()); err != nil {
		return err
	}
	<-asked
	_, err = fmt.Fprintf(journal, "exit %s %d\n", os.Getenv("V"), time.Now().UnixNano())
	return err
}
